//! Readiness over real sockets. The same file tests the portable poller: `--features portable`.
#![cfg(not(loom))]

mod common;

use std::{
    cell::Cell,
    fs::File,
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use common::{look, turn};
use roundel_core::{
    Loop,
    Mode::{Edge, Level},
    OsWorld, Poll, TurnError,
};

fn os_loop() -> Loop<&'static str, OsWorld> {
    Loop::new(OsWorld::new().unwrap(), ())
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn read_all(mut stream: &UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(
        stream.read_to_end(&mut bytes).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    bytes
}

/// Writes until nothing more fits.
fn fill(mut stream: &UnixStream) {
    while stream.write(&[0; 65536]).is_ok() {}
}

#[test]
fn a_level_reader_is_reported_as_long_as_there_is_something_to_read() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    assert_eq!(
        el.add_reader(ours.as_raw_fd(), "read", Level).unwrap(),
        None
    );
    assert!(look(&el).is_empty());
    theirs.write_all(b"x").unwrap();
    assert_eq!(turn(&el), ["read"]);
    assert_eq!(turn(&el), ["read"]);
    assert_eq!(read_all(&ours), b"x");
    assert!(look(&el).is_empty());
}

#[test]
fn an_edge_reader_is_reported_once_for_each_arrival() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    el.add_reader(ours.as_raw_fd(), "read", Edge).unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(turn(&el), ["read"]);
    assert!(look(&el).is_empty());
    theirs.write_all(b"y").unwrap();
    assert_eq!(turn(&el), ["read"]);
    assert_eq!(read_all(&ours), b"xy");
}

#[test]
fn an_edge_writer_is_reported_again_only_when_there_is_room_again() {
    let el = os_loop();
    let (ours, theirs) = pair();
    el.add_writer(ours.as_raw_fd(), "write", Edge).unwrap();
    assert_eq!(turn(&el), ["write"]);
    assert!(look(&el).is_empty());
    fill(&ours);
    assert!(look(&el).is_empty());
    read_all(&theirs);
    assert_eq!(turn(&el), ["write"]);
}

#[test]
fn a_level_writer_is_silent_while_there_is_no_room() {
    let el = os_loop();
    let (ours, theirs) = pair();
    el.add_writer(ours.as_raw_fd(), "write", Level).unwrap();
    assert_eq!(turn(&el), ["write"]);
    assert_eq!(turn(&el), ["write"]);
    fill(&ours);
    assert!(look(&el).is_empty());
    read_all(&theirs);
    assert_eq!(turn(&el), ["write"]);
}

#[test]
fn the_reader_of_a_descriptor_runs_before_its_writer() {
    for mode in [Level, Edge] {
        let el = os_loop();
        let (ours, mut theirs) = pair();
        el.add_writer(ours.as_raw_fd(), "write", mode).unwrap();
        el.add_reader(ours.as_raw_fd(), "read", mode).unwrap();
        assert_eq!(el.sources_len(), 1);
        theirs.write_all(b"x").unwrap();
        assert_eq!(turn(&el), ["read", "write"]);
    }
}

#[test]
fn adding_the_second_side_of_an_edge_source_tells_the_first_again() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    theirs.write_all(b"x").unwrap();
    el.add_reader(ours.as_raw_fd(), "read", Edge).unwrap();
    assert_eq!(turn(&el), ["read"]);
    el.add_writer(ours.as_raw_fd(), "write", Edge).unwrap();
    assert_eq!(turn(&el), ["read", "write"]);
}

#[test]
fn one_level_side_makes_the_source_level() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    theirs.write_all(b"x").unwrap();
    fill(&ours);
    el.add_reader(fd, "read", Level).unwrap();
    el.add_writer(fd, "write", Edge).unwrap();
    assert_eq!(turn(&el), ["read"]);
    assert_eq!(turn(&el), ["read"]);
    assert_eq!(el.remove_reader(fd).unwrap(), Some("read"));
    el.add_reader(fd, "edge", Edge).unwrap();
    assert_eq!(turn(&el), ["edge"]);
    assert!(look(&el).is_empty());
}

