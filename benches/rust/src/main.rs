//! One item of the table of runtimes: `roundel-benches RUNTIME ROW N` prints the figure, and
//! `roundel-benches serve RUNTIME` is an echo server. Which items there are, how often, and what is
//! made of the figures: benches/crate.py.
#![allow(clippy::print_stdout)]

mod bound;
mod rows;
mod runtimes;

use std::env;

use runtimes::{bare, compio, glommio, monoio, roundel, smol, tokio};

/// What there is of each runtime.
struct Runtime {
    name: &'static str,
    /// A row with so many operations.
    row: fn(&str, u32) -> f64,
    /// Starts it, runs nothing on it and drops it.
    start: fn(),
    /// Echoes over TCP until it is killed.
    serve: Option<fn()>,
}

macro_rules! runtime {
    ($module:ident, $serve:expr) => {
        Runtime {
            name: stringify!($module),
            row: $module::row,
            start: $module::start,
            serve: $serve,
        }
    };
}

const RUNTIMES: [Runtime; 7] = [
    runtime!(roundel, Some(roundel::serve)),
    runtime!(tokio, Some(tokio::serve)),
    runtime!(smol, Some(smol::serve)),
    runtime!(monoio, Some(monoio::serve)),
    runtime!(compio, Some(compio::serve)),
    runtime!(glommio, Some(glommio::serve)),
    Runtime {
        name: "bound",
        row: bare::row,
        start: bare::start,
        serve: None,
    },
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", name] => runtime(name).serve.expect("it has a server")(),
        [name, "start", n] => println!("{}", rows::starts(number(n), runtime(name).start)),
        // The same, with the finest timer slack that Linux has.
        ["roundel-precise", row, n] => println!("{}", roundel::precise(row, number(n))),
        [name, row, n] => println!("{}", (runtime(name).row)(row, number(n))),
        _ => panic!("usage: roundel-benches RUNTIME ROW N | serve RUNTIME"),
    }
}

fn runtime(name: &str) -> &'static Runtime {
    let found = RUNTIMES.iter().find(|runtime| runtime.name == name);
    found.unwrap_or_else(|| panic!("there is no runtime {name}"))
}

fn number(text: &str) -> u32 {
    text.parse().expect("a number of operations")
}
