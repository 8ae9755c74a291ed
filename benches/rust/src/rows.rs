//! Owns: what is measured, once for each runtime. Leaves out: who starts it.

use std::{
    future::{Future, pending, poll_fn},
    hint::black_box,
    task::Poll,
    time::Duration,
};

pub const ROWS: [(&str, &str); 12] = [
    ("spawn", "spawn + join"),
    ("yield", "yield (wake by ref, 100 tasks)"),
    ("root", "yield in the future given to run"),
    ("timers", "one of 50,000 timers of 0 to 50 ms"),
    ("ready", "time-out, ready at once"),
    ("armed", "time-out, armed and cancelled"),
    ("first", "first of two tasks, the other cancelled"),
    (
        "oneshot",
        "a request to a task, and its answer by a oneshot",
    ),
    (
        "channel",
        "a round trip through two channels with room for one",
    ),
    ("memory", "bytes for each of 200,000 sleeping tasks"),
    ("start", "start-up again"),
    (
        "late",
        "lateness of a timer of 1 to 3 ms, median, by the clock",
    ),
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
    ($row:expr, $spawn:expr, $join:expr, $sleep:expr, $limit:expr, $first:expr, $oneshot:expr, $channel:expr) => {
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
            "oneshot" => each(1_000_000, $oneshot).await,
            "channel" => each(1_000_000, $channel).await,
            "memory" => {
                const TASKS: usize = 200_000;
                let mut tasks = Vec::with_capacity(TASKS);
                tasks.resize_with(TASKS, || None);
                let before = resident();
                for task in &mut tasks {
                    *task = Some($spawn(async {
                        $sleep(HOUR).await;
                        1
                    }));
                }
                $sleep(Duration::from_millis(1)).await;
                let bytes = resident() - before;
                // Ending them is not what is measured.
                println!("{}", bytes / TASKS as f64);
                std::process::exit(0)
            }
            "late" => {
                let mut late = Vec::new();
                for n in 0..500_u64 {
                    let delay = Duration::from_micros(1000 + n.wrapping_mul(0x9E37_79B9) % 2000);
                    let began = std::time::Instant::now();
                    $sleep(delay).await;
                    late.push((began.elapsed() - delay).as_nanos() as f64);
                }
                late.sort_by(f64::total_cmp);
                late[late.len() / 2]
            }
            other => panic!("there is no row {other}"),
        }
    };
}

/// Bytes of memory that the process has now.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: f64 = text
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    pages * 4096.0
}

/// Starts a runtime, runs nothing on it and drops it, often.
fn starts(start: impl Fn()) -> f64 {
    const TIMES: u32 = 20_000;
    for _ in 0..TIMES / 10 {
        start();
    }
    let began = cpu();
    for _ in 0..TIMES {
        start();
    }
    (cpu() - began) / f64::from(TIMES)
}

