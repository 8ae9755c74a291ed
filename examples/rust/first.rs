//! The smallest program: a future that is run, and what it returned.
//!
//! Nothing waits here and nothing overlaps. `async fn` only makes something that an event loop can
//! run; `roundel::run` makes that loop, runs it to its end and hands its result back.
#![allow(clippy::print_stdout)]

async fn answer() -> u32 {
    println!("asked");
    6 * 7
}

fn main() {
    println!("answered: {}", roundel::run(answer()));
}
