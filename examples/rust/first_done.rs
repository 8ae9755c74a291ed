//! Two couriers, one parcel: take what arrives first and call the other one back.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use roundel::{
    Cancelled, ReturnWhen, catch_cancelled, create_task, current_task, run, sleep, wait,
};

async fn deliver(courier: &str, time: Duration) -> String {
    if let Err(Cancelled) = catch_cancelled(sleep(time)).await {
        println!("{courier}: called back");
        // It has tidied up, and is cancelled after all: Python's `raise`.
        current_task().cancel();
        std::future::pending::<()>().await;
    }
    format!("parcel by {courier}")
}

fn main() -> Result<(), roundel::Error> {
    run(async {
        let bicycle = create_task(deliver("bicycle", Duration::from_millis(200)));
        let van = create_task(deliver("van", Duration::from_secs(60)));
        let couriers = [bicycle.with_name("bicycle"), van.with_name("van")];
        let (done, waiting) = wait(couriers, ReturnWhen::FirstCompleted).await;
        for task in done {
            println!("{}", task.await?);
        }
        for task in &waiting {
            task.cancel();
        }
        let (cancelled, _) = wait(waiting, ReturnWhen::AllCompleted).await;
        for task in cancelled.iter().filter(|task| task.is_cancelled()) {
            println!("cancelled: {}", task.name());
        }
        Ok(())
    })
}
