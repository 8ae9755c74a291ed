//! compio, on io_uring. It has no channels: they are local-sync's, as for monoio.

use std::{future::pending, hint::black_box};

use compio::{
    io::{AsyncRead, AsyncWriteExt},
    net::TcpListener,
    runtime::{JoinHandle, Runtime, spawn},
    time::{sleep, timeout},
};
use futures_lite::future::or;
use local_sync::{mpsc, oneshot};

use super::ROOM;
use crate::rows::{HOUR, rows};

pub fn row(row: &str, n: u32) -> f64 {
    Runtime::new().expect("a runtime").block_on(async move {
        rows!(
            row,
            n,
            spawn: spawn,
            join: async |task: JoinHandle<i32>| task.await.is_ok(),
            sleep: sleep,
            limit: |future| timeout(HOUR, future),
            first: async {
                let mut one = spawn(async { 1 });
                let mut other = spawn(pending::<i32>());
                black_box(or(&mut one, &mut other).await.is_ok());
                black_box(other.cancel().await);
            },
            oneshot: |n| async move {
                let (send, mut requests) = mpsc::unbounded::channel::<oneshot::Sender<u32>>();
                let server = spawn(async move {
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
                assert!(server.await.is_ok());
            },
            channel: |n| async move {
                let (there, mut from) = mpsc::bounded::channel(1);
                let (to, mut back) = mpsc::bounded::channel(1);
                let other = spawn(async move {
                    while let Some(item) = from.recv().await {
                        assert!(to.send(item).await.is_ok());
                    }
                });
                for n in 0..n {
                    assert!(there.send(n).await.is_ok());
                    black_box(back.recv().await.expect("it is open"));
                }
                drop(there);
                assert!(other.await.is_ok());
            },
        )
    })
}

pub fn start() {
    Runtime::new().expect("a runtime").block_on(async {});
}

pub fn serve() {
    Runtime::new().expect("a runtime").block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a listener");
        println!("{}", listener.local_addr().expect("an address").port());
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let echo = spawn(async move {
                let mut buffer = Vec::with_capacity(ROOM);
                loop {
                    let read = stream.read(buffer).await;
                    let Ok(1..) = read.0 else { break };
                    let written = stream.write_all(read.1).await;
                    if written.0.is_err() {
                        break;
                    }
                    buffer = written.1;
                    buffer.clear();
                }
            });
            echo.detach();
        }
    });
}
