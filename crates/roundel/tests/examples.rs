//! The programs in examples/rust print and answer what their twins in examples/python do. Where no
//! Python is found, or where a program has no twin, that is said and fails.
#![cfg(not(loom))]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

/// Those that serve until they are told to end. The application of asgi_app.py needs somebody else's
/// server, and is played to by itself.
const SERVERS: [&str; 3] = ["asgi_app", "echo_protocol", "http_by_hand"];

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
        .collect();
    names.sort();
    names
}

fn python() -> String {
    env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Both of a name: in Rust and in Python.
fn twins(name: &str) -> [Command; 2] {
    // The examples are compiled beside the folder of this program.
    let programs = env::current_exe().unwrap();
    let program = programs.ancestors().nth(2).unwrap().join("examples");
    let program = program.join(name);
    assert!(
        program.is_file(),
        "cargo test compiles {name} if it is given no --test"
    );
    let mut script = Command::new(python());
    script.arg(folder("python").join(format!("{name}.py")));
    [Command::new(program), script]
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
    for name in names("rust") {
        if SERVERS.contains(&name.as_str()) {
            continue;
        }
        let [rust, python] = &mut twins(&name);
        let rust = prints(rust);
        assert!(!rust.is_empty(), "{name}");
        assert_eq!(rust, prints(python), "{name}");
    }
}

/// A server that is ended by Ctrl-C, which it takes quietly.
struct Server {
    child: Option<Child>,
    first_line: String,
    port: u16,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .arg("0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let digits = line.trim().rsplit([':', ' ']).next().unwrap();
        let port = digits.parse().unwrap_or_else(|_| panic!("{line}"));
        Self {
            child: Some(child),
            first_line: line.replace(digits, "PORT"),
            port,
        }
    }

    /// What it answers, up to its end; when that is all that is said, or while more may come.
    fn answers(&self, said: &[u8], is_all: bool) -> Vec<u8> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(said).unwrap();
                if is_all {
                    stream.shutdown(Shutdown::Write).unwrap();
                }
            });
            let mut answer = Vec::new();
            (&stream).read_to_end(&mut answer).unwrap();
            answer
        })
    }

    fn end(mut self) {
        let child = self.child.take().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    }
}

/// Of a test that has failed.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|n| (n % 251) as u8).collect()
}

#[test]
fn twins_that_serve_answer_the_same() {
    let much = pattern(300_000);
    let post = b"POST /echo HTTP/1.1\r\nHost: there\r\ncontent-length: 300000\r\n\r\n";
    let get = b"GET /some/page HTTP/1.1\r\n\r\n";
    let conversations: [(&str, Vec<Vec<u8>>); 2] = [
        (
            "echo_protocol",
            vec![b"tea\n".to_vec(), much.clone(), Vec::new()],
        ),
        (
            "http_by_hand",
            vec![
                [&post[..], &much, get, get].concat(),
                get.to_vec(),
                Vec::new(),
            ],
        ),
    ];
    for (name, conversations) in conversations {
        let [rust, python] = twins(name).map(|mut command| Server::start(&mut command));
        assert_eq!(rust.first_line, python.first_line, "{name}");
        for said in conversations {
            let answer = rust.answers(&said, true);
            assert_eq!(answer.is_empty(), said.is_empty(), "{name}");
            assert!(answer == python.answers(&said, true), "{name}");
        }
        rust.end();
        python.end();
    }
}

/// Plays a request to the application in Python, as a server would, and prints what it answers.
const PLAY: &str = "
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import asgi_app
path, body = sys.argv[2], b'x' * int(sys.argv[3])
async def receive():
    return {'type': 'http.request', 'body': body}
async def send(message):
    sys.stdout.write(message.get('body', b'').decode())
asyncio.run(asgi_app.app({'type': 'http', 'path': path}, receive, send))
";

#[test]
fn twins_that_are_applications_answer_the_same() {
    let [mut rust, _] = twins("asgi_app");
    let rust = Server::start(&mut rust);
    for (path, length) in [("/", 0), ("/some/page", 100_000), ("/slow", 3)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: there\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        let said = [head.as_bytes(), &vec![b'x'; length]].concat();
        // hyper takes a client that has nothing more to say for one that has gone.
        let answer = String::from_utf8(rust.answers(&said, false)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: text/plain"), "{head}");
        let mut play = Command::new(python());
        play.args(["-c", PLAY]).arg(folder("python"));
        play.arg(path).arg(length.to_string());
        let expected = prints(&mut play)
            .join("\n")
            .replace("on asyncio", "on roundel");
        assert_eq!(body.trim_end(), expected);
    }
    rust.end();
}
