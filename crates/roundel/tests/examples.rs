//! The programs in examples/rust print what their twins in examples/python print. Where no Python
//! is found, or where it has no twin, that is said and fails.
#![cfg(not(loom))]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Those that need the network have no twin.
const WITHOUT_TWIN: [&str; 3] = ["asgi_app", "echo_protocol", "http_by_hand"];

fn folder(language: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    root.join(language)
}

fn names(language: &str) -> Vec<String> {
    let files = fs::read_dir(folder(language)).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !WITHOUT_TWIN.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

/// What a program prints, without the figure behind `took`.
fn prints(command: &mut Command) -> Vec<String> {
    let ran = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ran.status.success(), "{command:?}: {ran:?}");
    let text = String::from_utf8(ran.stdout).unwrap();
    text.lines()
        .map(|line| match line.strip_prefix("took ") {
            Some(_) => "took … s".to_owned(),
            None => line.to_owned(),
        })
        .collect()
}

#[test]
fn each_has_its_twin() {
    assert_eq!(names("rust"), names("python"));
}

#[test]
fn twins_print_the_same() {
    // The examples are compiled beside the folder of this program.
    let programs = env::current_exe().unwrap();
    let programs = programs.ancestors().nth(2).unwrap().join("examples");
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    for name in names("rust") {
        let program = programs.join(&name);
        assert!(
            program.is_file(),
            "cargo test compiles {name} if it is given no --test"
        );
        let rust = prints(&mut Command::new(program));
        assert!(!rust.is_empty(), "{name}");
        let script = folder("python").join(format!("{name}.py"));
        assert_eq!(rust, prints(Command::new(&python).arg(script)), "{name}");
    }
}
