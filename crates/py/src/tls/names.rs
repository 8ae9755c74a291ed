//! What is used of the interpreter's `ssl` module and of `asyncio.sslproto`, looked up once.

use pyo3::prelude::*;

use crate::ffi::gil::Global;
use crate::ffi::method::{Getter, Method};
use crate::ffi::{Obj, call, window};

/// The looked-up objects.
pub struct Ssl {
    pub sslproto: Obj,
    pub want_read: Obj,
    pub syscall: Obj,
    pub ssl_error: Obj,
    pub certificate_error: Obj,
    pub memory_bio: Obj,
    ssl_object: Obj,
    read: Obj,
    write: Obj,
    /// asyncio's class, which `isinstance` finds.
    pub protocol: Obj,
    /// asyncio's class, which `isinstance` finds.
    pub transport: Obj,
    pub bio_write: Method,
    pub bio_read: Method,
    pub bio_pending: Getter,
    /// Of `read`: as much as fits, into the window.
    pub read_args: Obj,
    pub sendfile_fallback: Obj,
    /// Whether the transport below is aborted by `_force_close(None)` and not by `abort()`: in newer releases of each
    /// version.
    pub aborts_by_force: bool,
    /// Whether the transport closes with the one below it: late 3.13 and newer.
    pub closes_with_transport: bool,
    /// Whether the time for closing goes on until the connection is lost: 3.15 and newer.
    pub times_until_lost: bool,
}

static SSL: Global<Ssl> = Global::new();

/// The looked-up objects.
pub fn get() -> &'static Ssl {
    SSL.get()
}

/// Looks everything up.
pub fn load(py: Python<'_>) -> PyResult<()> {
    window::prepare(py)?;
    let ssl = py.import("ssl")?;
    let sslproto = py.import("asyncio.sslproto")?;
    let protocol = sslproto.getattr("SSLProtocol")?;
    let ssl_object = ssl.getattr("SSLObject")?;
    let memory_bio = ssl.getattr("MemoryBIO")?;
    // All three came in the middle of a minor version, or may be carried back to one.
    let completes = protocol.getattr("_on_shutdown_complete")?;
    let completes = completes.getattr("__code__")?.getattr("co_names")?;
    SSL.set(Ssl {
        want_read: ssl.getattr("SSLWantReadError")?.into(),
        syscall: ssl.getattr("SSLSyscallError")?.into(),
        ssl_error: ssl.getattr("SSLError")?.into(),
        certificate_error: ssl.getattr("CertificateError")?.into(),
        bio_write: Method::find(py, &memory_bio, "write")?,
        bio_read: Method::find(py, &memory_bio, "read")?,
        bio_pending: Getter::find(py, &memory_bio, "pending")?,
        read_args: call::tuple(py, [&Obj::int(py, 1 << 30), window::object()].into_iter())?,
        memory_bio: memory_bio.into(),
        read: ssl_object.getattr("read")?.into(),
        write: ssl_object.getattr("write")?.into(),
        ssl_object: ssl_object.into(),
        transport: sslproto.getattr("_SSLProtocolTransport")?.into(),
        sendfile_fallback: py
            .import("asyncio.constants")?
            .getattr("_SendfileMode")?
            .getattr("FALLBACK")?
            .into(),
        aborts_by_force: protocol
            .getattr("_abort")?
            .getattr("__code__")?
            .getattr("co_argcount")?
            .extract::<usize>()?
            > 1,
        closes_with_transport: protocol.hasattr("_is_transport_closing")?,
        times_until_lost: completes.contains("call_later")?,
        protocol: protocol.into(),
        sslproto: sslproto.into_any().into(),
    });
    Ok(())
}

/// The methods of what an `ssl.SSLObject` drives, a class that the `ssl` module does not name.
pub struct Socket {
    pub read: Method,
    pub write: Method,
    class: Obj,
}

static SOCKET: Global<Socket> = Global::new();

/// The methods, once [`socket_of`] has found an object.
pub fn socket() -> &'static Socket {
    SOCKET.get()
}

/// What an `ssl.SSLObject` drives, if its own methods add nothing to it: not those of a class that a program derived,
/// nor others put in their place.
pub fn socket_of(py: Python<'_>, object: &Obj) -> PyResult<Option<Obj>> {
    let ssl = get();
    let object = object.bind(py);
    if !object.is_instance(ssl.ssl_object.bind(py))? {
        return Ok(None);
    }
    let (class, own) = (object.get_type(), object.getattr("__dict__")?);
    for (name, stock) in [("read", &ssl.read), ("write", &ssl.write)] {
        if !class.getattr(name)?.is(stock.bind(py)) || own.contains(name)? {
            return Ok(None);
        }
    }
    let socket = object.getattr("_sslobj")?;
    let class = socket.get_type().into_any();
    let known = match SOCKET.get_if_set() {
        Some(known) => known,
        None if socket.get_type().fully_qualified_name()? != "_ssl._SSLSocket" => return Ok(None),
        None => {
            SOCKET.set(Socket {
                read: Method::find(py, &class, "read")?,
                write: Method::find(py, &class, "write")?,
                class: class.clone().into(),
            });
            SOCKET.get()
        }
    };
    Ok(known.class.bind(py).is(&class).then(|| socket.into()))
}
