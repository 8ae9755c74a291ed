//! Owns: where a datagram comes from or goes to. Leaves out: finding it out by a name.

use std::net::{SocketAddrV4, SocketAddrV6};

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// The system tells none: the other end of a connection, or a Unix socket without a name.
    Unnamed,
    /// IPv4.
    V4(SocketAddrV4),
    /// IPv6.
    V6(SocketAddrV6),
    /// A Unix socket's: a path, or an abstract name, which begins with a zero byte.
    Unix(Vec<u8>),
    /// Of another family.
    Other,
}
