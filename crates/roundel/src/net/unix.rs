//! Owns: Unix connections and listeners. Leaves out: reading and writing (`stream`).

use std::{
    fmt, io,
    os::fd::AsFd,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use roundel_core::Net;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt},
};

use super::{
    source::{Side, Source, Uses},
    stream::{Connection, connection},
};

/// A connection between two processes of one system. `&UnixStream` can read and write too.
///
/// ```
/// use roundel::net::UnixStream;
///
/// roundel::run(async {
///     let (a, b) = UnixStream::pair().unwrap();
///     b.write_all(b"tea").await.unwrap();
///     let mut buffer = [0; 10];
///     assert_eq!(a.read(&mut buffer).await.unwrap(), 3);
/// });
/// ```
pub struct UnixStream(Connection);

const USES: Uses = ["net::UnixStream::read", "net::UnixStream::write"];

connection!(
    UnixStream,
    "# let (a, b) = roundel::net::UnixStream::pair().unwrap();"
);

impl UnixStream {
    /// Connects to a listener at a path.
    ///
    /// # Errors
    ///
    /// The system's; `WouldBlock` if too many are being accepted.
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
    /// use roundel::net::{UnixListener, UnixStream};
    ///
    /// roundel::run(async {
    ///     # let folder = std::env::temp_dir().join(format!("roundel-connect-{}", std::process::id()));
    ///     # let path = folder.as_path();
    ///     # let _ = std::fs::remove_file(path); // of a process before that had this number
    ///     let _listener = UnixListener::bind(path).unwrap();
    ///     UnixStream::connect(path).await.unwrap();
    ///     # std::fs::remove_file(path).unwrap();
    /// });
    /// ```
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path.as_ref())?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let stream = Self(Connection::new("net::UnixStream::connect", USES, fd)?);
        match connect(&stream, &address) {
            Ok(()) => return Ok(stream),
            Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        stream.0.0.reported(Side::Write).await?;
        sockopt::socket_error(&stream)??;
        Ok(stream)
    }

    /// Two ends of a new connection.
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
    ///     let (_a, _b) = roundel::net::UnixStream::pair().unwrap();
    /// });
    /// ```
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        Ok((Self::from_std(a)?, Self::from_std(b)?))
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
    ///     let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
    ///     roundel::net::UnixStream::from_std(a).unwrap();
    /// });
    /// ```
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        Connection::new("net::UnixStream::from_std", USES, stream.into()).map(Self)
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixStream").finish_non_exhaustive()
    }
}

/// A Unix socket that accepts connections. The file at its path stays when it is dropped.
///
/// ```
/// use roundel::net::{UnixListener, UnixStream};
///
/// roundel::run(async {
///     # let path = std::env::temp_dir().join(format!("roundel-listen-{}", std::process::id()));
///     # let _ = std::fs::remove_file(&path); // of a process before that had this number
///     let listener = UnixListener::bind(&path).unwrap();
///     let _client = UnixStream::connect(&path).await.unwrap();
///     listener.accept().await.unwrap();
///     # std::fs::remove_file(path).unwrap();
/// });
/// ```
pub struct UnixListener(Source);

impl UnixListener {
    /// Listens at a path, where nothing may be yet.
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
    ///     assert!(roundel::net::UnixListener::bind("/").is_err());
    /// });
    /// ```
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::from_std(std::os::unix::net::UnixListener::bind(path)?)
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
    ///     # let path = std::env::temp_dir().join(format!("roundel-made-{}", std::process::id()));
    ///     # let _ = std::fs::remove_file(&path); // of a process before that had this number
    ///     let made = std::os::unix::net::UnixListener::bind(&path).unwrap();
    ///     roundel::net::UnixListener::from_std(made).unwrap();
    ///     # std::fs::remove_file(path).unwrap();
    /// });
    /// ```
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        Source::new(
            "net::UnixListener::from_std",
            ["net::UnixListener::accept"; 2],
            listener.into(),
        )
        .map(Self)
    }

    /// Waits for a connection.
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
    /// # use roundel::net::{UnixListener, UnixStream};
    /// # roundel::run(async {
    /// # let path = std::env::temp_dir().join(format!("roundel-accept-{}", std::process::id()));
    /// # let _ = std::fs::remove_file(&path); // of a process before that had this number
    /// let listener = UnixListener::bind(&path).unwrap();
    /// let _client = UnixStream::connect(&path).await.unwrap();
    /// let _stream = listener.accept().await.unwrap();
    /// # std::fs::remove_file(path).unwrap();
    /// # });
    /// ```
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let (fd, _) = self.0.io(Side::Read, Net::accept).await?;
        Connection::new("net::UnixListener::accept", USES, fd).map(UnixStream)
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixListener").finish_non_exhaustive()
    }
}