pub fn measure(runtime: &str, row: &str) -> f64 {
    if row == "start" {
        return match runtime {
            "roundel" => starts(|| roundel::run(async {})),
            "tokio" => starts(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), async {});
            }),
            "smol" => starts(|| {
                let executor = async_executor::LocalExecutor::new();
                async_io::block_on(executor.run(async {}));
            }),
            "monoio" => starts(|| {
                let runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new();
                { runtime }
                    .enable_timer()
                    .build()
                    .expect("a runtime")
                    .block_on(async {});
            }),
            other => panic!("there is no runtime {other}"),
        };
    }
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
                },
                |n| async move {
                    let requests = std::rc::Rc::new(roundel::Queue::<roundel::Answer<u32>>::new(0));
                    let served = std::rc::Rc::clone(&requests);
                    let server = roundel::create_task(async move {
                        while let Ok(request) = served.get().await {
                            let _ = request.set_result(1);
                        }
                    });
                    for _ in 0..n {
                        let (answer, awaited) = roundel::oneshot();
                        requests.put_nowait(answer).expect("there is room");
                        black_box(awaited.await.expect("an answer"));
                    }
                    requests.shutdown();
                    server.await.expect("it has ended");
                },
                |n| async move {
                    let [there, back] = [0; 2].map(|_| std::rc::Rc::new(roundel::Queue::new(1)));
                    let (to, from) = (std::rc::Rc::clone(&back), std::rc::Rc::clone(&there));
                    let other = roundel::create_task(async move {
                        while let Ok(item) = from.get().await {
                            to.put(item).await.expect("it is open");
                        }
                    });
                    for n in 0..n {
                        there.put(n).await.expect("it is open");
                        black_box(back.get().await.expect("it is open"));
                    }
                    there.shutdown();
                    other.await.expect("it has ended");
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
                    },
                    |n| async move {
                        use tokio::sync::{mpsc, oneshot};
                        let (send, mut requests) =
                            mpsc::unbounded_channel::<oneshot::Sender<u32>>();
                        let server = tokio::task::spawn_local(async move {
                            while let Some(request) = requests.recv().await {
                                let _ = request.send(1);
                            }
                        });
                        for _ in 0..n {
                            let (answer, awaited) = oneshot::channel();
                            send.send(answer).expect("it is open");
                            black_box(awaited.await.expect("an answer"));
                        }
                        drop(send);
                        server.await.expect("it has ended");
                    },
                    |n| async move {
                        use tokio::sync::mpsc::channel;
                        let (there, mut from) = channel(1);
                        let (to, mut back) = channel(1);
                        let other = tokio::task::spawn_local(async move {
                            while let Some(item) = from.recv().await {
                                to.send(item).await.expect("it is open");
                            }
                        });
                        for n in 0..n {
                            there.send(n).await.expect("it is open");
                            black_box(back.recv().await.expect("it is open"));
                        }
                        drop(there);
                        other.await.expect("it has ended");
                    }
                )
            })
        }
        "smol" => {
            let executor: &'static async_executor::LocalExecutor<'static> =
                Box::leak(Box::new(async_executor::LocalExecutor::new()));
            async_io::block_on(executor.run(smol_row(executor, row)))
        }
        "monoio" => {
            let runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new();
            let runtime = { runtime }.enable_timer().build();
            runtime.expect("a runtime").block_on(async move {
                rows!(
                    row,
                    monoio::spawn,
                    async |task: monoio::task::JoinHandle<i32>| task.await,
                    monoio::time::sleep,
                    |future| monoio::time::timeout(HOUR, future),
                    async {
                        // It has no word for cancelling a task: the loser is a future of this one.
                        let mut one = monoio::spawn(async { 1 });
                        let mut other = Box::pin(pending::<i32>());
                        tokio::select! { _ = &mut one => {}, _ = &mut other => {} }
                    },
                    |n| async move {
                        use local_sync::{mpsc::unbounded::channel, oneshot};
                        let (send, mut requests) = channel::<oneshot::Sender<u32>>();
                        let server = monoio::spawn(async move {
                            while let Some(request) = requests.recv().await {
                                let _ = request.send(1);
                            }
                        });
                        for _ in 0..n {
                            let (answer, awaited) = oneshot::channel();
                            assert!(send.send(answer).is_ok());
                            black_box(awaited.await.expect("an answer"));
                        }
                        drop(send);
                        server.await;
                    },
                    |n| async move {
                        use local_sync::mpsc::bounded::channel;
                        let (there, mut from) = channel(1);
                        let (to, mut back) = channel(1);
                        let other = monoio::spawn(async move {
                            while let Some(item) = from.recv().await {
                                assert!(to.send(item).await.is_ok());
                            }
                        });
                        for n in 0..n {
                            assert!(there.send(n).await.is_ok());
                            black_box(back.recv().await.expect("it is open"));
                        }
                        drop(there);
                        other.await;
                    }
                )
            })
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
        },
        |n| async move {
            use futures_channel::oneshot;
            let (send, requests) = async_channel::unbounded::<oneshot::Sender<u32>>();
            let server = executor.spawn(async move {
                while let Ok(request) = requests.recv().await {
                    let _ = request.send(1);
                }
            });
            for _ in 0..n {
                let (answer, awaited) = oneshot::channel();
                send.send(answer).await.expect("it is open");
                black_box(awaited.await.expect("an answer"));
            }
            drop(send);
            server.await;
        },
        |n| async move {
            let (there, from) = async_channel::bounded(1);
            let (to, back) = async_channel::bounded(1);
            let other = executor.spawn(async move {
                while let Ok(item) = from.recv().await {
                    to.send(item).await.expect("it is open");
                }
            });
            for n in 0..n {
                there.send(n).await.expect("it is open");
                black_box(back.recv().await.expect("it is open"));
            }
            drop(there);
            other.await;
        }
    )
}
