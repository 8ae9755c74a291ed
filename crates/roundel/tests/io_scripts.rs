//! Random scripts of streams and child processes, played here and on asyncio: what is read, what
//! errors say, when draining is over, how children end, is the same.
//!
//! Two kinds of reading, since asyncio's reader reads ahead of who asks and ours does not: what is
//! all there before the first step, with small limits; and what comes in pieces, in which how much
//! `read` gets and where a limit is met is a matter of chance and so is not asked. What breaks a
//! connection has several names in asyncio, and is one here. `ROUNDEL_SCRIPTS=n` plays more.
#![cfg(not(loom))]

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream as Peer,
    path::Path,
    process::Stdio,
    rc::Rc,
    time::Duration,
};

use roundel::{
    SignalKind, Task, create_task,
    net::{ReadError, StreamReader, StreamWriter, UnixStream},
    process::create_subprocess_exec,
    run, signal, sleep,
};

const SEPARATORS: [&[u8]; 3] = [b"|", b"\r\n", b"ab"];

/// What children do, one after the other. Nothing of it has to be quoted in JSON.
const LINES: [&str; 12] = [
    "echo tea",
    "echo milk >&2",
    "cat",
    "head -c 3",
    "head -c 100000 /dev/zero",
    "head -c 100000 /dev/zero >&2",
    "exec <&-",
    "exec >&-",
    "exit 3",
    "exit 255",
    "kill -TERM $$",
    "kill -USR1 $$",
];

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % n as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

