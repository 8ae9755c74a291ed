//! The virtual world, the probe's view of a run, and the real world's clock and sockets.
#![cfg(not(loom))]

mod common;

use std::{
    cell::RefCell,
    io::{ErrorKind, IoSlice, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::{UnixDatagram, UnixStream},
    },
    time::Duration,
};

use common::{look, try_turn, turn, turn_until};
use roundel_core::{
    Address, Clock, Instant, Interest, Loop,
    Mode::{Edge, Level},
    Net, OsWorld, Poll, Probe, Readiness, TimerKey, VirtualWorld,
};

const READABLE: Readiness = Readiness {
    readable: true,
    writable: false,
};
const BOTH: Readiness = Readiness {
    readable: true,
    writable: true,
};
const NOTHING: Readiness = Readiness {
    readable: false,
    writable: false,
};

#[test]
fn virtual_time_passes_only_when_nothing_is_ready() {
    let el = Loop::new(VirtualWorld::new(), ());
    el.call_at(Instant::from_secs_f64(3600.0), "an hour later");
    el.call_soon("now");
    assert_eq!(turn(&el), ["now"]);
    assert_eq!(el.now(), Instant::default());
    assert_eq!(turn(&el), ["an hour later"]);
    assert_eq!(el.now(), Instant::from_secs_f64(3600.0));
}

#[test]
fn a_virtual_world_in_which_nothing_can_happen_says_so() {
    let el: Loop<(), _> = Loop::new(VirtualWorld::new(), ());
    assert_eq!(try_turn(&el).unwrap_err().kind(), ErrorKind::Deadlock);
    el.waker().wake();
    assert!(turn(&el).is_empty());
    assert_eq!(try_turn(&el).unwrap_err().kind(), ErrorKind::Deadlock);
}

#[test]
fn virtual_readiness_is_what_the_test_says() {
    let el = Loop::new(VirtualWorld::new(), ());
    el.add_writer(8, "write 8", Edge).unwrap();
    el.add_reader(8, "read 8", Edge).unwrap();
    el.add_reader(7, "read 7", Level).unwrap();
    el.call_at(Instant::from_nanos(9), "timer");
    el.world().make_ready(8, BOTH);
    el.world().make_ready(7, BOTH);
    assert_eq!(turn(&el), ["read 7", "read 8", "write 8"]);
    assert_eq!(turn(&el), ["read 7"]);
    el.world().make_ready(8, READABLE);
    el.world().make_ready(7, NOTHING);
    assert_eq!(turn(&el), ["read 8"]);
    assert_eq!(turn(&el), ["timer"]);
    el.world().make_ready(7, BOTH);
    assert_eq!(el.forget(7), ["read 7"]);
    assert!(look(&el).is_empty());
}

#[test]
fn a_virtual_world_has_no_network() {
    let world = VirtualWorld::new();
    let kind = ErrorKind::Unsupported;
    assert_eq!(world.recv(3, &mut [0]).unwrap_err().kind(), kind);
    assert_eq!(world.send(3, &[0]).unwrap_err().kind(), kind);
    assert_eq!(world.send_vectored(3, &[]).unwrap_err().kind(), kind);
    assert_eq!(world.recv_from(3, &mut [0]).unwrap_err().kind(), kind);
    let to = Address::Unnamed;
    assert_eq!(world.send_to(3, &[0], &to).unwrap_err().kind(), kind);
    assert_eq!(world.accept(3).unwrap_err().kind(), kind);
    assert_eq!(world.shutdown_write(3).unwrap_err().kind(), kind);
    world.register(3, Interest::default(), Level).unwrap();
    world.deregister(3).unwrap();
    assert_eq!(world.deregister(3).unwrap_err().kind(), ErrorKind::NotFound);
}

#[derive(Default)]
struct Diary(RefCell<Vec<String>>);

impl Diary {
    fn note(&self, entry: impl Into<String>) {
        self.0.borrow_mut().push(entry.into());
    }
}

impl Probe for Diary {
    fn timer_set(&self, timer: TimerKey, when: Instant) {
        self.note(format!("timer {} for {}", timer.index, when.as_nanos()));
    }
    fn timer_fired(&self, timer: TimerKey) {
        self.note(format!("timer {} fired", timer.index));
    }
    fn source_ready(&self, fd: RawFd, readiness: Readiness) {
        self.note(format!(
            "source {fd} {} {}",
            readiness.readable, readiness.writable
        ));
    }
    fn callback_begin(&self) {
        self.note("(");
    }
    fn callback_end(&self) {
        self.note(")");
    }
    fn poll_begin(&self, timeout: Option<Duration>) {
        self.note(format!("poll {timeout:?}"));
    }
    fn poll_end(&self, events: usize) {
        self.note(format!("polled {events}"));
    }
}

