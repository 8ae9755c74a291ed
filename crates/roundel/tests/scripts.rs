//! Random scripts of locks and queues, played here and on asyncio: what happens, and in which turn,
//! is the same.
//!
//! Cancelling and conditions are in different scripts: a cancelled wait for a condition takes the
//! lock once more in asyncio, and cannot here. `ROUNDEL_SCRIPTS=n` plays more of them.
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    env,
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    rc::Rc,
    time::Duration,
};

use roundel::{
    Barrier, Condition, ConditionGuard, Event, Lock, LockGuard, Permit, Queue, Semaphore,
    TaskHandle, call_soon, catch_cancelled, create_task, run, sleep,
};

const TURNS: u32 = 80;

const CANCELLED: &[&str] = &[
    "yield",
    "lock",
    "unlock",
    "sem",
    "unsem",
    "set",
    "clear",
    "wait",
    "put",
    "get",
    "put_nowait",
    "get_nowait",
    "cancel",
    "lock",
    "sem",
    "get",
    "cancel",
    "cancel",
    "cancel",
];
/// Few words, so that many wait for the same.
const CROWDED: &[&str] = &["sem", "sem", "unsem", "get", "get", "put_nowait", "cancel"];
const WAITING: &[&str] = &[
    "yield", "lock", "unlock", "cond", "cwait", "notify", "uncond", "barrier", "barrier", "abort",
    "reset", "cond", "cwait", "notify", "put", "get", "sem", "unsem",
];

type Steps = Vec<(&'static str, usize)>;

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % n as u64).unwrap()
    }
}

fn script(seed: u64) -> Vec<Steps> {
    let mut random = Random(seed);
    let words = [CANCELLED, CROWDED, WAITING][random.below(3)];
    let tasks = 2 + random.below(6);
    (0..tasks)
        .map(|_| {
            let steps = 1 + random.below(12);
            (0..steps)
                .map(|_| match words[random.below(words.len())] {
                    word @ "cancel" => (word, random.below(tasks)),
                    word => (word, 1 + random.below(3)),
                })
                .collect()
        })
        .collect()
}

fn text(script: &[Steps]) -> String {
    let mut text = String::new();
    for steps in script {
        let steps = steps.iter().map(|(word, n)| format!("{word}:{n}"));
        writeln!(text, "{}", steps.collect::<Vec<_>>().join(" ")).unwrap();
    }
    text
}

struct World {
    lock: Lock,
    semaphore: Semaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
    queue: Queue<usize>,
    tasks: RefCell<Vec<TaskHandle>>,
    turn: Cell<u32>,
    over: Cell<bool>,
    log: RefCell<String>,
}

#[derive(Default)]
struct Held<'a> {
    lock: Option<LockGuard<'a>>,
    permits: Vec<Permit<'a>>,
    condition: Option<ConditionGuard<'a>>,
    /// In which order they were taken, and are given back in the end.
    order: Vec<&'static str>,
}

impl Held<'_> {
    fn forget(&mut self, what: &str) {
        let at = self.order.iter().position(|&held| held == what);
        self.order.remove(at.unwrap());
    }
}

impl World {
    fn tick(self: &Rc<Self>) {
        self.turn.set(self.turn.get() + 1);
        if !self.over.get() {
            let world = Rc::clone(self);
            call_soon(move || world.tick());
        }
    }

