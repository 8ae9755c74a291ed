//! roundel's crate beside tokio (current_thread, LocalSet), smol (LocalExecutor, async-io) and monoio
//! (on epoll).
//!
//! CPU time, user and system, of the process, unless a row says otherwise. Without arguments it runs
//! each item in a process of its own, rounds interleaved, and prints medians; with a runtime and a
//! row, that item; `echo` measures the echo servers only.
#![allow(clippy::print_stdout)]

mod echo;
mod rows;

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const RUNTIMES: [&str; 4] = ["roundel", "tokio", "smol", "monoio"];
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            table();
            sockets();
        }
        ["echo"] => sockets(),
        ["serve", runtime] => echo::serve(runtime),
        [runtime, row] => println!("{}", rows::measure(runtime, row)),
        _ => panic!("usage: roundel-benches [echo | RUNTIME ROW | serve RUNTIME]"),
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
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
        let medians = figures
            .iter_mut()
            .map(|figures| format!("{:.1}", median(figures)));
        let medians = medians.collect::<Vec<_>>().join(" | ");
        println!("| {} | {medians} |", row.1);
    }
}

/// Compiles one of the programs in C beside this one.
fn compiled(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let program = env::current_exe().expect("this program has a path");
    let program = program.with_file_name(name.replace(".c", "-of-benches"));
    let mut cc = Command::new("cc");
    let cc = cc.args(["-O2", "-o"]).arg(&program).arg(source).status();
    assert!(cc.expect("cc is there").success());
    program
}

fn sockets() {
    let (load, floor) = (compiled("load.c"), compiled("floor.c"));
    let this = env::current_exe().expect("this program has a path");
    let servers: Vec<(&str, PathBuf, Vec<&str>)> = [("C", floor, vec!["tcp"])]
        .into_iter()
        .chain(RUNTIMES.map(|runtime| (runtime, this.clone(), vec!["serve", runtime])))
        .collect();
    let names: Vec<&str> = servers.iter().map(|server| server.0).collect();
    println!(
        "\n| microseconds of CPU for an echo of 1 KB | {} |",
        names.join(" | ")
    );
    println!("|---|{}", "---:|".repeat(names.len()));
    for (connections, requests) in [(1, 20_000), (50, 50_000), (500, 50_000)] {
        let mut figures = vec![Vec::new(); servers.len()];
        for _ in 0..ROUNDS {
            for ((_, program, arguments), figures) in servers.iter().zip(&mut figures) {
                figures.push(asked(&load, program, arguments, connections, requests));
            }
        }
        let medians = figures
            .iter_mut()
            .map(|figures| format!("{:.2}", median(figures)));
        let medians = medians.collect::<Vec<_>>().join(" | ");
        println!("| {connections} connections | {medians} |");
    }
}

/// Starts a server, has it asked, and ends it.
fn asked(load: &Path, server: &Path, arguments: &[&str], connections: u32, requests: u32) -> f64 {
    let server = Command::new(server)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn();
    let mut server = server.expect("a server can be run");
    let mut port = String::new();
    let printed = BufReader::new(server.stdout.take().expect("it is piped")).read_line(&mut port);
    printed.expect("a server prints its port");
    let pid = server.id().to_string();
    let numbers = [
        connections.to_string(),
        requests.to_string(),
        "1024".into(),
        pid,
        "0".into(),
    ];
    let ran = Command::new(load)
        .args(["tcp", port.trim()])
        .args(numbers)
        .output();
    server.kill().expect("it is still there");
    server.wait().expect("it was a child");
    let ran = ran.expect("the load can be run");
    let text = String::from_utf8_lossy(&ran.stdout);
    let figure = text
        .strip_prefix("{\"us\": ")
        .and_then(|text| text.split(',').next());
    figure
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{ran:?}"))
}
