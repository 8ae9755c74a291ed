//! Owns: from a host and a port to addresses. Leaves out: trying one after the other.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
};

use crate::{error::Error, executor::to_thread};

/// Where to connect to: an address, or a host and a port. Names are looked up in a thread, numbers
/// need none.
///
/// ```
/// roundel::run(async {
///     let listener = roundel::net::TcpListener::bind(("localhost", 0)).await.unwrap();
///     let address = listener.local_addr().unwrap();
///     assert!(roundel::net::TcpStream::connect(address).await.is_ok());
/// });
/// ```
pub trait ToAddresses {
    /// The address, or the host and the port to look up.
    ///
    /// ```
    /// use roundel::net::ToAddresses;
    ///
    /// assert!(("127.0.0.1", 80).to_addresses().is_ok());
    /// assert_eq!(("localhost", 80).to_addresses(), Err(("localhost".to_owned(), 80)));
    /// ```
    #[allow(clippy::missing_errors_doc)] // It is none: it is a name.
    fn to_addresses(&self) -> Result<SocketAddr, (String, u16)>;
}

impl ToAddresses for SocketAddr {
    fn to_addresses(&self) -> Result<SocketAddr, (String, u16)> {
        Ok(*self)
    }
}

impl ToAddresses for (IpAddr, u16) {
    fn to_addresses(&self) -> Result<SocketAddr, (String, u16)> {
        Ok(SocketAddr::from(*self))
    }
}

impl ToAddresses for (&str, u16) {
    fn to_addresses(&self) -> Result<SocketAddr, (String, u16)> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(SocketAddr::from((ip, port))),
            Err(_) => Err((host.to_owned(), port)),
        }
    }
}

impl ToAddresses for (String, u16) {
    fn to_addresses(&self) -> Result<SocketAddr, (String, u16)> {
        (self.0.as_str(), self.1).to_addresses()
    }
}

/// `host:port`.
impl ToAddresses for &str {
    fn to_addresses(&self) -> Result<SocketAddr, (String, u16)> {
        if let Ok(address) = self.parse() {
            return Ok(address);
        }
        // Without a port it is a name that cannot be looked up, which the system says best.
        let (host, port) = self.rsplit_once(':').unwrap_or((self, "0"));
        Err((host.to_owned(), port.parse().unwrap_or(0)))
    }
}

pub(super) async fn look_up(addresses: impl ToAddresses) -> io::Result<Vec<SocketAddr>> {
    let name = match addresses.to_addresses() {
        Ok(address) => return Ok(vec![address]),
        Err(name) => name,
    };
    let found = to_thread(move || name.to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    match found.await {
        Ok(found) => found,
        Err(Error::Panicked(panic)) => panic.resume(),
        Err(Error::Cancelled) => Err(io::Error::other("the loop is closing")),
    }
}

/// Tries one address after the other; the error is the last one's.
pub(super) async fn first_of<T>(
    addresses: impl ToAddresses,
    attempt: impl AsyncFn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in look_up(addresses).await? {
        match attempt(address).await {
            Ok(made) => return Ok(made),
            Err(error) => last = error,
        }
    }
    Err(last)
}
