//! Awaiting a future directly: the second starts when the first has ended, because it needs it.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use roundel::{run, sleep};

async fn look_up(name: &str) -> usize {
    println!("looking up {name}");
    sleep(Duration::from_millis(200)).await;
    name.len() * 100
}

async fn ring(number: usize) -> String {
    println!("ringing {number}");
    sleep(Duration::from_millis(100)).await;
    format!("{number} picked up")
}

fn main() {
    run(async {
        let number = look_up("Ada").await;
        println!("{}", ring(number).await);
    });
}