type Steps = Vec<(&'static str, usize)>;

#[derive(Clone, Debug)]
enum Script {
    Read {
        at_once: bool,
        limit: usize,
        pieces: Vec<Vec<u8>>,
        steps: Steps,
    },
    Write(Steps),
    Child {
        line: String,
        input: Option<usize>,
        pipes: bool,
        signum: i32,
        ends: bool,
    },
}

impl Script {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        match random.below(8) {
            0..4 => Self::reading(&mut random),
            4..6 => Self::writing(&mut random),
            _ => Self::child(&mut random),
        }
    }

    fn reading(random: &mut Random) -> Self {
        let at_once = random.below(2) == 0;
        let limit = if at_once {
            1 + random.below(12)
        } else {
            1 << 16
        };
        let pieces = (0..random.below(8)).map(|_| {
            let n = 1 + random.below(12);
            (0..n).map(|_| random.pick(b"aabc|\r\n")).collect()
        });
        let pieces = pieces.collect();
        let words: &[&str] = match at_once {
            true => &["read", "exactly", "line", "until", "line", "until"],
            false => &["exactly", "line", "until"],
        };
        let steps = (0..1 + random.below(10)).map(|_| match random.pick(words) {
            word @ "until" => (word, random.below(SEPARATORS.len())),
            word => (word, random.below(12)),
        });
        let steps = steps.collect::<Steps>();
        Self::Read {
            at_once,
            limit,
            pieces,
            steps: [steps, vec![("rest", 0)]].concat(),
        }
    }

    fn writing(random: &mut Random) -> Self {
        let mut steps = Vec::new();
        for _ in 0..1 + random.below(10) {
            steps.push(match random.below(6) {
                0 | 1 => ("write", random.pick(&[1, 1000, 70_000, 300_000, 1_000_000])),
                2 | 3 => ("drain", 0),
                _ => ("take", 0),
            });
        }
        // Nothing can be written after these.
        match random.below(4) {
            0 => steps.extend([("eof", 0), ("take", 0)]),
            1 => steps.extend([("close", 0), ("take", 0)]),
            2 => steps.extend([("gone", 0), ("write", 1), ("drain", 0)]),
            _ => steps.push(("take", 0)),
        }
        Self::Write(steps)
    }

    fn child(random: &mut Random) -> Self {
        let line: Vec<_> = (0..1 + random.below(4))
            .map(|_| random.pick(&LINES))
            .collect();
        let mut line = line.join("; ");
        let sizes = [None, Some(0), Some(10), Some(300_000)];
        let (mut input, mut pipes, mut ends) = (random.pick(&sizes), random.below(4) > 0, true);
        let mut signum = 0;
        if random.below(4) == 0 {
            // One that is ended from outside.
            line = "exec sleep 1000".to_owned();
            signum = random.pick(&[2, 9, 10, 15]);
            ends = random.below(2) == 0;
        }
        if !ends {
            (input, pipes) = (None, false);
        }
        Self::Child {
            line,
            input,
            pipes,
            signum,
            ends,
        }
    }

    fn json(&self) -> String {
        let steps = |steps: &Steps| {
            let steps = steps.iter().map(|(word, n)| format!("[\"{word}\", {n}]"));
            format!("[{}]", steps.collect::<Vec<_>>().join(", "))
        };
        match self {
            Self::Read {
                at_once,
                limit,
                pieces,
                steps: all,
            } => {
                let pieces = pieces.iter().map(|piece| format!("\"{}\"", hex(piece)));
                let pieces = pieces.collect::<Vec<_>>().join(", ");
                let all = steps(all);
                format!("[\"read\", {at_once}, {limit}, [{pieces}], {all}]")
            }
            Self::Write(all) => format!("[\"write\", {}]", steps(all)),
            Self::Child {
                line,
                input,
                pipes,
                signum,
                ends,
            } => {
                let input = input.map_or_else(|| "null".to_owned(), |size| size.to_string());
                format!("[\"child\", \"{line}\", {input}, {pipes}, {signum}, {ends}]")
            }
        }
    }

    async fn play(self, log: &mut String) {
        match self {
            Self::Read {
                at_once,
                limit,
                pieces,
                steps,
            } => read(at_once, limit, pieces, steps, log).await,
            Self::Write(steps) => write(steps, log).await,
            Self::Child {
                line,
                input,
                pipes,
                signum,
                ends,
            } => child(&line, input, pipes, signum, ends, log).await,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// As Python prints it.
fn truth(is: bool) -> &'static str {
    if is { "True" } else { "False" }
}

async fn turns(n: usize) {
    for _ in 0..n {
        sleep(Duration::ZERO).await;
    }
}

fn pair() -> (UnixStream, Peer) {
    let (ours, theirs) = Peer::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    (UnixStream::from_std(ours).unwrap(), theirs)
}

async fn feed(mut theirs: Peer, pieces: Vec<Vec<u8>>) {
    for piece in pieces {
        theirs.write_all(&piece).unwrap();
        turns(2).await;
    }
}

async fn read_step(reader: &mut StreamReader, word: &str, n: usize) -> String {
    let outcome = match word {
        "read" => reader.read(n).await.map_err(ReadError::from),
        "exactly" => reader.readexactly(n).await,
        "line" => reader.readline().await,
        "until" => reader.readuntil(SEPARATORS[n]).await,
        "rest" => reader.read_to_end().await.map_err(ReadError::from),
        other => panic!("what is {other}?"),
    };
    match outcome {
        Ok(bytes) => hex(&bytes),
        Err(ReadError::Incomplete(read)) => {
            let expected = read
                .expected
                .map_or_else(|| "None".to_owned(), |n| n.to_string());
            format!("incomplete {} {expected}: {read}", hex(&read.partial))
        }
        Err(ReadError::Limit(overrun)) if word == "line" => format!("limit: {overrun}"),
        Err(ReadError::Limit(overrun)) => format!("limit {}: {overrun}", overrun.consumed),
        Err(ReadError::Io(error)) => panic!("{error}"),
    }
}

async fn read(at_once: bool, limit: usize, pieces: Vec<Vec<u8>>, steps: Steps, log: &mut String) {
    let (ours, theirs) = pair();
    let (reader, _writer): (StreamReader, StreamWriter) = ours.into();
    let mut reader = reader.with_limit(limit);
    match at_once {
        true => feed(theirs, pieces).await,
        false => drop(create_task(feed(theirs, pieces))),
    }
    for (word, n) in steps {
        let outcome = read_step(&mut reader, word, n).await;
        writeln!(log, "{word} {n} {outcome}").unwrap();
    }
    writeln!(log, "at_eof {}", truth(reader.at_eof())).unwrap();
}

async fn take(theirs: &mut Peer) -> String {
    let (mut taken, mut idle) = (0, 0);
    let mut buffer = vec![0; 1 << 20];
    while idle < 4 {
        match theirs.read(&mut buffer) {
            Ok(0) => return format!("{taken} and the end"),
            Ok(n) => (taken, idle) = (taken + n, 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => idle += 1,
            Err(error) => panic!("{error}"),
        }
        turns(8).await;
    }
    taken.to_string()
}

async fn write(steps: Steps, log: &mut String) {
    let (ours, theirs) = pair();
    let mut theirs = Some(theirs);
    let (_reader, writer): (StreamReader, StreamWriter) = ours.into();
    let writer = Rc::new(writer);
    let drain = || {
        let writer = Rc::clone(&writer);
        create_task(async move { writer.drain().await })
    };
    let mut drains: Vec<Task<io::Result<()>>> = Vec::new();
    for (word, n) in steps {
        match word {
            "write" => writer.write(&vec![b'x'; n]),
            "drain" => drains.push(drain()),
            "take" => {
                let taken = take(theirs.as_mut().unwrap()).await;
                writeln!(log, "took {taken}").unwrap();
            }
            "eof" => writer.write_eof(),
            "close" => writer.close(),
            "gone" => drop(theirs.take()),
            other => panic!("what is {other}?"),
        }
        if !matches!(word, "write" | "take") {
            turns(8).await;
        }
        let done: Vec<_> = drains
            .iter()
            .map(|task| truth(task.is_finished()))
            .collect();
        let done = done.join(", ");
        write!(log, "{word} {n} [{done}]").unwrap();
        // asyncio reads ahead, and so sees the peer's going before anything is written.
        match word {
            "gone" => writeln!(log).unwrap(),
            _ => writeln!(log, " {}", truth(writer.is_closing())).unwrap(),
        }
    }
    drains.push(drain());
    let closes = Rc::clone(&writer);
    drains.push(create_task(async move {
        closes.close();
        closes.wait_closed().await
    }));
    for task in drains {
        let outcome = if task.await.unwrap().is_ok() {
            "fine"
        } else {
            "lost"
        };
        writeln!(log, "{outcome}").unwrap();
    }
}

async fn child(
    line: &str,
    input: Option<usize>,
    pipes: bool,
    signum: i32,
    ends: bool,
    log: &mut String,
) {
    let stdio = |piped| if piped { Stdio::piped() } else { Stdio::null() };
    let command = create_subprocess_exec("/bin/sh").args(["-c", line]);
    let command = command.stdin(stdio(input.is_some()));
    let command = command.stdout(stdio(pipes)).stderr(stdio(pipes));
    let mut process = command.await.unwrap();
    if signum != 0 {
        process.send_signal(SignalKind::from_raw(signum)).unwrap();
    }
    if ends {
        let input = input.map(|size| vec![b'x'; size]);
        let (output, errors) = process.communicate(input.as_deref()).await.unwrap();
        writeln!(log, "output {} {}", hex(&output), hex(&errors)).unwrap();
    }
    process.wait().await.unwrap();
    let code = process.returncode().unwrap();
    writeln!(log, "status {code} {code}").unwrap();
    for outcome in [
        process.kill(),
        process.terminate(),
        process.send_signal(SignalKind::SIGINT),
    ] {
        let outcome = if outcome.is_ok() { "sent" } else { "gone" };
        writeln!(log, "{outcome}").unwrap();
    }
}

/// What is ignored here is ignored in the children, on asyncio as well: then those that a signal is to end live on. A
/// background job of a shell's is started so. What is listened to, if only once, is in a child as it is by default.
fn heed_what_is_ignored() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut words = status
        .split_whitespace()
        .skip_while(|&word| word != "SigIgn:");
    let ignored = words
        .nth(1)
        .map_or(0, |mask| u64::from_str_radix(mask, 16).unwrap());
    run(async move {
        for kind in [SignalKind::SIGINT, SignalKind::SIGUSR1, SignalKind::SIGTERM] {
            if ignored & 1 << (kind.as_raw() - 1) != 0 {
                drop(signal(kind).unwrap());
            }
        }
    });
}

#[test]
fn scripts_do_on_asyncio_what_they_do_here() {
    heed_what_is_ignored();
    let count = env::var("ROUNDEL_SCRIPTS").map_or(300, |count| count.parse().unwrap());
    let scripts: Vec<Script> = (0..count).map(Script::new).collect();
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let text: String = scripts.iter().map(|script| script.json() + "\n").collect();
    let printed = run(async move {
        let asyncio = create_subprocess_exec(&python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/io_scripts.py"));
        let asyncio = asyncio.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut asyncio = asyncio
            .await
            .unwrap_or_else(|error| panic!("{python}: {error}"));
        let (printed, _) = asyncio.communicate(Some(text.as_bytes())).await.unwrap();
        assert_eq!(asyncio.returncode(), Some(0));
        String::from_utf8(printed).unwrap()
    });
    let expected: Vec<&str> = printed.split("--\n").collect();
    let mut kinds = [0; 3];
    for (seed, script) in scripts.into_iter().enumerate() {
        kinds[match &script {
            Script::Read { .. } => 0,
            Script::Write(_) => 1,
            Script::Child { .. } => 2,
        }] += 1;
        let (text, name) = (script.json(), script.clone());
        let log = run(async move {
            let mut log = String::new();
            script.play(&mut log).await;
            log
        });
        assert!(
            log.trim() == expected[seed].trim(),
            "script {seed}, {name:?}:\n{text}\nhere:\n{log}\nasyncio:\n{}",
            expected[seed]
        );
    }
    assert!(kinds.into_iter().all(|count| count > 30), "{kinds:?}");
}
