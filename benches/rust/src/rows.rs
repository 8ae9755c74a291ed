//! Owns: what is measured, the same for each runtime. Leaves out: the runtimes' own words for it
//! (`runtimes`), and how often it is done (benches/crate.py).
//!
//! A figure is nanoseconds of CPU for an operation, of the process, user and system, unless the row
//! says otherwise.

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

pub const HOUR: Duration = Duration::from_secs(3600);

fn cpu() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes a timespec to where it is told to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut now) };
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Lets the others run, by waking itself.
pub async fn turn() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs `round(n)` with a tenth of the work, then with all of it, and gives nanoseconds for each.
pub async fn each<F: Future>(n: u32, round: impl Fn(u32) -> F) -> f64 {
    round((n / 10).max(1)).await;
    let began = cpu();
    round(n).await;
    (cpu() - began) / f64::from(n)
}

/// Starts a runtime often.
pub fn starts(times: u32, start: fn()) -> f64 {
    for _ in 0..(times / 10).max(1) {
        start();
    }
    let began = cpu();
    for _ in 0..times {
        start();
    }
    (cpu() - began) / f64::from(times)
}

/// Bytes of memory that the process has now.
pub fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    let pages: f64 = pages.expect("the second is the number of resident pages");
    pages * 4096.0
}

/// The rows, in the words of a runtime.
macro_rules! rows {
    (
        $row:expr, $n:expr, spawn: $spawn:expr, join: $join:expr, sleep: $sleep:expr,
        limit: $limit:expr, first: $first:expr, oneshot: $oneshot:expr, channel: $channel:expr $(,)?
    ) => {{
        use $crate::rows::{each, resident, turn};

        match &*$row {
            "spawn" => {
                each($n, |n| async move {
                    for _ in 0..n {
                        $join($spawn(async { std::hint::black_box(1) })).await;
                    }
                })
                .await
            }
            "yield" => {
                each($n, |n| async move {
                    let tasks: Vec<_> = (0..100)
                        .map(|_| {
                            $spawn(async move {
                                for _ in 0..n / 100 {
                                    turn().await;
                                }
                                1
                            })
                        })
                        .collect();
                    for task in tasks {
                        $join(task).await;
                    }
                })
                .await
            }
            "root" => {
                each($n, |n| async move {
                    for _ in 0..n {
                        turn().await;
                    }
                })
                .await
            }
            "timers" => {
                each($n, |n| async move {
                    let mut left = n;
                    while left > 0 {
                        let some = left.min(50_000);
                        left -= some;
                        let tasks: Vec<_> = (0..u64::from(some))
                            .map(|n| {
                                let micros = n.wrapping_mul(0x9E37_79B9) % 50_000;
                                $spawn(async move {
                                    $sleep(std::time::Duration::from_micros(micros)).await;
                                    1
                                })
                            })
                            .collect();
                        for task in tasks {
                            $join(task).await;
                        }
                    }
                })
                .await
            }
            "ready" => {
                each($n, |n| async move {
                    for _ in 0..n {
                        let _ =
                            std::hint::black_box($limit(async { std::hint::black_box(1) }).await);
                    }
                })
                .await
            }
            "armed" => {
                each($n, |n| async move {
                    for _ in 0..n {
                        let _ = std::hint::black_box($limit(turn()).await);
                    }
                })
                .await
            }
            "first" => {
                each($n, |n| async move {
                    for _ in 0..n {
                        $first.await;
                    }
                })
                .await
            }
            "oneshot" => each($n, $oneshot).await,
            "channel" => each($n, $channel).await,
            "memory" => {
                let mut tasks = Vec::with_capacity($n as usize);
                tasks.resize_with($n as usize, || None);
                let before = resident();
                for task in &mut tasks {
                    *task = Some($spawn(async {
                        $sleep($crate::rows::HOUR).await;
                        1
                    }));
                }
                $sleep(std::time::Duration::from_millis(1)).await;
                let bytes = resident() - before;
                // Ending them is not what is measured.
                println!("{}", bytes / f64::from($n));
                std::process::exit(0)
            }
            // By the clock, and not CPU time.
            "late" => {
                let mut late = Vec::new();
                for n in 0..u64::from($n) {
                    let delay =
                        std::time::Duration::from_micros(1000 + n.wrapping_mul(0x9E37_79B9) % 2000);
                    let began = std::time::Instant::now();
                    $sleep(delay).await;
                    late.push((began.elapsed() - delay).as_nanos() as f64);
                }
                late.sort_by(f64::total_cmp);
                late[late.len() / 2]
            }
            other => panic!("there is no row {other}"),
        }
    }};
}
pub(crate) use rows;
