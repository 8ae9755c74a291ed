//! `sock_recv()` and its kin: operations on sockets that the program holds itself.
//!
//! Each is a [`Wait`]: tried first, as asyncio does, and if it would block the task itself is parked at the descriptor,
//! with no future and no handle. What readiness brings is done by the turn that sees it, and the task goes on in the
//! turn after, which is asyncio's order.
//!
//! Owns: the coroutine methods of the loop. Its parts: `operation` (the steps that all have in common), `receive`,
//! `send`, `connect`, `accept` (what they do), `plain` (which sockets they do it to), `watch` (the descriptor),
//! `address` (addresses as Python shows them), `serve` (the listening sockets of servers), `stock` (asyncio's own coroutine, for everything else).
//! Trade: only an exact, non-blocking `socket.socket` outside of debug mode is used past its methods. A subclass, a
//! blocking socket, an unusual argument have what they have on asyncio, by asyncio's own code.

pub mod accept;
pub mod address;
mod connect;
pub mod operation;
pub mod plain;
mod receive;
mod send;
mod serve;
mod stock;
mod watch;

use pyo3::prelude::*;

use crate::event_loop::LoopCore;
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::wait::{Kind, Wait};

pub use watch::Left;

/// Looks up what is used of the `socket` module.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    serve::prepare();
    plain::prepare(py)
}

/// The wait for `sock` and one further argument, or several in a tuple.
fn wait(
    this: This<'_, LoopCore>,
    kind: &'static Kind,
    sock: Option<&Obj>,
    argument: Option<Obj>,
) -> PyResult<Obj> {
    let py = this.py();
    let made = Wait::create(py, kind, sock.cloned(), argument)?;
    if let Some(wait) = This::<Wait>::exact(py, &made) {
        wait.home.set(py, this.object());
    }
    Ok(made)
}

fn of_one(
    this: This<'_, LoopCore>,
    args: Args<'_>,
    signature: &Signature<2>,
    kind: &'static Kind,
) -> PyResult<Obj> {
    let [sock, argument] = args.parse(this.py(), signature)?;
    wait(this, kind, sock, argument.cloned())
}

fn of_two(
    this: This<'_, LoopCore>,
    args: Args<'_>,
    signature: &Signature<3>,
    kind: &'static Kind,
    default: Option<&Obj>,
) -> PyResult<Obj> {
    let py = this.py();
    let [sock, Some(one), two] = args.parse(py, signature)? else {
        return Ok(Obj::none(py));
    };
    let none = Obj::none(py);
    let two = two.or(default).unwrap_or(&none);
    let both = call::tuple(py, [one, two].into_iter())?;
    wait(this, kind, sock, Some(both))
}

const fn one(function: &'static str, argument: &'static str) -> Signature<2> {
    Signature {
        function,
        names: ["sock", argument],
        required: 2,
        positional: 2,
    }
}

const RECV: Signature<2> = one("BaseSelectorEventLoop.sock_recv", "n");
const RECV_INTO: Signature<2> = one("BaseSelectorEventLoop.sock_recv_into", "buf");
const RECVFROM: Signature<2> = one("BaseSelectorEventLoop.sock_recvfrom", "bufsize");
const SENDALL: Signature<2> = one("BaseSelectorEventLoop.sock_sendall", "data");
const CONNECT: Signature<2> = one("BaseSelectorEventLoop.sock_connect", "address");
const RECVFROM_INTO: Signature<3> = Signature {
    function: "BaseSelectorEventLoop.sock_recvfrom_into",
    names: ["sock", "buf", "nbytes"],
    required: 2,
    positional: 3,
};
const SENDTO: Signature<3> = Signature {
    function: "BaseSelectorEventLoop.sock_sendto",
    names: ["sock", "data", "address"],
    required: 3,
    positional: 3,
};
const ACCEPT: Signature<1> = Signature {
    function: "BaseSelectorEventLoop.sock_accept",
    names: ["sock"],
    required: 1,
    positional: 1,
};

/// Adds the methods to the loop.
pub fn methods(builder: Builder<LoopCore>) -> Builder<LoopCore> {
    serve::methods(builder)
        .coroutine(
            "BaseSelectorEventLoop.sock_recv",
            |this, args| of_one(this, args, &RECV, &receive::RECV),
            "Receive what is there from the socket, up to n bytes; b'' at the end of the stream. Waits for it.\n\n\
             Cancelling leaves what has come in the socket.",
        )
        .coroutine(
            "BaseSelectorEventLoop.sock_recv_into",
            |this, args| of_one(this, args, &RECV_INTO, &receive::RECV_INTO),
            "Receive what is there into a writable buffer; how many bytes it was. Waits for it.\n\n\
             Cancelling leaves what has come in the socket.",
        )
        .coroutine(
            "BaseSelectorEventLoop.sock_recvfrom",
            |this, args| of_one(this, args, &RECVFROM, &receive::RECVFROM),
            "Receive one datagram, of up to bufsize bytes: (bytes, address). Waits for it.\n\n\
             Cancelling leaves what has come in the socket.",
        )
        .coroutine(
            "BaseSelectorEventLoop.sock_recvfrom_into",
            |this, args| {
                let all = Obj::int(this.py(), 0);
                of_two(this, args, &RECVFROM_INTO, &receive::RECVFROM_INTO, Some(&all))
            },
            "Receive one datagram into a writable buffer: (how many bytes, address). Waits for it.\n\n\
             nbytes limits how many; 0 is what the buffer holds. Cancelling leaves what has come in the socket.",
        )
        .coroutine(
            "BaseSelectorEventLoop.sock_sendall",
            |this, args| of_one(this, args, &SENDALL, &send::SENDALL),
            "Send all of data, waiting for room as often as it takes.\n\n\
             After an error or a cancellation nobody knows how much was sent.",
        )
        .coroutine(
            "BaseSelectorEventLoop.sock_sendto",
            |this, args| of_two(this, args, &SENDTO, &send::SENDTO, None),
            "Send a datagram to the address; how many bytes it was. Waits for room.\n\n\
             Cancelled while it waits, it has sent nothing.",
        )
        .coroutine(
            "BaseSelectorEventLoop.sock_connect",
            |this, args| of_one(this, args, &CONNECT, &connect::CONNECT),
            "Connect the socket to the address, whose host may be a name, and wait until it is connected.\n\n\
             Cancelled, the system goes on connecting until the socket is closed.",
        )
        .coroutine(
            "BaseSelectorEventLoop.sock_accept",
            |this, args| {
                let [sock] = args.parse(this.py(), &ACCEPT)?;
                wait(this, &accept::ACCEPT, sock, None)
            },
            "Accept a connection: (a non-blocking socket, its peer's address). Waits for one.\n\n\
             Cancelling accepts none.",
        )
}
