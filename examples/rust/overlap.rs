//! Two tasks share one loop: while the soup simmers, the toast gets done.
//!
//! The pauses overlap, so the whole takes as long as the longer one, and the shorter one is ready
//! first although it was started last.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use roundel::{create_task, gather_tasks, run, sleep};

async fn cook(dish: &str, time: Duration) {
    println!("{dish}: started");
    sleep(time).await;
    println!("{dish}: ready");
}

fn main() -> Result<(), roundel::Error> {
    run(async {
        let soup = create_task(cook("soup", Duration::from_millis(400)));
        let toast = create_task(cook("toast", Duration::from_millis(200)));
        gather_tasks([soup, toast]).await?;
        println!("dinner is served");
        Ok(())
    })
}
