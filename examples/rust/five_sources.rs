//! Five weather stations asked at once: the answers come as they come, the list stays in order.
//!
//! Compare five_in_turn.rs, which asks one after the other. Here the slowest station sets the time,
//! there it is the sum of all.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

const STATIONS: [(&str, u64); 5] = [
    ("Bergen", 300),
    ("Lisbon", 100),
    ("Oulu", 500),
    ("Graz", 200),
    ("Cork", 400),
];

async fn measure(station: &str, delay: Duration) -> String {
    println!("asking {station}");
    roundel::sleep(delay).await;
    println!("{station} has answered");
    format!("{station} {} C", station.len() + 5)
}

fn main() -> Result<(), roundel::Error> {
    roundel::run(async {
        let began = Instant::now();
        let answers = roundel::gather(
            STATIONS.map(|(station, millis)| measure(station, Duration::from_millis(millis))),
        );
        println!("{}", answers.await?.join("; "));
        println!("took {:.2} s", began.elapsed().as_secs_f64());
        Ok(())
    })
}