#[test]
fn a_hang_up_is_readable_and_writable_for_those_who_asked() {
    let (ours, theirs) = pair();
    let (only_read, other) = pair();
    let el = os_loop();
    el.add_reader(ours.as_raw_fd(), "read", Level).unwrap();
    el.add_writer(ours.as_raw_fd(), "write", Level).unwrap();
    fill(&ours);
    assert!(look(&el).is_empty());
    drop(theirs);
    assert_eq!(turn(&el), ["read", "write"]);
    drop(el);

    let el = os_loop();
    el.add_reader(only_read.as_raw_fd(), "end", Level).unwrap();
    drop(other);
    assert_eq!(turn(&el), ["end"]);
}

#[test]
fn a_callback_is_replaced_and_given_back() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    assert_eq!(el.add_reader(fd, "first", Level).unwrap(), None);
    assert_eq!(el.add_reader(fd, "second", Level).unwrap(), Some("first"));
    assert!(el.reader(fd, |callback| callback == Some(&"second")));
    assert!(el.writer(fd, |callback| callback.is_none()));
    theirs.write_all(b"x").unwrap();
    assert_eq!(turn(&el), ["second"]);
}

#[test]
fn removing_gives_back_what_was_there_once() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    el.add_reader(fd, "read", Level).unwrap();
    el.add_writer(fd, "write", Level).unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(el.remove_writer(fd).unwrap(), Some("write"));
    assert_eq!(el.remove_writer(fd).unwrap(), None);
    assert_eq!(turn(&el), ["read"]);
    assert_eq!(el.remove_reader(fd).unwrap(), Some("read"));
    assert_eq!(el.remove_reader(fd).unwrap(), None);
    assert_eq!(el.sources_len(), 0);
    assert!(look(&el).is_empty());
}

#[test]
fn what_was_reported_in_a_turn_runs_in_it_although_it_is_removed() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    el.add_reader(fd, "read", Level).unwrap();
    theirs.write_all(b"x").unwrap();
    el.call_soon("remove");
    let mut ran = Vec::new();
    el.turn(roundel_core::Poll::wait, |name| {
        el.remove_reader(fd).unwrap();
        ran.push(name);
        Ok::<(), ()>(())
    })
    .unwrap();
    assert_eq!(ran, ["remove", "read"]);
    assert!(look(&el).is_empty());
}

#[test]
fn a_closed_descriptor_can_be_removed() {
    let el = os_loop();
    let (ours, _theirs) = pair();
    let fd = ours.as_raw_fd();
    el.add_reader(fd, "read", Level).unwrap();
    el.add_writer(fd, "write", Level).unwrap();
    drop(ours);
    assert_eq!(el.remove_reader(fd).unwrap(), Some("read"));
    assert_eq!(el.remove_writer(fd).unwrap(), Some("write"));
    assert_eq!(el.sources_len(), 0);
}

/// A second socket under the number of a first one that was closed while it was watched.
fn reused() -> (Loop<&'static str, OsWorld>, UnixStream, UnixStream, RawFd) {
    let el = os_loop();
    loop {
        let (ours, theirs) = pair();
        let fd = ours.as_raw_fd();
        el.add_reader(fd, "old", Level).unwrap();
        drop((ours, theirs));
        // Tests run in parallel threads, and another one may be quicker to take the number.
        let (ours, theirs) = pair();
        if ours.as_raw_fd() == fd {
            return (el, ours, theirs, fd);
        }
        el.forget(fd);
    }
}

#[test]
fn a_descriptor_that_was_closed_and_used_again_is_watched_anew() {
    let (el, _ours, mut theirs, fd) = reused();
    theirs.write_all(b"x").unwrap();
    assert!(look(&el).is_empty());
    assert_eq!(el.add_reader(fd, "new", Level).unwrap(), Some("old"));
    assert_eq!(turn(&el), ["new"]);
}

