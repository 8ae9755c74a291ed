//! What the loop's hot paths cost, in nanoseconds each: `cargo bench -p roundel-core`.
//!
//! A plain program, because the numbers are for reading: the best of several rounds, on the real
//! world. Nothing passes or fails here.
#![allow(clippy::print_stdout)]

#[cfg(loom)]
fn main() {}

#[cfg(not(loom))]
fn main() {
    bench::all();
}

#[cfg(not(loom))]
mod bench {
    use std::{hint::black_box, time};

    use roundel_core::{Loop, Mode, OsWorld, Poll};

    /// As much as a front's callback: a tag and a pointer.
    type Callback = (usize, usize);
    type OsLoop = Loop<Callback, OsWorld>;

    fn new_loop() -> OsLoop {
        Loop::new(OsWorld::new().expect("the system has descriptors left"), ())
    }

    fn turn(el: &OsLoop, mut run: impl FnMut(Callback)) {
        let outcome = el.turn(Poll::wait, |callback| {
            run(callback);
            Ok::<(), ()>(())
        });
        assert!(outcome.is_ok());
    }

    fn best(name: &str, operations: u32, mut round: impl FnMut()) {
        // Under `cargo test` once is enough, to see that it runs.
        let rounds = if std::env::args().any(|argument| argument == "--bench") {
            15
        } else {
            1
        };
        let fastest = (0..rounds)
            .map(|_| {
                let start = time::Instant::now();
                round();
                start.elapsed()
            })
            .min()
            .unwrap_or_default();
        let nanos = fastest.as_secs_f64() * 1e9 / f64::from(operations);
        println!("{name:<44} {nanos:>9.1} ns");
    }

    pub(crate) fn all() {
        let el = new_loop();
        best("call_soon and run, 1000 in a turn", 1_000_000, || {
            for _ in 0..1000 {
                (0..1000).for_each(|n| el.call_soon((n, n)));
                turn(&el, |callback| {
                    black_box(callback);
                });
            }
        });
        best("call_soon and run, 1 in a turn", 100_000, || {
            el.call_soon((1, 1));
            for _ in 0..100_000 {
                turn(&el, |callback| el.call_soon(callback));
            }
            el.drain();
        });

        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&ours);
        assert!(el.add_reader(fd, (0, 0), Mode::Level).is_ok());
        best("the same, with a source to look at", 100_000, || {
            el.call_soon((1, 1));
            for _ in 0..100_000 {
                turn(&el, |callback| el.call_soon(callback));
            }
            assert!(el.remove_reader(fd).is_ok());
            el.drain();
            assert!(el.add_reader(fd, (0, 0), Mode::Level).is_ok());
        });
        el.drain();

        best("set and cancel a timer", 100_000, || {
            let when = el.now().saturating_add(time::Duration::from_secs(60));
            for n in 0..100_000 {
                let timer = el.call_at(when, (n, n));
                black_box(el.cancel_timer(timer));
            }
        });
        best("the same, 50,000 pending", 100_000, || {
            let when = el.now().saturating_add(time::Duration::from_secs(60));
            for n in 0..50_000 {
                el.call_at(when, (n, n));
            }
            for n in 0..100_000 {
                let timer = el.call_at(when, (n, n));
                black_box(el.cancel_timer(timer));
            }
            el.drain();
        });
        best("set and fire a timer, 50,000 at a time", 50_000, || {
            let now = el.now().as_nanos();
            for n in 0..50_000_usize {
                // Scattered over the last 50 ms, as if by a hash.
                let back = u64::try_from(n)
                    .unwrap_or(0)
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    % 50_000_000;
                el.call_at(roundel_core::Instant::from_nanos(now - back), (n, n));
            }
            turn(&el, |callback| {
                black_box(callback);
            });
        });
        best("send from the loop's own thread and run", 100_000, || {
            let sender = el.sender();
            for _ in 0..100 {
                (0..1000).for_each(|n| assert!(sender.send((n, n)).is_ok()));
                turn(&el, |callback| {
                    black_box(callback);
                });
            }
        });
    }
}
