//! roundel.

use std::{future::pending, hint::black_box, rc::Rc, time::Duration};

use roundel::{
    Answer, Builder, Queue, ReturnWhen, Task, create_task, oneshot, sleep, wait, wait_for,
};

use super::ROOM;
use crate::rows::{HOUR, rows};

pub fn row(row: &str, n: u32) -> f64 {
    roundel::run(measured(row.to_owned(), n))
}

pub fn precise(row: &str, n: u32) -> f64 {
    let precise = Builder::new().timer_slack(Duration::from_nanos(1));
    let mut runtime = precise.build().expect("a runtime");
    runtime.run(measured(row.to_owned(), n)).expect("a figure")
}

async fn measured(row: String, n: u32) -> f64 {
    rows!(
        row,
        n,
        spawn: create_task,
        join: async |task: Task<i32>| task.await.is_ok(),
        sleep: sleep,
        limit: |future| wait_for(future, HOUR),
        first: async {
            let tasks = [create_task(async { 1 }), create_task(pending())];
            let (_done, mut left) = wait(tasks, ReturnWhen::FirstCompleted).await;
            let left = left.remove(0);
            left.cancel();
            black_box(left.await.is_err());
        },
        oneshot: |n| async move {
            let requests = Rc::new(Queue::<Answer<u32>>::new(0));
            let served = Rc::clone(&requests);
            let server = create_task(async move {
                while let Ok(request) = served.get().await {
                    let _ = request.set_result(1);
                }
            });
            for _ in 0..n {
                let (answer, awaited) = oneshot();
                requests.put_nowait(answer).expect("there is room");
                black_box(awaited.await.expect("an answer"));
            }
            requests.shutdown();
            server.await.expect("it has ended");
        },
        channel: |n| async move {
            let [there, back] = [0; 2].map(|_| Rc::new(Queue::new(1)));
            let (to, from) = (Rc::clone(&back), Rc::clone(&there));
            let other = create_task(async move {
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
        },
    )
}

pub fn start() {
    roundel::run(async {});
}

pub fn serve() {
    roundel::run(async {
        let listener = roundel::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a listener");
        println!("{}", listener.local_addr().expect("an address").port());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            drop(create_task(async move {
                let mut buffer = vec![0; ROOM];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        break;
                    }
                }
            }));
        }
    });
}