#[test]
fn the_other_side_of_a_descriptor_used_again_can_be_removed_and_added() {
    let (el, _ours, mut theirs, fd) = reused();
    theirs.write_all(b"x").unwrap();
    assert_eq!(el.add_writer(fd, "write", Level).unwrap(), None);
    assert_eq!(turn(&el), ["old", "write"]);
    assert_eq!(el.remove_reader(fd).unwrap(), Some("old"));
    assert_eq!(turn(&el), ["write"]);
}

#[test]
fn a_forgotten_descriptor_gives_back_its_callbacks_and_is_new_afterwards() {
    let (el, _ours, mut theirs, fd) = reused();
    assert_eq!(el.forget(fd), ["old"]);
    assert!(el.forget(fd).is_empty());
    assert_eq!(el.sources_len(), 0);
    theirs.write_all(b"x").unwrap();
    assert_eq!(el.add_reader(fd, "new", Level).unwrap(), None);
    assert_eq!(turn(&el), ["new"]);
}

#[test]
fn what_cannot_be_watched_is_refused_and_leaves_no_trace() {
    let el = os_loop();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(
        el.add_reader(file.as_raw_fd(), "file", Level)
            .unwrap_err()
            .kind(),
        ErrorKind::PermissionDenied
    );
    for fd in [-1, -7, i32::MAX] {
        let error = el.add_writer(fd, "bad", Level).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(9), "EBADF for {fd}");
        assert_eq!(el.remove_writer(fd).unwrap(), None);
        assert!(el.forget(fd).is_empty());
    }
    assert_eq!(el.sources_len(), 0);
    assert!(el.drain().is_empty());
}

#[test]
fn many_ready_descriptors_are_reported_in_one_turn() {
    let el: Loop<usize, OsWorld> = Loop::new(OsWorld::new().unwrap(), ());
    // Descriptors are short under some limits: duplicates of one socket are sources of their own.
    let (ours, mut theirs) = pair();
    let duplicates: Vec<UnixStream> = (0..300).map(|_| ours.try_clone().unwrap()).collect();
    for (n, duplicate) in duplicates.iter().enumerate() {
        el.add_reader(duplicate.as_raw_fd(), n, Level).unwrap();
    }
    theirs.write_all(b"x").unwrap();
    let mut ran = turn(&el);
    ran.sort_unstable();
    assert_eq!(ran, (0..300).collect::<Vec<_>>());
}

#[test]
fn draining_stops_watching() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    el.add_reader(ours.as_raw_fd(), "read", Level).unwrap();
    el.add_writer(ours.as_raw_fd(), "write", Level).unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(el.drain(), ["read", "write"]);
    assert_eq!(el.sources_len(), 0);
    assert!(look(&el).is_empty());
    assert_eq!(
        el.add_reader(ours.as_raw_fd(), "again", Level).unwrap(),
        None
    );
    assert_eq!(turn(&el), ["again"]);
}

#[test]
fn what_was_left_is_taken_up_and_reported_again() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    el.add_reader(fd, "one", Edge).unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(turn(&el), ["one"]);
    assert_eq!(read_all(&ours), b"x");
    assert_eq!(el.leave_reader(fd).unwrap(), Some("one"));
    assert_eq!(el.leave_reader(fd).unwrap(), None);
    assert_eq!(el.sources_len(), 0);
    el.reader(fd, |callback| assert_eq!(callback, None));

    assert_eq!(el.take_up_reader(fd, "two", Edge).unwrap(), None);
    assert_eq!(el.sources_len(), 1);
    theirs.write_all(b"y").unwrap();
    assert_eq!(turn(&el), ["two"]);
    assert_eq!(el.remove_reader(fd).unwrap(), Some("two"));
}

#[test]
fn a_report_for_what_was_left_ends_the_watching() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    el.add_reader(fd, "one", Level).unwrap();
    el.leave_reader(fd).unwrap();
    theirs.write_all(b"x").unwrap();
    // The first look finds it and stops watching; if it did not, every look would find it.
    assert!(look(&el).is_empty());
    assert!(el.world().deregister(fd).is_err(), "no longer watched");
    // Nothing is left: the world is told anew, and reports what is there.
    assert_eq!(el.take_up_reader(fd, "two", Level).unwrap(), None);
    assert_eq!(turn(&el), ["two"]);
}

