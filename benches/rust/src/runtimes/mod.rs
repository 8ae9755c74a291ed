//! Owns: the rows in each runtime's own words, and its echo server. Leaves out: what a row is.
//!
//! A runtime without a word for something is given the best that there is for it: which crate that
//! comes from is said where it is used.

pub mod bare;
pub mod compio;
pub mod glommio;
pub mod monoio;
pub mod roundel;
pub mod smol;
pub mod tokio;

/// What an echo server reads at a time.
const ROOM: usize = 64 * 1024;
