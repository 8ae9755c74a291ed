//! Owns: UDP sockets. Leaves out: datagrams over Unix sockets.

use std::{fmt, io, net::SocketAddr, os::fd::AsFd};

use roundel_core::{Address, Net};
use rustix::net::{connect, getsockname};

use super::{
    addresses::{ToAddresses, first_of},
    source::{Side, Source, Uses},
};

/// A socket for datagrams.
///
/// ```
/// use roundel::net::UdpSocket;
///
/// roundel::run(async {
///     let a = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
///     let b = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
///     b.send_to(b"tea", a.local_addr().unwrap()).await.unwrap();
///     let mut buffer = [0; 10];
///     let (n, from) = a.recv_from(&mut buffer).await.unwrap();
///     assert_eq!((&buffer[..n], from), (&b"tea"[..], b.local_addr().unwrap()));
/// });
/// ```
pub struct UdpSocket(Source);

const USES: Uses = ["net::UdpSocket::recv", "net::UdpSocket::send"];

impl UdpSocket {
    /// Takes an address; port 0 is any that is free.
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
    /// Nothing was taken.
    ///
    /// ```
    /// roundel::run(async {
    ///     let socket = roundel::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    ///     assert_ne!(socket.local_addr().unwrap().port(), 0);
    /// });
    /// ```
    pub async fn bind(at: impl ToAddresses) -> io::Result<Self> {
        first_of(at, async |address| {
            let socket = std::net::UdpSocket::bind(address)?;
            Source::new("net::UdpSocket::bind", USES, socket.into()).map(Self)
        })
        .await
    }

    /// Says where [`send`](UdpSocket::send) sends to; from elsewhere nothing is received any more.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Panics
    ///
    /// When awaited outside of [`run`](crate::run), if a name is to be looked up.
    ///
    /// # Cancelling
    ///
    /// Nothing has changed.
    ///
    /// ```
    /// # use roundel::net::UdpSocket;
    /// # roundel::run(async {
    /// let a = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    /// let b = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    /// b.connect(a.local_addr().unwrap()).await.unwrap();
    /// b.send(b"tea").await.unwrap();
    /// assert_eq!(a.recv(&mut [0; 10]).await.unwrap(), 3);
    /// # });
    /// ```
    pub async fn connect(&self, to: impl ToAddresses) -> io::Result<()> {
        first_of(to, async |address: SocketAddr| {
            Ok(connect(self.0.as_fd(), &address)?)
        })
        .await
    }

    /// Sends a datagram to where it is connected to.
    ///
    /// # Errors
    ///
    /// The system's; also one that an earlier datagram has caused.
    ///
    /// # Panics
    ///
    /// When awaited outside of [`run`](crate::run), or on another loop than the one that it was made
    /// on.
    ///
    /// # Cancelling
    ///
    /// Nothing was sent.
    ///
    /// ```
    /// # use roundel::net::UdpSocket;
    /// # roundel::run(async {
    /// let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    /// socket.connect(socket.local_addr().unwrap()).await.unwrap();
    /// assert_eq!(socket.send(b"tea").await.unwrap(), 3);
    /// # });
    /// ```
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .io(Side::Write, |world, fd| world.send(fd, bytes))
            .await
    }

    /// Sends a datagram.
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
    /// Nothing was sent.
    ///
    /// ```
    /// # roundel::run(async {
    /// let socket = roundel::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    /// let here = socket.local_addr().unwrap();
    /// assert_eq!(socket.send_to(b"tea", here).await.unwrap(), 3);
    /// # });
    /// ```
    pub async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        let to = match to {
            SocketAddr::V4(to) => Address::V4(to),
            SocketAddr::V6(to) => Address::V6(to),
        };
        self.0
            .io(Side::Write, |world, fd| world.send_to(fd, bytes, &to))
            .await
    }

    /// Waits for a datagram. What of it does not fit is lost.
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
    /// No datagram is lost.
    ///
    /// ```
    /// # roundel::run(async {
    /// let socket = roundel::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    /// socket.send_to(b"tea", socket.local_addr().unwrap()).await.unwrap();
    /// assert_eq!(socket.recv(&mut [0; 10]).await.unwrap(), 3);
    /// # });
    /// ```
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .io(Side::Read, |world, fd| world.recv(fd, buffer))
            .await
    }

    /// Waits for a datagram; says from where it comes. What of it does not fit is lost.
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
    /// No datagram is lost.
    ///
    /// ```
    /// # roundel::run(async {
    /// let socket = roundel::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    /// let here = socket.local_addr().unwrap();
    /// socket.send_to(b"tea", here).await.unwrap();
    /// assert_eq!(socket.recv_from(&mut [0; 10]).await.unwrap(), (3, here));
    /// # });
    /// ```
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self
            .0
            .io(Side::Read, |world, fd| world.recv_from(fd, buffer));
        match received.await? {
            (n, Address::V4(from)) => Ok((n, from.into())),
            (n, Address::V6(from)) => Ok((n, from.into())),
            (_, Address::Unnamed | Address::Unix(_) | Address::Other) => {
                Err(io::Error::other("a datagram without an address"))
            }
        }
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # roundel::run(async {
    /// let socket = roundel::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    /// assert!(socket.local_addr().unwrap().ip().is_loopback());
    /// # });
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(getsockname(self.0.as_fd())?.try_into()?)
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("local", &self.local_addr().ok())
            .finish()
    }
}