#[test]
fn another_file_of_the_number_that_was_left_is_watched_when_it_is_added() {
    let el = os_loop();
    let (ours, _theirs) = pair();
    let mut number = OwnedFd::from(ours);
    let fd = number.as_raw_fd();
    el.add_reader(fd, "one", Edge).unwrap();
    el.leave_reader(fd).unwrap();
    let (again, mut peer) = pair();
    rustix::io::dup2(&again, &mut number).unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(el.add_reader(fd, "two", Edge).unwrap(), None);
    assert_eq!(turn(&el), ["two"]);
}

#[test]
fn what_is_written_to_as_well_is_not_left() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    el.add_reader(fd, "read", Edge).unwrap();
    fill(&ours);
    el.add_writer(fd, "write", Level).unwrap();
    assert!(look(&el).is_empty());
    assert_eq!(el.leave_reader(fd).unwrap(), Some("read"));
    theirs.write_all(b"x").unwrap();
    assert!(look(&el).is_empty());
    assert_eq!(el.remove_writer(fd).unwrap(), Some("write"));
    // Added anew, and not taken up: what is there is reported.
    el.take_up_reader(fd, "again", Edge).unwrap();
    assert_eq!(turn(&el), ["again"]);
}

#[test]
fn what_is_expected_of_the_only_source_is_taken_for_ready_without_a_poll() {
    let el = os_loop();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    let polls = Cell::new(0);
    let counted_turn = || {
        let mut ran = Vec::new();
        let outcome: Result<(), TurnError<()>> = el.turn(
            |world, _, events| {
                polls.set(polls.get() + 1);
                world.wait(Some(Duration::ZERO), events)
            },
            |callback| {
                ran.push(callback);
                Ok(())
            },
        );
        outcome.unwrap();
        ran
    };
    el.add_reader(fd, "read", Level).unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(counted_turn(), ["read"]);
    assert_eq!(polls.get(), 1);

    // Behind what is ready, as what a poll reports.
    el.expect_more(fd);
    el.call_soon("soon");
    assert_eq!(counted_turn(), ["soon", "read"]);
    assert_eq!(polls.get(), 1);
    // For one turn only.
    assert_eq!(counted_turn(), ["read"]);
    assert_eq!(polls.get(), 2);
    // Turns without a look have an end, and the report is one.
    let mut in_a_row = 0;
    while polls.get() == 2 {
        el.expect_more(fd);
        assert_eq!(counted_turn(), ["read"]);
        in_a_row += 1;
    }
    assert_eq!(in_a_row, 64);

    // With anybody else to watch for, a poll it is.
    let (other, _peer) = pair();
    el.add_reader(other.as_raw_fd(), "other", Level).unwrap();
    el.expect_more(fd);
    assert_eq!(counted_turn(), ["read"]);
    assert_eq!(polls.get(), 4);
    el.remove_reader(other.as_raw_fd()).unwrap();
    el.add_signal(1, "signal");
    el.expect_more(fd);
    assert_eq!(counted_turn(), ["read"]);
    assert_eq!(polls.get(), 5);
    el.remove_signal(1);
    // Nor when it is not read any more.
    el.expect_more(fd);
    el.remove_reader(fd).unwrap();
    assert!(counted_turn().is_empty());
    assert_eq!(polls.get(), 6);
}

#[test]
fn what_was_left_can_be_forgotten_and_drained() {
    let el = os_loop();
    let (one, _peer) = pair();
    let (two, _other) = pair();
    for fd in [one.as_raw_fd(), two.as_raw_fd()] {
        el.add_reader(fd, "read", Edge).unwrap();
        el.leave_reader(fd).unwrap();
    }
    assert!(el.forget(one.as_raw_fd()).is_empty());
    assert!(el.drain().is_empty());
    for fd in [one.as_raw_fd(), two.as_raw_fd()] {
        assert!(el.world().deregister(fd).is_err(), "no longer watched");
    }
}
