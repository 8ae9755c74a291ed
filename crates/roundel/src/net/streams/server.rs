//! Owns: `start_server`: a listener, and a task for each connection.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    time::Duration,
};

use super::{
    super::{
        addresses::{ToAddresses, look_up},
        tcp::TcpListener,
        unix::UnixListener,
    },
    StreamReader, StreamWriter,
    wire::{Wire, split},
};
use crate::{
    error::Cancelled,
    locks::Event,
    task::{
        TaskHandle, create_task,
        scope::{ask_again, catch_cancelled},
    },
    time::sleep,
};

/// How long a server that cannot accept (no descriptors left, say) waits: asyncio's.
const RETRY: Duration = Duration::from_secs(1);

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Wire> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Wire::Tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(Wire::Unix),
        }
    }
}

/// What the server and its connections share.
#[derive(Default)]
struct Serving {
    /// The tasks that accept.
    accepting: RefCell<Vec<TaskHandle>>,
    connections: Cell<usize>,
    closed: Event,
    over: Event,
}

impl Serving {
    fn close(&self) {
        for task in self.accepting.take() {
            task.cancel();
        }
        self.closed.set();
        self.settle();
    }

    fn settle(&self) {
        if self.closed.is_set() && self.connections.get() == 0 {
            self.over.set();
        }
    }
}

/// A connection that is being served.
struct Served(Rc<Serving>);

impl Served {
    fn new(serving: &Rc<Serving>) -> Self {
        serving.connections.set(serving.connections.get() + 1);
        Self(Rc::clone(serving))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.settle();
    }
}

/// Listens by TCP, and makes a task of `handler` for each connection: asyncio's `start_server`.
///
/// A name with several addresses is listened at on all of them. If a handler panics, its task ends
/// with that and its connection is closed; the server goes on.
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
/// use roundel::net::{open_connection, start_server};
///
/// roundel::run(async {
///     let clock = start_server(
///         async |_reader, writer| writer.write(b"four o'clock\n"),
///         ("127.0.0.1", 0),
///     );
///     let clock = clock.await.unwrap();
///     let (mut reader, _writer) = open_connection(clock.local_addr().unwrap()).await.unwrap();
///     assert_eq!(reader.readline().await.unwrap(), b"four o'clock\n");
/// });
/// ```
pub async fn start_server<F>(handler: F, at: impl ToAddresses) -> io::Result<Server>
where
    F: AsyncFn(StreamReader, StreamWriter) + 'static,
{
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for address in look_up(at).await? {
        let listener = TcpListener::from_std(std::net::TcpListener::bind(address)?)?;
        addresses.push(listener.local_addr()?);
        listeners.push(Listener::Tcp(listener));
    }
    Ok(serve(handler, listeners, addresses))
}

/// Listens at a path, and makes a task of `handler` for each connection: asyncio's
/// `start_unix_server`. The file stays when the server has closed.
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
/// use roundel::net::{open_unix_connection, start_unix_server};
///
/// roundel::run(async {
///     # let path = std::env::temp_dir().join(format!("roundel-serve-{}", std::process::id()));
///     # let _ = std::fs::remove_file(&path); // of a process before that had this number
///     let _server = start_unix_server(async |_, writer| writer.write(b"hello\n"), &path).unwrap();
///     let (mut reader, _writer) = open_unix_connection(&path).await.unwrap();
///     assert_eq!(reader.readline().await.unwrap(), b"hello\n");
///     # std::fs::remove_file(path).unwrap();
/// });
/// ```
pub fn start_unix_server<F>(handler: F, path: impl AsRef<Path>) -> io::Result<Server>
where
    F: AsyncFn(StreamReader, StreamWriter) + 'static,
{
    let listener = Listener::Unix(UnixListener::bind(path)?);
    Ok(serve(handler, [listener], Vec::new()))
}

fn serve<F>(
    handler: F,
    listeners: impl IntoIterator<Item = Listener>,
    addresses: Vec<SocketAddr>,
) -> Server
where
    F: AsyncFn(StreamReader, StreamWriter) + 'static,
{
    let serving = Rc::new(Serving::default());
    let handler = Rc::new(handler);
    let tasks = listeners.into_iter().map(|listener| {
        let accepting = accept(listener, Rc::clone(&handler), Rc::clone(&serving));
        create_task(accepting).with_name("Server").handle()
    });
    let tasks = tasks.collect();
    serving.accepting.replace(tasks);
    Server { serving, addresses }
}