#[test]
fn a_probe_sees_what_the_loop_does_in_order() {
    let el = Loop::new(VirtualWorld::new(), Diary::default());
    let diary = |el: &Loop<_, _, Diary>| el.probe().0.take();
    el.call_at(Instant::from_nanos(7), "timer");
    el.add_reader(3, "read", Edge).unwrap();
    el.world().make_ready(3, READABLE);
    turn(&el);
    assert_eq!(
        diary(&el),
        [
            "timer 0 for 7",
            "poll Some(7ns)",
            "polled 1",
            "source 3 true false",
            "(",
            ")"
        ]
    );
    turn(&el);
    assert_eq!(
        diary(&el),
        ["poll Some(7ns)", "polled 0", "timer 0 fired", "(", ")"]
    );
    el.call_soon("fails");
    assert!(el.turn(Poll::wait, |_| Err(())).is_err());
    assert_eq!(diary(&el), ["poll Some(0ns)", "polled 0", "(", ")"]);
    el.remove_reader(3).unwrap();
    el.call_soon("with nothing to watch, there is no poll");
    turn(&el);
    assert_eq!(diary(&el), ["(", ")"]);
}

#[test]
fn the_real_clock_is_the_systems_monotonic_one() {
    let nanos = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
    };
    let world = OsWorld::new().unwrap();
    let before = nanos();
    let now = world.now().as_nanos();
    assert!((before..=nanos()).contains(&now));
}

#[test]
fn a_real_timer_is_never_early() {
    let el = Loop::new(OsWorld::new().unwrap(), ());
    for micros in [1, 50, 999, 1_000, 1_001, 2_500] {
        let when = el.now().saturating_add(Duration::from_micros(micros));
        el.call_at(when, "timer");
        // It would do with one turn, but waiting may end early for no reason.
        assert_eq!(turn_until(&el, |ran| !ran.is_empty()), ["timer"]);
        assert!(el.now() >= when);
    }
}

