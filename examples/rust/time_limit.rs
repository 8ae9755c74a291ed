//! A limit on a wait: `wait_for` drops what takes too long, and what is dropped can tidy up.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use roundel::{TimeoutError, run, sleep, wait_for};

struct Receiver;

impl Drop for Receiver {
    fn drop(&mut self) {
        println!("receiver switched off");
    }
}

async fn listen(time: Duration) -> &'static str {
    let _receiver = Receiver;
    sleep(time).await;
    "a signal"
}

fn main() {
    run(async {
        for time in [Duration::from_millis(100), Duration::from_secs(3600)] {
            match wait_for(listen(time), Duration::from_millis(300)).await {
                Ok(heard) => println!("heard {heard}"),
                Err(TimeoutError) => println!("heard nothing in time"),
            }
        }
    });
}
