//! monoio, on epoll (its `LegacyDriver`). Its channels are local-sync's, by the same author.

use std::{future::pending, hint::black_box};

use local_sync::{mpsc, oneshot};
use monoio::{
    LegacyDriver, Runtime, RuntimeBuilder,
    io::{AsyncReadRent, AsyncWriteRentExt},
    net::TcpListener,
    spawn,
    task::JoinHandle,
    time::{TimeDriver, sleep, timeout},
};

use super::ROOM;
use crate::rows::{HOUR, rows};

fn runtime() -> Runtime<TimeDriver<LegacyDriver>> {
    let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build();
    runtime.expect("a runtime")
}

pub fn row(row: &str, n: u32) -> f64 {
    let row = row.to_owned();
    runtime().block_on(async move {
        rows!(
            row,
            n,
            spawn: spawn,
            join: async |task: JoinHandle<i32>| task.await,
            sleep: sleep,
            limit: |future| timeout(HOUR, future),
            first: async {
                // It has no word for cancelling a task: the loser is a future of this one.
                let mut one = spawn(async { 1 });
                let mut other = Box::pin(pending::<i32>());
                tokio::select! { _ = &mut one => {}, _ = &mut other => {} }
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
                server.await;
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
                other.await;
            },
        )
    })
}

pub fn start() {
    runtime().block_on(async {});
}

pub fn serve() {
    runtime().block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0));
        let listener = listener.expect("a listener");
        println!("{}", listener.local_addr().expect("an address").port());
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            spawn(async move {
                let mut buffer = Vec::with_capacity(ROOM);
                loop {
                    let (read, filled) = stream.read(buffer).await;
                    let Ok(1..) = read else { break };
                    let (written, kept) = stream.write_all(filled).await;
                    if written.is_err() {
                        break;
                    }
                    buffer = kept;
                    buffer.clear();
                }
            });
        }
    });
}
