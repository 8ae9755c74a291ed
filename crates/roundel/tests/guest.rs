//! A guest on a host that does its duties by hand: what asks for what, and when.
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::pending,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    ptr::NonNull,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use roundel::{
    Error, Instant, SignalKind,
    guest::{Guest, Host, Lodger, Token},
};

/// What was asked for.
#[derive(Default)]
struct Asked {
    now: Cell<u64>,
    turns: Cell<u32>,
    alarm: Cell<Option<Instant>>,
    watched: RefCell<BTreeMap<RawFd, (bool, bool)>>,
    woken: RefCell<Vec<Token>>,
    /// By other threads.
    rings: Arc<AtomicU32>,
}

struct ByHand(Rc<Asked>);

impl Host for ByHand {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now.get())
    }
    fn call_soon(&self) {
        self.0.turns.set(self.0.turns.get() + 1);
    }
    fn call_at(&self, when: Option<Instant>) {
        self.0.alarm.set(when);
    }
    fn watch(&self, fd: RawFd, readable: bool, writable: bool) -> io::Result<()> {
        let mut watched = self.0.watched.borrow_mut();
        match (readable, writable) {
            (false, false) => drop(watched.remove(&fd)),
            sides => drop(watched.insert(fd, sides)),
        }
        Ok(())
    }
    fn wake(&self, lodger: Token) {
        self.0.woken.borrow_mut().push(lodger);
    }
    fn bell(&self) -> Box<dyn Fn() + Send + Sync> {
        let rings = Arc::clone(&self.0.rings);
        Box::new(move || {
            rings.fetch_add(1, Ordering::SeqCst);
        })
    }
}

struct House {
    asked: Rc<Asked>,
    guest: Guest,
}

impl House {
    fn new() -> Self {
        let asked = Rc::new(Asked::default());
        let guest = Guest::new(Box::new(ByHand(Rc::clone(&asked))));
        Self { asked, guest }
    }

    /// How often other threads have rung since it was asked.
    fn rings(&self) -> u32 {
        self.asked.rings.swap(0, Ordering::SeqCst)
    }

    fn take_turns(&self) {
        while self.asked.turns.replace(0) > 0 {
            self.guest.turn();
        }
    }

    /// Puts the clock forward to what was asked for.
    fn jump(&self) {
        let when = self.asked.alarm.take().expect("a timer");
        self.asked.now.set(when.as_nanos());
        self.guest.rung();
        self.take_turns();
    }
}

static PLACES: [u8; 4] = [0; 4];

fn token(number: usize) -> Token {
    Token(NonNull::from(&PLACES[number]).cast())
}

fn step<T>(lodger: &Lodger<T>) -> Poll<Result<T, Error>> {
    lodger.resume(&mut false)
}

