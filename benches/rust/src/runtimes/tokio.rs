//! tokio: current_thread, tasks of a `LocalSet`.

use std::{future::pending, hint::black_box};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    task::{JoinHandle, LocalSet, spawn_local},
    time::{sleep, timeout},
};

use super::ROOM;
use crate::rows::{HOUR, rows};

/// With all that it has.
fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Without sockets, which it would look at now and then.
fn with_timers() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime")
}

pub fn row(row: &str, n: u32) -> f64 {
    LocalSet::new().block_on(&with_timers(), async move {
        rows!(
            row,
            n,
            spawn: spawn_local,
            join: async |task: JoinHandle<i32>| task.await.is_ok(),
            sleep: sleep,
            limit: |future| timeout(HOUR, future),
            first: async {
                let mut one = spawn_local(async { 1 });
                let mut other = spawn_local(pending::<i32>());
                tokio::select! { _ = &mut one => {}, _ = &mut other => {} }
                other.abort();
                black_box(other.await.is_err());
            },
            oneshot: |n| async move {
                let (send, mut requests) = mpsc::unbounded_channel::<oneshot::Sender<u32>>();
                let server = spawn_local(async move {
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
            channel: |n| async move {
                let (there, mut from) = mpsc::channel(1);
                let (to, mut back) = mpsc::channel(1);
                let other = spawn_local(async move {
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
            },
        )
    })
}

pub fn start() {
    LocalSet::new().block_on(&runtime(), async {});
}

pub fn serve() {
    LocalSet::new().block_on(&runtime(), async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a listener");
        println!("{}", listener.local_addr().expect("an address").port());
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            spawn_local(async move {
                let mut buffer = vec![0; ROOM];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}