#[test]
fn streams_are_sent_received_and_ended() {
    let world = OsWorld::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let fd = ours.as_raw_fd();
    let mut buffer = [0; 16];

    assert_eq!(
        world.recv(fd, &mut buffer).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    theirs.write_all(b"hello").unwrap();
    assert_eq!(world.recv(fd, &mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");

    assert_eq!(world.send(fd, b"one").unwrap(), 3);
    let pieces = [
        IoSlice::new(b"two"),
        IoSlice::new(b""),
        IoSlice::new(b"three"),
    ];
    assert_eq!(world.send_vectored(fd, &pieces).unwrap(), 8);
    world.shutdown_write(fd).unwrap();
    let mut received = String::new();
    theirs.read_to_string(&mut received).unwrap();
    assert_eq!(received, "onetwothree");

    drop(theirs);
    assert_eq!(world.recv(fd, &mut buffer).unwrap(), 0);
}

#[test]
fn many_small_pieces_are_sent_in_part() {
    let world = OsWorld::new().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let pieces = [IoSlice::new(b"x"); 3000];
    let sent = world.send_vectored(ours.as_raw_fd(), &pieces).unwrap();
    assert!((1..=3000).contains(&sent), "{sent}");
}

/// Rust programs ignore SIGPIPE, so what is tested is that it is an error; the flag is for programs
/// that do not.
#[test]
fn sending_to_a_peer_that_has_gone_is_an_error() {
    let world = OsWorld::new().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let fd = ours.as_raw_fd();
    assert_eq!(
        world.send(fd, b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    let pieces = [IoSlice::new(b"x")];
    assert_eq!(
        world.send_vectored(fd, &pieces).unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    for error in [world.recv(-1, &mut [0]), world.send(-1, b"x")] {
        assert_eq!(error.unwrap_err().raw_os_error(), Some(9));
    }
}

#[test]
fn an_accepted_socket_does_not_block_and_is_closed_on_exec() {
    let el = Loop::new(OsWorld::new().unwrap(), ());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let fd = listener.as_raw_fd();
    assert_eq!(
        el.world().accept(fd).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    el.add_reader(fd, "accept", Level).unwrap();

    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(turn(&el), ["accept"]);
    let (socket, from) = el.world().accept(fd).unwrap();
    let std::net::SocketAddr::V4(local) = client.local_addr().unwrap() else {
        panic!("not IPv4")
    };
    assert_eq!(from, Address::V4(local));
    let flags = rustix::io::fcntl_getfd(&socket).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));

    let error = el
        .world()
        .recv(socket.as_raw_fd(), &mut [0; 8])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    el.add_reader(socket.as_raw_fd(), "read", Level).unwrap();
    client.write_all(b"x").unwrap();
    assert_eq!(turn(&el), ["read"]);
    assert_eq!(el.world().recv(socket.as_raw_fd(), &mut [0; 8]).unwrap(), 1);
}

#[test]
fn a_datagram_comes_with_its_address_and_goes_to_one() {
    let world = OsWorld::new().unwrap();
    for (bound, loopback) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let (Ok(one), Ok(two)) = (UdpSocket::bind(bound), UdpSocket::bind(bound)) else {
            continue; // no IPv6 here
        };
        let address = |socket: &UdpSocket| match socket.local_addr().unwrap() {
            std::net::SocketAddr::V4(address) => Address::V4(address),
            std::net::SocketAddr::V6(address) => Address::V6(address),
        };
        let sent = world
            .send_to(one.as_raw_fd(), b"there", &address(&two))
            .unwrap();
        assert_eq!(sent, 5, "{loopback}");
        let mut room = [0; 3];
        let (received, from) = world.recv_from(two.as_raw_fd(), &mut room).unwrap();
        assert_eq!((received, &room), (3, b"the"));
        assert_eq!(from, address(&one));
    }
    let to = Address::Other;
    let error = world.send_to(3, b"", &to).unwrap_err();
    assert!(error.raw_os_error().is_some());
}

#[test]
fn a_unix_datagram_comes_with_the_name_of_its_sender() {
    let world = OsWorld::new().unwrap();
    let folder = std::env::temp_dir().join(format!("roundel-unix-{}", std::process::id()));
    // Of a process before that had this number.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let (named, nameless) = (folder.join("named"), UnixDatagram::unbound().unwrap());
    let heard = UnixDatagram::bind(folder.join("heard")).unwrap();
    let speaker = UnixDatagram::bind(&named).unwrap();
    let to = Address::Unix(folder.join("heard").into_os_string().into_encoded_bytes());
    world.send_to(speaker.as_raw_fd(), b"x", &to).unwrap();
    world.send_to(nameless.as_raw_fd(), b"y", &to).unwrap();
    let next = || world.recv_from(heard.as_raw_fd(), &mut [0; 8]).unwrap().1;
    assert_eq!(
        next(),
        Address::Unix(named.into_os_string().into_encoded_bytes())
    );
    assert_eq!(next(), Address::Unnamed);
    std::fs::remove_dir_all(folder).unwrap();
}

/// How often this thread has gone to sleep.
#[cfg(all(target_os = "linux", not(feature = "portable")))]
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
#[cfg(all(target_os = "linux", not(feature = "portable")))]
fn a_world_that_polls_busily_does_not_sleep() {
    let el = Loop::new(OsWorld::new().unwrap(), ());
    let passes = |name| {
        let before = sleeps();
        el.call_at(Instant::from_nanos(el.now().as_nanos() + 5_000_000), name);
        assert_eq!(turn_until(&el, |ran| !ran.is_empty()), [name]);
        sleeps() - before
    };
    // Other programs may keep this one from running until the timer is due, and it then need not sleep; and the kernel
    // may put it to sleep for a page of memory. What the world does, it does one time of many.
    let once = |name, does: fn(u64) -> bool| (0..100).any(|_| does(passes(name)));
    assert!(once("asleep", |sleeps| sleeps > 0));
    el.world().set_busy_poll(Duration::from_secs(3600));
    assert_eq!(el.world().busy_poll(), Duration::from_secs(3600));
    assert!(once("busy", |sleeps| sleeps == 0));
    // The time is over before the timer is due.
    el.world().set_busy_poll(Duration::from_millis(1));
    assert!(once("busy, then asleep", |sleeps| sleeps > 0));
}

#[test]
fn a_world_that_polls_busily_hears_the_bell_and_sources() {
    let el = Loop::new(OsWorld::new().unwrap(), ());
    el.world().set_busy_poll(Duration::from_secs(3600));
    let sender = el.sender();
    let thread = std::thread::spawn(move || sender.send("sent").unwrap());
    assert_eq!(turn_until(&el, |ran| !ran.is_empty()), ["sent"]);
    thread.join().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    el.add_reader(ours.as_raw_fd(), "readable", Level).unwrap();
    let thread = std::thread::spawn(move || theirs.write_all(b"x").unwrap());
    assert_eq!(turn_until(&el, |ran| !ran.is_empty()), ["readable"]);
    thread.join().unwrap();
}
