//! `await` is where a future lets go of the loop: here for as long as a kettle takes to boil.
//!
//! With one future there is nobody who could use the time, so the program takes as long as the
//! pause. overlap.rs has a second one.
#![allow(clippy::print_stdout)]

use std::time::Duration;

async fn boil(what: &str, time: Duration) {
    println!("{what}: on the stove");
    roundel::sleep(time).await;
    println!("{what}: ready");
}

fn main() {
    roundel::run(boil("water", Duration::from_millis(300)));
}
