//! Start everything, then collect: a task runs from its creation on, not from its `await` on.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use roundel::{create_task, run, sleep};

async fn count(shelf: &str, books: u32, time: Duration) -> u32 {
    sleep(time).await;
    println!("shelf {shelf}: counted");
    books
}

fn main() -> Result<(), roundel::Error> {
    run(async {
        let upper = create_task(count("A", 31, Duration::from_millis(300)));
        let lower = create_task(count("B", 11, Duration::from_millis(200)));
        println!("both are being counted");
        println!("books: {}", upper.await? + lower.await?);
        Ok(())
    })
}
