//! smol: its parts for one thread, async-executor's `LocalExecutor` and async-io.

use std::{
    future::{Future, pending},
    hint::black_box,
};

use async_executor::{LocalExecutor, Task};
use async_io::{Timer, block_on};
use futures_channel::oneshot;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future::or};

use super::ROOM;
use crate::rows::{HOUR, rows};

pub fn row(row: &str, n: u32) -> f64 {
    let executor: &LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
    block_on(executor.run(async move {
        rows!(
            row,
            n,
            spawn: |future| executor.spawn(future),
            join: async |task: Task<i32>| task.await,
            sleep: Timer::after,
            limit: limit,
            first: async {
                let mut one = executor.spawn(async { 1 });
                let mut other = executor.spawn(pending::<i32>());
                or(&mut one, &mut other).await;
                black_box(other.cancel().await);
            },
            oneshot: |n| async move {
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
            channel: |n| async move {
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
            },
        )
    }))
}

/// It has no word for a limit: a race of the future with a timer.
async fn limit<T>(future: impl Future<Output = T>) -> Option<T> {
    or(async { Some(future.await) }, async {
        Timer::after(HOUR).await;
        None
    })
    .await
}

pub fn start() {
    block_on(LocalExecutor::new().run(async {}));
}

pub fn serve() {
    let executor: &LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
    block_on(executor.run(async move {
        let listener = async_net::TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a listener");
        println!("{}", listener.local_addr().expect("an address").port());
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let echo = executor.spawn(async move {
                let mut buffer = vec![0; ROOM];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        break;
                    }
                }
            });
            echo.detach();
        }
    }));
}
