//! glommio, which needs io_uring and 512 KiB of memory that may be locked. It has a channel for one
//! thread, and no oneshot: that is local-sync's.

use std::{future::pending, hint::black_box};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future::or};
use glommio::{
    GlommioError, LocalExecutor, LocalExecutorBuilder, Task,
    channels::local_channel::{new_bounded, new_unbounded},
    net::TcpListener,
    spawn_local,
    timer::{sleep, timeout},
};
use local_sync::oneshot;

use super::ROOM;
use crate::rows::{HOUR, rows};

fn runtime() -> LocalExecutor {
    let runtime = LocalExecutorBuilder::default().make();
    runtime.expect("a runtime")
}

pub fn row(row: &str, n: u32) -> f64 {
    runtime().run(async move {
        rows!(
            row,
            n,
            spawn: spawn_local,
            join: async |task: Task<i32>| task.await,
            sleep: sleep,
            limit: |future| timeout(HOUR, async { Ok::<_, GlommioError<()>>(future.await) }),
            first: async {
                let mut one = spawn_local(async { 1 });
                let mut other = spawn_local(pending::<i32>());
                or(&mut one, &mut other).await;
                black_box(other.cancel().await);
            },
            oneshot: |n| async move {
                let (send, requests) = new_unbounded::<oneshot::Sender<u32>>();
                let server = spawn_local(async move {
                    while let Some(request) = requests.recv().await {
                        let _ = request.send(1);
                    }
                });
                for _ in 0..n {
                    let (answer, awaited) = oneshot::channel();
                    assert!(send.try_send(answer).is_ok());
                    black_box(awaited.await.expect("an answer"));
                }
                drop(send);
                server.await;
            },
            channel: |n| async move {
                let (there, from) = new_bounded(1);
                let (to, back) = new_bounded(1);
                let other = spawn_local(async move {
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
    runtime().run(async {});
}

pub fn serve() {
    runtime().run(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        println!("{}", listener.local_addr().expect("an address").port());
        loop {
            let mut stream = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let echo = spawn_local(async move {
                let mut buffer = vec![0; ROOM];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        break;
                    }
                }
            });
            echo.detach();
        }
    });
}
