//! Owns: TCP connections and listeners. Leaves out: reading and writing (`stream`).

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
};

use roundel_core::{Address, Net};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, connect, getpeername, getsockname, socket_with,
        sockopt,
    },
};

use super::{
    addresses::{ToAddresses, first_of},
    source::{Side, Source, Uses},
    stream::{Connection, connection},
};

/// A TCP connection. `&TcpStream` can read and write too, so two tasks can share one.
///
/// It sends at once what it is given (`TCP_NODELAY`), as asyncio's transports do.
///
/// ```
/// use roundel::net::{TcpListener, TcpStream};
///
/// roundel::run(async {
///     let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
///     let a = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
///     let (b, _) = listener.accept().await.unwrap();
///     b.write_all(b"tea").await.unwrap();
///     let mut buffer = [0; 10];
///     assert_eq!(a.read(&mut buffer).await.unwrap(), 3);
/// });
/// ```
pub struct TcpStream(Connection);

const USES: Uses = ["net::TcpStream::read", "net::TcpStream::write"];

connection!(
    TcpStream,
    "# let listener = roundel::net::TcpListener::bind((\"127.0.0.1\", 0)).await.unwrap();
# let a = roundel::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
# let (b, _) = listener.accept().await.unwrap();"
);

impl TcpStream {
    /// Connects. If a name has several addresses they are tried in turn.
    ///
    /// # Errors
    ///
    /// The system's, of the last address that was tried.
    ///
    /// # Panics
    ///
    /// When awaited outside of [`run`](crate::run).
    ///
    /// # Cancelling
    ///
    /// The attempt is given up.
    ///
    /// ```
    /// use roundel::net::{TcpListener, TcpStream};
    ///
    /// roundel::run(async {
    ///     let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    ///     let address = listener.local_addr().unwrap();
    ///     let stream = TcpStream::connect(address).await.unwrap();
    ///     assert_eq!(stream.peer_addr().unwrap(), address);
    /// });
    /// ```
    pub async fn connect(to: impl ToAddresses) -> io::Result<Self> {
        first_of(to, connect_to).await
    }

    /// Takes a connection that was made elsewhere.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// ```
    /// roundel::run(async {
    ///     let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let made = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ///     roundel::net::TcpStream::from_std(made).unwrap();
    /// });
    /// ```
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        Self::new("net::TcpStream::from_std", stream.into())
    }

    fn new(name: &str, fd: OwnedFd) -> io::Result<Self> {
        sockopt::set_tcp_nodelay(&fd, true)?;
        Connection::new(name, USES, fd).map(Self)
    }

    /// The other end's address.
    ///
    /// # Errors
    ///
    /// If there is no other end any more.
    ///
    /// ```
    /// # use roundel::net::{TcpListener, TcpStream};
    /// # roundel::run(async {
    /// let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    /// let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    /// assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    /// # });
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(getpeername(self)?.ok_or(Errno::NOTCONN)?.try_into()?)
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # use roundel::net::{TcpListener, TcpStream};
    /// # roundel::run(async {
    /// let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    /// let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    /// assert!(stream.local_addr().unwrap().ip().is_loopback());
    /// # });
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(getsockname(self)?.try_into()?)
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    let stream = TcpStream::new("net::TcpStream::connect", fd)?;
    match connect(&stream, &address) {
        Ok(()) => return Ok(stream),
        Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    stream.0.0.reported(Side::Write).await?;
    sockopt::socket_error(&stream)??;
    Ok(stream)
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}

/// A TCP socket that accepts connections.
///
/// ```
/// use roundel::net::{TcpListener, TcpStream};
///
/// roundel::run(async {
///     let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
///     let address = listener.local_addr().unwrap();
///     let client = TcpStream::connect(address).await.unwrap();
///     let (_stream, from) = listener.accept().await.unwrap();
///     assert_eq!(from, client.local_addr().unwrap());
/// });
/// ```
pub struct TcpListener(Source);

impl TcpListener {
    /// Listens at an address; port 0 is any that is free.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Panics
    ///
    /// When awaited outside of [`run`](crate::run).
    ///
    /// # Cancelling
    ///
    /// Nothing listens.
    ///
    /// ```
    /// roundel::run(async {
    ///     let listener = roundel::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    ///     assert_ne!(listener.local_addr().unwrap().port(), 0);
    /// });
    /// ```
    pub async fn bind(at: impl ToAddresses) -> io::Result<Self> {
        first_of(at, async |address| {
            Self::from_std(std::net::TcpListener::bind(address)?)
        })
        .await
    }

    /// Takes a listener that was made elsewhere.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// ```
    /// roundel::run(async {
    ///     let made = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    ///     roundel::net::TcpListener::from_std(made).unwrap();
    /// });
    /// ```
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        Source::new(
            "net::TcpListener::from_std",
            ["net::TcpListener::accept"; 2],
            listener.into(),
        )
        .map(Self)
    }

    /// Waits for a connection; gives it, and from where it comes.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Panics
    ///
    /// When awaited outside of [`run`](crate::run), or on another loop than the one that it was made
    /// on.
    ///
    /// # Cancelling
    ///
    /// No connection is lost.
    ///
    /// ```
    /// # use roundel::net::{TcpListener, TcpStream};
    /// # roundel::run(async {
    /// let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    /// let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    /// let (_stream, from) = listener.accept().await.unwrap();
    /// assert!(from.ip().is_loopback());
    /// # });
    /// ```
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, from) = self.0.io(Side::Read, Net::accept).await?;
        let stream = TcpStream::new("net::TcpListener::accept", fd)?;
        let from = match from {
            Address::V4(from) => from.into(),
            Address::V6(from) => from.into(),
            Address::Unnamed | Address::Unix(_) | Address::Other => stream.peer_addr()?,
        };
        Ok((stream, from))
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # roundel::run(async {
    /// let listener = roundel::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// assert!(listener.local_addr().unwrap().ip().is_loopback());
    /// # });
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(getsockname(self.0.as_fd())?.try_into()?)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("local", &self.local_addr().ok())
            .finish()
    }
}
