//! A listening socket of a server: accepting all that wait, and making their transports a turn later.
//!
//! asyncio makes a task for each connection, whose first step asks for the protocol and makes the transport, and which
//! then waits for a future until `connection_made` has run, with nothing left to do. Here a handle takes the place of
//! the task: the protocol is asked for in the same turn and in the same context, and `connection_made` is called when it
//! was.
//!
//! Leaves out: TLS, debug mode, tasks of a factory's, what cannot be accepted. There asyncio's own method goes on from
//! where this one is, since it begins by accepting.

use std::os::fd::RawFd;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roundel_core::Net as _;

use super::plain::{self, Sort};
use super::{address, watch};
use crate::event_loop::{Callback, LoopCore, call_exception_handler};
use crate::ffi::args::Signature;
use crate::ffi::bound::Function;
use crate::ffi::gil::Global;
use crate::ffi::handled::while_handling;
use crate::ffi::{Args, Builder, Native as _, Obj, This, call, context};
use crate::handle::Handle;
use crate::task::ends_the_run;
use crate::transport::SocketTransport;

/// The second half of accepting.
static SERVE: Global<Function<LoopCore>> = Global::new();

/// Makes what all servers share.
pub fn prepare() {
    SERVE.set(Function::new(
        c"_accept_connection2",
        |this, args| serve(this, args).map(|()| Obj::none(this.py())),
        c"Make protocol and transport of a connection that was accepted.",
    ));
}

/// `_accept_connection(protocol_factory, sock, sslcontext, server, backlog, …)`: what runs when the socket is readable.
fn accept_all(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let (Some(factory), Some(sock)) = (args.get(0), args.get(1)) else {
        return Err(PyTypeError::new_err(
            "a protocol factory and a socket are required",
        ));
    };
    let none = Obj::none(py);
    let server = args.get(3).unwrap_or(&none);
    let listening = if is_plain(this, args)? {
        plain::descriptor(py, sock)?
    } else {
        None
    };
    if let Some(fd) = listening {
        let sort = plain::sort(py, sock)?;
        if address::is_shown(sort.family) {
            let limit = args.get(4).and_then(call::small_int).unwrap_or(100);
            // From 3.15 on a server has the context that it was made in, and each connection a copy of it.
            let context = args.get(7).filter(|context| !context.is_none());
            if accept_up_to(
                this,
                fd,
                &sort,
                limit,
                factory,
                [server, context.unwrap_or(&none)],
            )? {
                return Ok(none);
            }
        }
    }
    let stock = plain::module().stock_loop.bind(py);
    let function: Obj = stock.getattr(intern!(py, "_accept_connection"))?.into();
    let own = this.object();
    let all: Vec<&Obj> = std::iter::once(&own).chain(args.rest(0)).collect();
    call::call_tuple(py, &function, &call::tuple(py, all.into_iter())?)
}

/// Whether nobody has a say in it but the protocol factory.
fn is_plain(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<bool> {
    let is_given = |index: usize| match args.get(index) {
        Some(object) => object.bind(this.py()).is_truthy(),
        None => Ok(false),
    };
    Ok(!this.debug.get()
        && this.makes_our_tasks()
        && !this.own_transports.get()
        && !this.overridden.get()
        && !args.has_names()
        && !is_given(2)?)
}

/// False if something is in the way, which asyncio's method will find too.
fn accept_up_to(
    this: This<'_, LoopCore>,
    fd: RawFd,
    sort: &Sort,
    limit: i64,
    factory: &Obj,
    [server, context]: [&Obj; 2],
) -> PyResult<bool> {
    let py = this.py();
    // From 3.14 on asyncio takes one more, and goes on behind a connection that was broken off.
    let limit = if cfg!(Py_3_14) { limit + 1 } else { limit };
    for _ in 0..limit {
        let accepted = this.with_kernel(|kernel| kernel.world().accept(fd))?;
        match accepted {
            Ok((descriptor, from)) => {
                let transport = SocketTransport::of_accepted(this, descriptor, *sort, from)?;
                let serve = SERVE.get().bind(py, &this.object())?;
                let own = match context.is_none() {
                    true => None,
                    false => Some(context::copy(py, context)?),
                };
                let given = [factory, &transport, server, own.as_ref().unwrap_or(context)];
                let handle = Handle::create(this, &serve, given.into_iter(), own.as_ref())?;
                this.kernel()?.call_soon(Callback::Handle(handle));
            }
            Err(error) => match error.kind() {
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted => break,
                std::io::ErrorKind::ConnectionAborted if cfg!(Py_3_14) => {}
                std::io::ErrorKind::ConnectionAborted => break,
                _ => return Ok(false),
            },
        }
    }
    Ok(true)
}

/// What the first step of asyncio's task does. What goes wrong is nobody's business but debug mode's, and ends the
/// connection.
fn serve(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [Some(factory), Some(transport), Some(server), Some(context)] =
        [0, 1, 2, 3].map(|index| args.get(index))
    else {
        return Ok(());
    };
    let Some(transport) = This::<SocketTransport>::exact(py, transport) else {
        return Ok(());
    };
    let mut protocol = None;
    let made = call::call(py, factory, []).and_then(|made| {
        let protocol = protocol.insert(made);
        watch::refuse_transport(this, transport.descriptor())?;
        SocketTransport::serve(transport, this, protocol, [server, context])
    });
    match made {
        Ok(()) => Ok(()),
        Err(error) if ends_the_run(py, &error) => Err(error),
        Err(error) if this.debug.get() => {
            let context = PyDict::new(py);
            context.set_item(
                "message",
                "Error on transport creation for incoming connection",
            )?;
            let exception = call::exception(py, error);
            context.set_item("exception", exception.bind(py))?;
            if let Some(protocol) = protocol {
                context.set_item("protocol", protocol.bind(py))?;
            }
            while_handling(py, &exception, || call_exception_handler(this, &context))
        }
        Err(_) => Ok(()),
    }
}

const TRANSPORT: Signature<6> = Signature {
    function: "_make_socket_transport",
    names: ["sock", "protocol", "waiter", "extra", "server", "context"],
    required: 2,
    positional: 3,
};

fn make_transport(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [Some(sock), Some(protocol), waiter, extra, server, context] =
        args.parse(py, &TRANSPORT)?
    else {
        return Ok(Obj::none(py));
    };
    let own = this.object();
    call::call_method(py, &own, intern!(py, "_ensure_fd_no_transport"), [sock])?;
    let none = Obj::none(py);
    let class = SocketTransport::class().object(py);
    call::call(
        py,
        &class,
        [
            &own,
            sock,
            protocol,
            waiter.unwrap_or(&none),
            extra.unwrap_or(&none),
            server.unwrap_or(&none),
            context.unwrap_or(&none),
        ],
    )
}

/// Adds the methods to the loop.
pub fn methods(builder: Builder<LoopCore>) -> Builder<LoopCore> {
    builder
        .method(
            c"_accept_connection",
            accept_all,
            c"_accept_connection($self, protocol_factory, sock, sslcontext=None, server=None, backlog=100, /, *args)\n--\n\n\
              A listening socket is readable: accept all that wait.",
        )
        .method(
            c"_make_socket_transport",
            make_transport,
            c"_make_socket_transport($self, sock, protocol, waiter=None, *, extra=None, server=None, context=None)\n--\n\n\
              The transport of a connected stream socket.",
        )
}
