//! What random runs are made of: the calls that a loop knows, and how they are drawn.

use proptest::{prelude::*, sample::Index};
use roundel_core::Mode::{self, Edge, Level};

/// How many cases are tried, unless `ROUNDEL_FUZZ_EXAMPLES` asks for another number.
const CASES: u32 = 300;

pub fn config() -> ProptestConfig {
    let asked = std::env::var("ROUNDEL_FUZZ_EXAMPLES").ok();
    let cases = asked.map_or(CASES, |asked| asked.parse().expect("it is a number"));
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

#[derive(Clone, Debug)]
pub enum Call {
    Soon,
    At(i64),
    CancelTimer(Index),
    Add(i32, Side, Mode),
    Remove(i32, Side),
    Forget(i32),
    AddSignal(i32),
    RemoveSignal(i32),
    RaiseSignal(i32),
    MakeReady(i32, bool, bool),
    Advance(u64),
    Send,
    SendFromAnotherThread(usize),
    Wake,
    Turn,
    Drain,
    /// The callback fails: only in callbacks.
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Reader = 0,
    Writer = 1,
}

pub fn call() -> impl Strategy<Value = Call> {
    let fd = 3..6_i32;
    let signal = 1..4_i32;
    let side = || prop_oneof![Just(Side::Reader), Just(Side::Writer)];
    let mode = prop_oneof![Just(Level), Just(Edge)];
    prop_oneof![
        4 => Just(Call::Soon),
        4 => (-3..20_i64).prop_map(Call::At),
        2 => any::<Index>().prop_map(Call::CancelTimer),
        4 => (fd.clone(), side(), mode).prop_map(|(fd, side, mode)| Call::Add(fd, side, mode)),
        3 => (fd.clone(), side()).prop_map(|(fd, side)| Call::Remove(fd, side)),
        1 => fd.clone().prop_map(Call::Forget),
        2 => signal.clone().prop_map(Call::AddSignal),
        1 => signal.clone().prop_map(Call::RemoveSignal),
        2 => signal.prop_map(Call::RaiseSignal),
        3 => (fd, any::<bool>(), any::<bool>()).prop_map(|(fd, r, w)| Call::MakeReady(fd, r, w)),
        1 => (0..10_u64).prop_map(Call::Advance),
        2 => Just(Call::Send),
        1 => (1..3_usize).prop_map(Call::SendFromAnotherThread),
        1 => Just(Call::Wake),
        1 => Just(Call::Drain),
        1 => Just(Call::Fail),
        5 => Just(Call::Turn),
    ]
}
