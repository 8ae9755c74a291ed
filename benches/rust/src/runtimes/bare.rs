//! The bound: a bare sound executor (`crate::bound`), and of each word the least that does the row's
//! work.

use std::{
    future::{Future, pending},
    hint::black_box,
};

use futures_lite::future::or;

use crate::{
    bound::{Task, channel, oneshot, run, sleep, spawn, unbounded},
    rows::{HOUR, rows},
};

pub fn row(row: &str, n: u32) -> f64 {
    let row = row.to_owned();
    run(async move {
        rows!(
            row,
            n,
            spawn: spawn,
            join: async |task: Task<i32>| task.await.is_some(),
            sleep: sleep,
            limit: limit,
            first: async {
                let mut one = spawn(async { 1 });
                let mut other = spawn(pending::<i32>());
                or(&mut one, &mut other).await;
                other.cancel();
                black_box(other.await.is_none());
            },
            oneshot: |n| async move {
                let (send, requests) = unbounded();
                let server = spawn(async move {
                    while let Some(request) = requests.recv().await {
                        let request: oneshot::Sender<u32> = request;
                        request.send(1);
                    }
                });
                for _ in 0..n {
                    let (answer, awaited) = oneshot::new();
                    send.send_now(answer);
                    black_box(awaited.await);
                }
                drop(send);
                server.await.expect("it has ended");
            },
            channel: |n| async move {
                let (there, from) = channel(1);
                let (to, back) = channel(1);
                let other = spawn(async move {
                    while let Some(item) = from.recv().await {
                        to.send(item).await;
                    }
                });
                for n in 0..n {
                    there.send(n).await;
                    black_box(back.recv().await.expect("it is open"));
                }
                drop(there);
                other.await.expect("it has ended");
            },
        )
    })
}

/// The future first, and a timer only if it is not ready.
async fn limit<T>(future: impl Future<Output = T>) -> Option<T> {
    or(async { Some(future.await) }, async {
        sleep(HOUR).await;
        None
    })
    .await
}

pub fn start() {
    run(async {});
}
