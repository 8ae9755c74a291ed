//! The twin of five_sources.rs without an event loop: each wait is over before the next one begins.
#![allow(clippy::print_stdout)]

use std::{
    thread,
    time::{Duration, Instant},
};

const STATIONS: [(&str, u64); 5] = [
    ("Bergen", 300),
    ("Lisbon", 100),
    ("Oulu", 500),
    ("Graz", 200),
    ("Cork", 400),
];

fn measure(station: &str, delay: Duration) -> String {
    println!("asking {station}");
    thread::sleep(delay);
    println!("{station} has answered");
    format!("{station} {} C", station.len() + 5)
}

fn main() {
    let began = Instant::now();
    let answers = STATIONS.map(|(station, millis)| measure(station, Duration::from_millis(millis)));
    println!("{}", answers.join("; "));
    println!("took {:.2} s", began.elapsed().as_secs_f64());
}