/// Says when it is dropped.
struct Noted(Rc<Cell<bool>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn what_is_ready_at_once_asks_for_nothing() {
    let house = House::new();
    let lodger = house.guest.lodge(async { 42 }, token(0));
    assert!(matches!(step(&lodger), Poll::Ready(Ok(42))));
    assert_eq!(house.asked.turns.get(), 0);
    assert_eq!(house.asked.alarm.get(), None);
    assert!(house.guest.is_idle());
    assert!(matches!(step(&lodger), Poll::Ready(Err(Error::Cancelled))));
}

#[test]
fn a_timer_is_the_hosts() {
    let house = House::new();
    let sleeps = roundel::sleep(Duration::from_secs(3600));
    let lodger = house.guest.lodge(sleeps, token(1));
    assert!(step(&lodger).is_pending());
    assert_eq!(
        house.asked.alarm.get(),
        Some(Instant::from_nanos(3_600_000_000_000))
    );
    house.jump();
    assert_eq!(*house.asked.woken.borrow(), [token(1)]);
    assert!(matches!(step(&lodger), Poll::Ready(Ok(()))));
    assert_eq!(house.asked.alarm.get(), None);
}

#[test]
fn a_dropped_timer_is_taken_back() {
    let house = House::new();
    let lodger = house
        .guest
        .lodge(roundel::sleep(Duration::from_secs(1)), token(0));
    assert!(step(&lodger).is_pending());
    assert!(house.asked.alarm.get().is_some());
    drop(lodger);
    assert_eq!(house.asked.alarm.get(), None);
    assert!(house.guest.is_idle());
}

#[test]
fn one_that_wakes_itself_is_due_again() {
    let house = House::new();
    let lodger = house.guest.lodge(roundel::sleep(Duration::ZERO), token(0));
    let mut again = false;
    assert!(lodger.resume(&mut again).is_pending());
    assert!(again);
    assert!(house.asked.woken.borrow().is_empty());
    assert!(matches!(lodger.resume(&mut again), Poll::Ready(Ok(()))));
    assert!(!again);
}

#[test]
fn it_is_woken_once_for_many_wakes() {
    let house = House::new();
    let event = Rc::new(roundel::Event::new());
    let waits = Rc::clone(&event);
    let lodger = house.guest.lodge(
        async move {
            let first = waits.wait();
            let second = waits.wait();
            first.await;
            second.await;
        },
        token(2),
    );
    assert!(step(&lodger).is_pending());
    event.set();
    event.set();
    assert_eq!(*house.asked.woken.borrow(), [token(2)]);
    assert!(step(&lodger).is_ready());
}

#[test]
fn tasks_have_turns_of_their_own() {
    let house = House::new();
    let lodger = house.guest.lodge(
        async { roundel::create_task(async { 6 * 7 }).await.unwrap() },
        token(0),
    );
    assert!(step(&lodger).is_pending());
    assert_eq!(house.asked.turns.get(), 1);
    house.take_turns();
    assert_eq!(*house.asked.woken.borrow(), [token(0)]);
    assert!(matches!(step(&lodger), Poll::Ready(Ok(42))));
}

#[test]
fn what_is_woken_while_the_host_runs_is_announced() {
    let house = House::new();
    let event = Rc::new(roundel::Event::new());
    let passed = Rc::new(Cell::new(false));
    house.guest.enter(|| {
        let (event, passed) = (Rc::clone(&event), Rc::clone(&passed));
        drop(roundel::create_task(async move {
            event.wait().await;
            passed.set(true);
        }));
    });
    house.take_turns();
    assert!(!passed.get());
    event.set();
    assert_eq!(house.asked.turns.get(), 1);
    house.take_turns();
    assert!(passed.get());
}

#[test]
fn sockets_are_the_hosts() {
    let house = House::new();
    let (mut here, there) = UnixStream::pair().unwrap();
    let fd = there.as_raw_fd();
    let stream = house
        .guest
        .enter(|| roundel::net::UnixStream::from_std(there))
        .unwrap();
    let stream = Rc::new(stream);
    let reads = Rc::clone(&stream);
    let lodger = house.guest.lodge(
        async move {
            let mut byte = [0];
            reads.read(&mut byte).await.unwrap();
            byte[0]
        },
        token(0),
    );
    assert!(step(&lodger).is_pending());
    assert_eq!(house.asked.watched.borrow().get(&fd), Some(&(true, false)));
    here.write_all(b"x").unwrap();
    house.guest.reported(fd, false);
    assert_eq!(*house.asked.woken.borrow(), [token(0)]);
    assert!(matches!(step(&lodger), Poll::Ready(Ok(b'x'))));
    drop(lodger);
    // Dropped while the host runs, it is taken off before its number is another file's.
    drop(stream);
    assert_eq!(house.asked.watched.borrow().get(&fd), None);
    assert_eq!(here.read(&mut [0]).unwrap(), 0);
}

#[test]
fn cancelling_drops_where_it_waits_and_can_be_caught() {
    let house = House::new();
    let gone = Rc::new(Cell::new(false));
    let noted = Noted(Rc::clone(&gone));
    let lodger = house.guest.lodge(
        async move {
            let _noted = noted;
            pending::<()>().await;
        },
        token(0),
    );
    assert!(step(&lodger).is_pending());
    assert!(lodger.cancel());
    assert!(!gone.get());
    assert!(matches!(step(&lodger), Poll::Ready(Err(Error::Cancelled))));
    assert!(gone.get());

    let lodger = house.guest.lodge(
        async {
            let caught = roundel::catch_cancelled(pending::<()>()).await.is_err();
            roundel::sleep(Duration::from_secs(1)).await;
            caught
        },
        token(1),
    );
    assert!(step(&lodger).is_pending());
    assert!(lodger.cancel());
    assert!(step(&lodger).is_pending());
    house.jump();
    assert!(matches!(step(&lodger), Poll::Ready(Ok(true))));
}

#[test]
fn a_panic_is_a_value() {
    let house = House::new();
    let lodger = house.guest.lodge(async { panic!("out of tea") }, token(0));
    match step::<()>(&lodger) {
        Poll::Ready(Err(Error::Panicked(panic))) => assert_eq!(panic.message(), Some("out of tea")),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn other_threads_ring() {
    let house = House::new();
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&wakers);
    let lodger = house.guest.lodge(
        std::future::poll_fn(move |context| {
            kept.borrow_mut().push(context.waker().clone());
            match kept.borrow().len() {
                1 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        }),
        token(3),
    );
    assert!(step(&lodger).is_pending());
    let waker = wakers.borrow_mut().pop().unwrap();
    wakers.borrow_mut().push(waker.clone());
    thread::spawn(move || waker.wake()).join().unwrap();
    assert!(house.asked.woken.borrow().is_empty());
    assert_eq!(house.rings(), 1);
    house.guest.turn();
    assert_eq!(*house.asked.woken.borrow(), [token(3)]);
    assert!(step(&lodger).is_ready());
    // Nothing of it was a descriptor's.
    assert!(house.asked.watched.borrow().is_empty());
}

#[test]
fn other_threads_ring_once_for_each_turn() {
    let house = House::new();
    let sender = house.guest.enter(roundel::running_loop);
    let said = Arc::new(AtomicU32::new(0));
    for round in 1..=2 {
        for _ in 0..3 {
            let (sender, said) = (sender.clone(), Arc::clone(&said));
            let call = move || {
                said.fetch_add(1, Ordering::SeqCst);
            };
            let sent = thread::spawn(move || sender.call_soon_threadsafe(call));
            sent.join().unwrap().unwrap();
        }
        assert_eq!(house.rings(), 1);
        house.guest.turn();
        assert_eq!(said.load(Ordering::SeqCst), 3 * round);
    }
}

#[test]
fn signals_open_a_descriptor_when_there_is_one_to_listen_to() {
    let house = House::new();
    let lodger = house.guest.lodge(
        async {
            let signal = roundel::signal(SignalKind::SIGUSR2).unwrap();
            signal.recv().await;
        },
        token(0),
    );
    assert!(house.asked.watched.borrow().is_empty());
    assert!(step(&lodger).is_pending());
    let fd = *house.asked.watched.borrow().keys().next().unwrap();
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::USR2).unwrap();
    // The system may run its handler in another thread, and a moment later.
    while house.asked.woken.borrow().is_empty() {
        house.guest.reported(fd, false);
    }
    assert_eq!(*house.asked.woken.borrow(), [token(0)]);
    assert!(step(&lodger).is_ready());
    drop(lodger);
    house.guest.close();
    assert!(house.asked.watched.borrow().is_empty());
}

#[test]
fn closing_drops_what_waits_and_wakers_outlive_it() {
    let house = House::new();
    let gone = Rc::new(Cell::new(false));
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let (noted, kept) = (Noted(Rc::clone(&gone)), Rc::clone(&wakers));
    let lodger = house.guest.lodge(
        async move {
            let _noted = noted;
            std::future::poll_fn(|context| {
                kept.borrow_mut().push(context.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        },
        token(0),
    );
    assert!(step(&lodger).is_pending());
    house.guest.close();
    assert!(gone.get());
    assert!(house.asked.watched.borrow().is_empty());
    assert!(matches!(step(&lodger), Poll::Ready(Err(Error::Cancelled))));
    drop(lodger);
    let asked = Rc::clone(&house.asked);
    drop(house);
    let waker = wakers.take().pop().unwrap();
    thread::spawn(move || {
        waker.wake_by_ref();
        drop(waker);
    })
    .join()
    .unwrap();
    assert!(asked.woken.borrow().is_empty());
}
