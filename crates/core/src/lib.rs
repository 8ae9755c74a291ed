//! roundel-core: an event loop, and nothing but the loop. No futures, no Python.
//!
//! A [`Loop`] is owned by one thread. It knows *when* something may run; *what* runs is the type
//! parameter `C`, a value that the loop stores, moves and hands back, and never looks into. A
//! Python front puts handles and tasks there, a Rust front puts wakers, a test puts numbers.
//!
//! # Words
//!
//! - **turn**: one pass of the loop: poll, take in what has arrived, run what is ready.
//!   [`Loop::turn`].
//! - **callback**: what a turn runs: a value of type `C`.
//! - **ready**: the FIFO of callbacks that run in this turn; what they schedule runs in the next.
//! - **timer**: a callback that becomes ready at an [`Instant`]; equal instants keep the order of
//!   their making.
//! - **source**: a file descriptor that the loop watches, with a callback for each direction.
//!   [`Mode`].
//! - **inbox**: where other threads put callbacks. [`Sender`]; [`Waker`] is its bell.
//! - **world**: all that is outside the loop: time, readiness, the network, the order of the ready.
//!   [`World`].
//! - **probe**: an observer of the loop; `()` is one, and costs nothing. [`Probe`].
//!
//! # Map
//!
//! | module | owns |
//! |---|---|
//! | `event_loop` | [`Loop`]: its parts, and the short methods that reach them |
//! | `turn` | the pass itself, on one screen |
//! | `policy` | whether a turn polls, and how long it may sleep |
//! | `ready`, `timer`, `source`, `signal` | one structure each, none knowing the others |
//! | `inbox`, `waker` | what other threads may touch |
//! | `world`, `events` | the seam to everything that is not deterministic |
//! | `os` | the real world: epoll, or a portable poller |
//! | `virtual_world` | a world whose clock jumps, for tests and simulation |
//! | `probe` | the hooks |
//! | `instant`, `error` | small words |
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use roundel_core::{Clock, Loop, Poll, VirtualWorld};
//!
//! let el: Loop<&str, _> = Loop::new(VirtualWorld::new(), ());
//! el.call_at(el.now().saturating_add(Duration::from_secs(60)), "later");
//! el.call_soon("soon");
//!
//! let mut ran = Vec::new();
//! while el.ready_len() + el.timers_len() > 0 {
//!     el.turn(
//!         |world, timeout, events| world.wait(timeout, events),
//!         |callback| {
//!             ran.push((el.now().as_secs_f64(), callback));
//!             Ok::<(), ()>(())
//!         },
//!     )
//!     .unwrap();
//! }
//! assert_eq!(ran, [(0.0, "soon"), (60.0, "later")]);
//! ```
#![warn(missing_docs)]
#![deny(unsafe_code)]

mod address;
mod error;
mod event_loop;
mod events;
mod inbox;
mod instant;
#[cfg(all(unix, not(loom)))]
mod os;
mod policy;
mod probe;
mod ready;
mod signal;
mod source;
mod sync;
mod timer;
mod turn;
mod virtual_world;
mod waker;
mod world;

// The loop and its time.
pub use error::TurnError;
pub use event_loop::Loop;
pub use instant::Instant;
pub use timer::TimerKey;

// What other threads hold.
pub use inbox::Sender;
pub use waker::Waker;

// Sources.
pub use events::{Events, Interest, Mode, Readiness};

// The worlds.
pub use address::Address;
#[cfg(all(unix, not(loom)))]
pub use os::{OsFiles, OsWorld};
pub use virtual_world::VirtualWorld;
pub use world::{Clock, FileKind, Net, Order, Pipes, Poll, World};

// Observers.
pub use probe::{ObjectId, Probe, TaskId, Wait, WaitKind};
