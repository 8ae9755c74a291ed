//! What holds for each file of the crate: where unsafe code may stand, and that what is public says
//! what its errors are and what cancelling does, with an example. That it has any documentation is
//! the compiler's to say (`missing_docs`), that the examples run is theirs.
#![cfg(not(loom))]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each file of the crate: its path inside `src`, and its text.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 40, "{found:?}");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        (name.to_owned(), fs::read_to_string(&path).unwrap())
    };
    found.into_iter().map(read).collect()
}

fn has_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap();
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|other| other == word)
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let has = |word: &str| -> Vec<String> {
        let files = files().into_iter();
        let files = files.filter(|(_, text)| text.lines().any(|line| has_word(line, word)));
        files.map(|(name, _)| name).collect()
    };
    assert_eq!(has("unsafe"), ["task/raw.rs"]);
    // The crate denies it, and one file allows it.
    let mut lint = has("unsafe_code");
    lint.sort();
    assert_eq!(lint, ["lib.rs", "task/raw.rs"]);
    let crate_root = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    assert!(crate_root.unwrap().contains("\n#![deny(unsafe_code)]\n"));
}

/// A function that everybody can call: its line, its signature and the documentation above it.
struct Function {
    line: usize,
    signature: String,
    docs: String,
}

fn functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let starts = ["pub fn ", "pub async fn ", "pub const fn "];
        if !starts.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        let mut signature = String::new();
        for line in &lines[at..] {
            signature += line;
            if line.ends_with('{') || line.ends_with(';') {
                break;
            }
        }
        let above = lines[..at].iter().rev();
        let docs: Vec<&str> = above
            .take_while(|line| line.starts_with("///") || line.starts_with("#["))
            .copied()
            .collect();
        found.push(Function {
            line: at + 1,
            signature,
            docs: docs.join("\n"),
        });
    }
    found
}

#[test]
fn what_is_public_says_its_errors_what_cancelling_does_and_has_an_example() {
    let (mut count, mut missing) = (0, Vec::new());
    for (name, text) in files() {
        for Function {
            line,
            signature,
            docs,
        } in functions(&text)
        {
            count += 1;
            let (_, returns) = signature.split_once(") -> ").unwrap_or_default();
            let returns = returns.split("where").next().unwrap();
            let mut due = vec!["```"];
            if returns.contains("Result<") {
                due.push("# Errors");
            }
            if signature.starts_with("pub async fn ") {
                due.push("# Cancelling");
            }
            due.retain(|part| !docs.contains(part));
            if !due.is_empty() {
                missing.push(format!("{name}:{line}: {due:?}"));
            }
        }
    }
    assert!(count > 150, "{count}");
    assert!(missing.is_empty(), "{missing:#?}");
}