    async fn step<'a>(&'a self, held: &mut Held<'a>, word: &str, argument: usize) -> String {
        match word {
            "yield" => sleep(Duration::ZERO).await,
            "lock" if held.lock.is_none() => {
                held.lock = Some(self.lock.acquire().await);
                held.order.push("lock");
            }
            "unlock" => {
                if held.lock.take().is_some() {
                    held.forget("lock");
                }
            }
            "sem" => {
                held.permits.push(self.semaphore.acquire().await);
                held.order.push("sem");
            }
            "unsem" => {
                if held.permits.pop().is_some() {
                    held.forget("sem");
                }
            }
            "set" => self.event.set(),
            "clear" => self.event.clear(),
            "wait" => self.event.wait().await,
            "cond" if held.condition.is_none() => {
                held.condition = Some(self.condition.acquire().await);
                held.order.push("cond");
            }
            "cwait" => {
                if let Some(guard) = held.condition.take() {
                    held.condition = Some(guard.wait().await);
                }
            }
            "notify" => {
                if let Some(guard) = &held.condition {
                    guard.notify(argument);
                }
            }
            "uncond" => {
                if held.condition.take().is_some() {
                    held.forget("cond");
                }
            }
            "barrier" => {
                return match self.barrier.wait().await {
                    Ok(index) => index.to_string(),
                    Err(_) => "broken".to_owned(),
                };
            }
            "abort" => self.barrier.abort().await,
            "reset" => self.barrier.reset().await,
            "put" => self.queue.put(argument).await.unwrap(),
            "get" => return self.queue.get().await.unwrap().to_string(),
            "put_nowait" => {
                if self.queue.put_nowait(argument).is_err() {
                    return "full".to_owned();
                }
            }
            "get_nowait" => {
                return match self.queue.get_nowait() {
                    Ok(item) => item.to_string(),
                    Err(_) => "empty".to_owned(),
                };
            }
            "cancel" => {
                let task = self.tasks.borrow()[argument].clone();
                task.cancel();
            }
            "lock" | "cond" => {}
            other => panic!("what is {other}?"),
        }
        "done".to_owned()
    }

    async fn task(&self, number: usize, steps: Steps) {
        let mut held = Held::default();
        for (word, argument) in steps {
            let outcome = catch_cancelled(self.step(&mut held, word, argument)).await;
            let cancelled = outcome.is_err();
            let outcome = outcome.unwrap_or_else(|_| "cancelled".to_owned());
            if !self.over.get() {
                let turn = self.turn.get();
                writeln!(self.log.borrow_mut(), "{turn} {number} {word} {outcome}").unwrap();
            }
            if cancelled {
                break;
            }
        }
        for what in std::mem::take(&mut held.order) {
            match what {
                "lock" => drop(held.lock.take()),
                "sem" => drop(held.permits.pop()),
                _ => drop(held.condition.take()),
            }
        }
    }
}

fn play(script: Vec<Steps>) -> String {
    run(async move {
        let world = Rc::new(World {
            lock: Lock::new(()),
            semaphore: Semaphore::new(2),
            event: Event::new(),
            condition: Condition::new(()),
            barrier: Barrier::new(2),
            queue: Queue::new(2),
            tasks: RefCell::default(),
            turn: Cell::new(0),
            over: Cell::new(false),
            log: RefCell::default(),
        });
        let ticking = Rc::clone(&world);
        call_soon(move || ticking.tick());
        for (number, steps) in script.into_iter().enumerate() {
            let here = Rc::clone(&world);
            let task = create_task(async move { here.task(number, steps).await });
            world.tasks.borrow_mut().push(task.handle());
        }
        for _ in 0..TURNS {
            sleep(Duration::ZERO).await;
        }
        world.over.set(true);
        for task in &*world.tasks.borrow() {
            task.cancel();
        }
        world.log.take()
    })
}

#[test]
fn scripts_do_on_asyncio_what_they_do_here() {
    let count = env::var("ROUNDEL_SCRIPTS").map_or(400, |count| count.parse().unwrap());
    let scripts: Vec<Vec<Steps>> = (0..count).map(script).collect();
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut asyncio = Command::new(&python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python}: {error}"));
    let mut stdin = asyncio.stdin.take().unwrap();
    for script in &scripts {
        writeln!(stdin, "{}", text(script)).unwrap();
    }
    drop(stdin);
    let printed = asyncio.wait_with_output().unwrap();
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    let expected: Vec<&str> = printed.split("--\n").collect();
    let mut happened = 0;
    for (seed, script) in scripts.into_iter().enumerate() {
        let text = text(&script);
        let log = play(script);
        happened += log.lines().count();
        assert_eq!(log.trim(), expected[seed].trim(), "script {seed}:\n{text}");
    }
    assert!(happened > 1000, "little has happened: {happened}");
}
