//! Where Rust meets the interpreter: every `unsafe` block of this crate is in this folder.
//!
//! Owns: owned references ([`Obj`], [`Slot`]), native classes laid out behind a foreign base ([`class`]), the border
//! that turns results and panics into Python's error indicator ([`border`]), fast calls ([`call`]), contexts and
//! coroutines. Leaves out: what any class means; that is in `future`, `task`, `handle`, `event_loop`, `transport`.
//! Trade: hot calls speak the C API directly; pyo3 is used for errors, modules and everything that is seldom run.
//!
//! One rule carries most SAFETY notes: **all code here runs attached to the interpreter** (it holds the GIL). A
//! free-threaded interpreter is refused when the module is imported.

pub mod args;
pub mod border;
pub mod bound;
pub mod bound_coroutine;
pub mod buffer;
pub mod builder;
pub mod bytearray;
pub mod call;
pub mod class;
pub mod collector;
pub mod context;
pub mod coroutine;
pub mod filling;
mod freeing;
pub mod function;
pub mod gil;
pub mod guest;
pub mod handled;
pub mod method;
pub mod modules;
pub mod obj;
pub mod place;
pub mod records;
pub mod registry;
pub mod repr;
pub mod search;
pub mod stop;
pub mod weak;
pub mod window;
pub mod word;

pub use args::Args;
pub use builder::{Base, Builder, given};
pub use class::{Class, Native, This, Visitor};
pub use filling::Filling;
pub use function::CoroutineFunction;
pub use obj::{Marked, Obj, Slot};
pub use weak::{HasTarget, Target, Weak};
pub use word::{Growing, Held, Numbered, Tagged};
