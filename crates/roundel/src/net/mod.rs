//! Owns: sockets: TCP, UDP, Unix; and asyncio's streams over them. Leaves out: TLS and HTTP, which
//! crates bring that work over the traits of `futures::io`, or, by the feature `compat`, of tokio.
//!
//! Parts: `source`, a descriptor on its loop; `pipe`, one end of a pipe; `addresses`, names and
//! numbers; `stream`, what TCP and Unix connections have in common; `tcp`, `unix`, `udp`; `streams`,
//! asyncio's reader, writer and server.

mod addresses;
pub(crate) mod pipe;
pub(crate) mod source;
mod stream;
mod streams;
mod tcp;
mod udp;
mod unix;

pub use addresses::ToAddresses;
pub use streams::{
    IncompleteRead, LimitOverrun, ReadError, Server, StreamReader, StreamWriter, open_connection,
    open_unix_connection, start_server, start_unix_server,
};
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixListener, UnixStream};
