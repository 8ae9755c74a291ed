//! Owns: what is measured, once for each runtime. Leaves out: who starts it.

use std::{
    future::{Future, pending, poll_fn},
    hint::black_box,
    task::Poll,
    time::Duration,
};

pub const ROWS: [(&str, &str); 7] = [
    ("spawn", "spawn + join"),
    ("yield", "yield (wake by ref, 100 tasks)"),
    ("root", "yield in the future given to run"),
    ("timers", "one of 50,000 timers of 0 to 50 ms"),
    ("ready", "time-out, ready at once"),
    ("armed", "time-out, armed and cancelled"),
    ("first", "first of two tasks, the other cancelled"),
];

const HOUR: Duration = Duration::from_secs(3600);

fn cpu() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes a timespec to where it is told to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut now) };
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

async fn turn() {
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
async fn each<F: Future>(n: u32, round: impl Fn(u32) -> F) -> f64 {
    round(n / 10).await;
    let began = cpu();
    round(n).await;
    (cpu() - began) / f64::from(n)
}

/// The rows, for a runtime with these functions.
macro_rules! rows {
    ($row:expr, $spawn:expr, $join:expr, $sleep:expr, $limit:expr, $first:expr) => {
        match $row.as_str() {
            "spawn" => {
                each(2_000_000, |n| async move {
                    for _ in 0..n {
                        $join($spawn(async { black_box(1) })).await;
                    }
                })
                .await
            }
            "yield" => {
                each(10_000_000, |n| async move {
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
                each(3_000_000, |n| async move {
                    for _ in 0..n {
                        turn().await;
                    }
                })
                .await
            }
            "timers" => {
                each(500_000, |n| async move {
                    for _ in 0..(n / 50_000).max(1) {
                        let tasks: Vec<_> = (0..50_000_u64)
                            .map(|n| {
                                let micros = n.wrapping_mul(0x9E37_79B9) % 50_000;
                                $spawn(async move {
                                    $sleep(Duration::from_micros(micros)).await;
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
                each(5_000_000, |n| async move {
                    for _ in 0..n {
                        let _ = black_box($limit(async { black_box(1) }).await);
                    }
                })
                .await
            }
            "armed" => {
                each(2_000_000, |n| async move {
                    for _ in 0..n {
                        let _ = black_box($limit(turn()).await);
                    }
                })
                .await
            }
            "first" => {
                each(1_000_000, |n| async move {
                    for _ in 0..n {
                        $first.await;
                    }
                })
                .await
            }
            other => panic!("there is no row {other}"),
        }
    };
}

pub fn measure(runtime: &str, row: &str) -> f64 {
    let row = row.to_owned();
    match runtime {
        "roundel" => roundel::run(async move {
            rows!(
                row,
                roundel::create_task,
                async |task: roundel::Task<i32>| task.await.is_ok(),
                roundel::sleep,
                |future| roundel::wait_for(future, HOUR),
                async {
                    let tasks = [
                        roundel::create_task(async { 1 }),
                        roundel::create_task(pending()),
                    ];
                    let when = roundel::ReturnWhen::FirstCompleted;
                    let (_done, mut left) = roundel::wait(tasks, when).await;
                    let left = left.remove(0);
                    left.cancel();
                    black_box(left.await.is_err());
                }
            )
        }),
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_time().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                rows!(
                    row,
                    tokio::task::spawn_local,
                    async |task: tokio::task::JoinHandle<i32>| task.await.is_ok(),
                    tokio::time::sleep,
                    |future| tokio::time::timeout(HOUR, future),
                    async {
                        let mut one = tokio::task::spawn_local(async { 1 });
                        let mut other = tokio::task::spawn_local(pending::<i32>());
                        tokio::select! { _ = &mut one => {}, _ = &mut other => {} }
                        other.abort();
                        black_box(other.await.is_err());
                    }
                )
            })
        }
        "smol" => {
            let executor: &'static async_executor::LocalExecutor<'static> =
                Box::leak(Box::new(async_executor::LocalExecutor::new()));
            async_io::block_on(executor.run(smol_row(executor, row)))
        }
        other => panic!("there is no runtime {other}"),
    }
}

/// A race of a future with a timer.
async fn smol_limit<T>(future: impl Future<Output = T>) -> Option<T> {
    futures_lite::future::or(async { Some(future.await) }, async {
        async_io::Timer::after(HOUR).await;
        None
    })
    .await
}

async fn smol_row(executor: &'static async_executor::LocalExecutor<'static>, row: String) -> f64 {
    rows!(
        row,
        |future| executor.spawn(future),
        async |task: async_executor::Task<i32>| task.await,
        async_io::Timer::after,
        smol_limit,
        async {
            let mut one = executor.spawn(async { 1 });
            let mut other = executor.spawn(pending::<i32>());
            futures_lite::future::or(&mut one, &mut other).await;
            black_box(other.cancel().await);
        }
    )
}