async fn accept<F>(listener: Listener, handler: Rc<F>, serving: Rc<Serving>)
where
    F: AsyncFn(StreamReader, StreamWriter) + 'static,
{
    loop {
        match listener.accept().await {
            Ok(wire) => {
                let (handler, served) = (Rc::clone(&handler), Served::new(&serving));
                let task = create_task(async move {
                    let _served = served;
                    let (reader, writer) = split(wire);
                    handler(reader, writer).await;
                });
                drop(task);
            }
            // The one who came has gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => sleep(RETRY).await,
        }
    }
}

/// A server that was started by [`start_server`] or [`start_unix_server`]. Dropping it does nothing
/// to it: it goes on until the loop closes.
///
/// ```
/// # use roundel::net::start_server;
/// # roundel::run(async {
/// let server = start_server(async |_, _| {}, ("127.0.0.1", 0)).await.unwrap();
/// assert!(server.is_serving());
/// server.close();
/// server.wait_closed().await;
/// # });
/// ```
pub struct Server {
    serving: Rc<Serving>,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Where it listens, the first one of several. None at a path.
    ///
    /// ```
    /// # use roundel::net::start_server;
    /// # roundel::run(async {
    /// let server = start_server(async |_, _| {}, ("127.0.0.1", 0)).await.unwrap();
    /// assert!(server.local_addr().unwrap().ip().is_loopback());
    /// # });
    /// ```
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// Where it listens, all of it.
    ///
    /// ```
    /// # use roundel::net::start_server;
    /// # roundel::run(async {
    /// let server = start_server(async |_, _| {}, ("127.0.0.1", 0)).await.unwrap();
    /// assert_eq!(server.local_addrs().len(), 1);
    /// # });
    /// ```
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether it listens.
    ///
    /// ```
    /// # use roundel::net::start_server;
    /// # roundel::run(async {
    /// let server = start_server(async |_, _| {}, ("127.0.0.1", 0)).await.unwrap();
    /// assert!(server.is_serving());
    /// # });
    /// ```
    #[must_use]
    pub fn is_serving(&self) -> bool {
        !self.serving.closed.is_set()
    }

    /// Listens no more. Connections go on.
    ///
    /// ```
    /// # use roundel::net::start_server;
    /// # roundel::run(async {
    /// let server = start_server(async |_, _| {}, ("127.0.0.1", 0)).await.unwrap();
    /// server.close();
    /// assert!(!server.is_serving());
    /// # });
    /// ```
    pub fn close(&self) {
        self.serving.close();
    }

    /// Waits until it is closed and the handlers of all its connections have ended.
    ///
    /// # Cancelling
    ///
    /// The server does not notice.
    ///
    /// ```
    /// # use roundel::net::start_server;
    /// # roundel::run(async {
    /// let server = start_server(async |_, _| {}, ("127.0.0.1", 0)).await.unwrap();
    /// server.close();
    /// server.wait_closed().await;
    /// # });
    /// ```
    pub async fn wait_closed(&self) {
        self.serving.over.wait().await;
    }

    /// Waits until somebody closes it.
    ///
    /// # Cancelling
    ///
    /// By a request it is closed, and the handlers of its connections are waited for, as in
    /// asyncio. Dropped otherwise, it goes on.
    ///
    /// ```
    /// # use roundel::{create_task, net::start_server};
    /// # roundel::run(async {
    /// let server = start_server(async |_, _| {}, ("127.0.0.1", 0)).await.unwrap();
    /// let task = create_task(async move { server.serve_forever().await });
    /// roundel::sleep(std::time::Duration::ZERO).await;
    /// task.cancel();
    /// assert!(task.await.is_err());
    /// # });
    /// ```
    pub async fn serve_forever(&self) {
        if let Err(Cancelled) = catch_cancelled(self.serving.closed.wait()).await {
            self.close();
            self.wait_closed().await;
            ask_again().await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("serving", &self.is_serving())
            .field("connections", &self.serving.connections.get())
            .finish()
    }
}
