//! roundel's crate beside tokio (current_thread, LocalSet) and smol (LocalExecutor, async-io).
//!
//! CPU time, user and system, of the process. Without arguments it runs each item in a process of
//! its own, rounds interleaved, and prints medians; with a runtime and a row, that item.
#![allow(clippy::print_stdout)]

mod rows;

use std::{env, process::Command};

const RUNTIMES: [&str; 3] = ["roundel", "tokio", "smol"];
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => table(),
        [runtime, row] => println!("{}", rows::measure(runtime, row)),
        _ => panic!("usage: roundel-benches [RUNTIME ROW]"),
    }
}

fn table() {
    let program = env::current_exe().expect("this program has a path");
    let mut figures = vec![vec![Vec::new(); RUNTIMES.len()]; rows::ROWS.len()];
    for _ in 0..ROUNDS {
        for (row, figures) in rows::ROWS.iter().zip(&mut figures) {
            for (runtime, figures) in RUNTIMES.iter().zip(figures) {
                let ran = Command::new(&program).args([runtime, &row.0]).output();
                let ran = ran.expect("this program can be run");
                let text = String::from_utf8_lossy(&ran.stdout);
                let figure: f64 = text.trim().parse().expect("an item prints its figure");
                figures.push(figure);
            }
        }
    }
    println!("| nanoseconds of CPU for | {} |", RUNTIMES.join(" | "));
    println!("|---|{}", "---:|".repeat(RUNTIMES.len()));
    for (row, figures) in rows::ROWS.iter().zip(&mut figures) {
        let medians = figures.iter_mut().map(|figures| {
            figures.sort_by(f64::total_cmp);
            format!("{:.1}", figures[figures.len() / 2])
        });
        println!(
            "| {} | {} |",
            row.1,
            medians.collect::<Vec<_>>().join(" | ")
        );
    }
}
