//! Owns: `StreamWriter`: what is to go and has not gone yet.
//!
//! What is written goes at once if the system takes it. What it does not take goes by a task of the
//! writer's, named so, as asyncio's transports do it by a callback: nobody has to drain for it.

use std::{
    cell::{Cell, RefCell},
    fmt, io, mem,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::wire::Wire;
use crate::{
    current,
    locks::{Event, line::Line},
    task::{Task, joiner::Who},
    time::sleep,
};

/// When a writer must wait, and until how much is left: asyncio's defaults.
const HIGH: usize = 64 * 1024;
const LOW: usize = HIGH / 4;

pub(super) struct Outgoing {
    wire: Rc<Wire>,
    /// What nobody sends yet.
    kept: RefCell<Vec<u8>>,
    /// How much was not taken by the system yet, also of what is being sent.
    unsent: Cell<usize>,
    paused: Cell<bool>,
    resumed: Line,
    /// Who has polled the writer by the traits, and waits.
    watcher: Cell<Option<Who>>,
    flushing: Cell<bool>,
    eof: Cell<bool>,
    closing: Cell<bool>,
    closed: Event,
    error: Cell<Option<Failure>>,
}

/// The error that ended it, to be told several times.
#[derive(Clone, Copy)]
enum Failure {
    Os(i32),
    Kind(io::ErrorKind),
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Os(number) => io::Error::from_raw_os_error(number),
            Self::Kind(kind) => kind.into(),
        }
    }
}

impl Outgoing {
    pub(super) fn new(wire: Rc<Wire>) -> Rc<Self> {
        Rc::new(Self {
            wire,
            kept: RefCell::default(),
            unsent: Cell::new(0),
            paused: Cell::new(false),
            resumed: Line::new(),
            watcher: Cell::new(None),
            flushing: Cell::new(false),
            eof: Cell::new(false),
            closing: Cell::new(false),
            closed: Event::new(),
            error: Cell::new(None),
        })
    }

    fn write(self: &Rc<Self>, mut bytes: &[u8]) {
        if self.closing.get() || self.eof.get() || self.error.get().is_some() {
            return;
        }
        if self.unsent.get() == 0 {
            match self.wire.try_write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.fail(&error),
            }
        }
        if bytes.is_empty() {
            return;
        }
        self.kept.borrow_mut().extend_from_slice(bytes);
        self.unsent.set(self.unsent.get() + bytes.len());
        if self.unsent.get() > HIGH {
            self.paused.set(true);
        }
        if !self.flushing.replace(true) {
            let this = Rc::clone(self);
            let task = Task::new(current::with("net::StreamWriter::write", |core| {
                core.create_task(async move { this.flush().await })
            }));
            task.set_name("StreamWriter");
        }
    }

    async fn flush(&self) {
        loop {
            let bytes = mem::take(&mut *self.kept.borrow_mut());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match self.wire.write(rest).await {
                    Ok(n) => {
                        rest = &rest[n..];
                        self.has_sent(n);
                    }
                    Err(error) => return self.fail(&error),
                }
            }
            if self.kept.borrow().is_empty() {
                break;
            }
        }
        self.flushing.set(false);
        self.settle();
    }

    fn has_sent(&self, n: usize) {
        self.unsent.set(self.unsent.get() - n);
        if self.unsent.get() <= LOW {
            self.resume();
        }
        if self.unsent.get() == 0 {
            self.tell_watcher();
        }
    }

    fn resume(&self) {
        if self.paused.replace(false) {
            self.resumed.wake_all();
            self.tell_watcher();
        }
    }

    fn tell_watcher(&self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }

    fn watch<T>(&self, context: &Context<'_>) -> Poll<T> {
        self.watcher.set(Some(Who::of(context.waker())));
        Poll::Pending
    }

    /// Ends what was asked to end when all is sent.
    fn settle(&self) {
        if self.unsent.get() > 0 {
            return;
        }
        if self.closing.get() {
            self.end();
        } else if self.eof.get() {
            self.wire.shutdown(Shutdown::Write);
        }
    }

    fn end(&self) {
        if !self.closed.is_set() {
            self.wire.shutdown(Shutdown::Both);
            self.closed.set();
        }
    }

    fn fail(&self, error: &io::Error) {
        self.error.set(Some(match error.raw_os_error() {
            Some(number) => Failure::Os(number),
            None => Failure::Kind(error.kind()),
        }));
        self.kept.take();
        self.unsent.set(0);
        self.closing.set(true);
        self.resume();
        self.tell_watcher();
        self.end();
    }

    fn outcome(&self) -> io::Result<()> {
        match self.error.get() {
            Some(failure) => Err(failure.error()),
            None => Ok(()),
        }
    }

    fn end_writing(&self) {
        if !self.wire.is_both_ways() {
            return self.close();
        }
        self.eof.set(true);
        self.settle();
    }

    fn close(&self) {
        self.closing.set(true);
        self.settle();
    }
}

/// What goes over a connection: asyncio's `StreamWriter`. Dropping it closes the connection, both
/// directions, when what was written has gone: who only reads keeps it as well.
///
/// ```
/// use roundel::net::{StreamReader, StreamWriter, UnixStream};
///
/// roundel::run(async {
///     let (a, b) = UnixStream::pair().unwrap();
///     let (_, writer): (StreamReader, StreamWriter) = a.into();
///     let (mut reader, _writer): (StreamReader, StreamWriter) = b.into();
///     writer.write(b"tea");
///     writer.drain().await.unwrap();
///     writer.close();
///     writer.wait_closed().await.unwrap();
///     assert_eq!(reader.read_to_end().await.unwrap(), b"tea");
/// });
/// ```
pub struct StreamWriter(Rc<Outgoing>);

impl StreamWriter {
    pub(super) fn new(outgoing: Rc<Outgoing>) -> Self {
        Self(outgoing)
    }

    /// Writes: at once what the system takes, the rest when it takes more. Who writes much should
    /// [`drain`](StreamWriter::drain) now and then. After an error, or when it is closed, what is
    /// written is dropped.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (_, writer): (StreamReader, StreamWriter) = a.into();
    /// writer.write(b"tea");
    /// assert_eq!(b.read(&mut [0; 10]).await.unwrap(), 3);
    /// # });
    /// ```
    pub fn write(&self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Waits until not too much is left to go: not at all if less than 64 KiB are, else until 16 KiB
    /// are.
    ///
    /// # Errors
    ///
    /// The system's, with which the connection has ended. `ConnectionReset` if the writer is closed:
    /// what is written then goes nowhere.
    ///
    /// # Panics
    ///
    /// When awaited outside of [`run`](crate::run), or on another loop than the one that it was made
    /// on.
    ///
    /// # Cancelling
    ///
    /// What was written goes all the same.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, _b) = UnixStream::pair().unwrap();
    /// # let (_, writer): (StreamReader, StreamWriter) = a.into();
    /// writer.write(b"tea");
    /// writer.drain().await.unwrap();
    /// # });
    /// ```
    pub async fn drain(&self) -> io::Result<()> {
        if self.0.closing.get() {
            // As in asyncio: who writes and drains for ever lets the others have their turn.
            sleep(Duration::ZERO).await;
            self.0.outcome()?;
            if self.0.closed.is_set() {
                let lost = io::ErrorKind::ConnectionReset;
                return Err(io::Error::new(lost, "Connection lost"));
            }
        }
        while self.0.paused.get() {
            self.0.resumed.wait(|_| ()).await;
        }
        self.0.outcome()
    }

    /// Ends this direction, when what was written has gone. A child's input, which has no other, is
    /// closed by it.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (_reader, writer): (StreamReader, StreamWriter) = a.into();
    /// writer.write_eof();
    /// assert_eq!(b.read(&mut [0; 10]).await.unwrap(), 0);
    /// # });
    /// ```
    pub fn write_eof(&self) {
        self.0.end_writing();
    }

    /// Closes the connection, both directions, when what was written has gone.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (_, writer): (StreamReader, StreamWriter) = a.into();
    /// writer.close();
    /// assert!(writer.is_closing());
    /// assert_eq!(b.read(&mut [0; 10]).await.unwrap(), 0);
    /// # });
    /// ```
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether it is closed, or going to be.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, _b) = UnixStream::pair().unwrap();
    /// # let (_, writer): (StreamReader, StreamWriter) = a.into();
    /// assert!(!writer.is_closing());
    /// # });
    /// ```
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.closing.get()
    }

    /// Waits until it is closed, which [`close`](StreamWriter::close) must have asked for.
    ///
    /// # Errors
    ///
    /// The system's, with which the connection has ended.
    ///
    /// # Cancelling
    ///
    /// It closes all the same.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, _b) = UnixStream::pair().unwrap();
    /// # let (_, writer): (StreamReader, StreamWriter) = a.into();
    /// writer.close();
    /// writer.wait_closed().await.unwrap();
    /// # });
    /// ```
    pub async fn wait_closed(&self) -> io::Result<()> {
        self.0.closed.wait().await;
        self.0.outcome()
    }

    /// The other end's address: asyncio's `get_extra_info("peername")`. None over a Unix socket or a
    /// pipe.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, _b) = UnixStream::pair().unwrap();
    /// # let (_, writer): (StreamReader, StreamWriter) = a.into();
    /// assert_eq!(writer.peer_addr(), None);
    /// # });
    /// ```
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.wire.peer_addr()
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Buffered: it waits when too much is left to go, and flushing waits until nothing is.
impl futures_io::AsyncWrite for StreamWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outgoing = &self.0;
        outgoing.outcome()?;
        if outgoing.closing.get() || outgoing.eof.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if outgoing.paused.get() {
            return outgoing.watch(context);
        }
        outgoing.write(bytes);
        Poll::Ready(outgoing.outcome().map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.unsent.get() {
            0 => Poll::Ready(self.0.outcome()),
            _ => self.0.watch(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_eof();
        self.poll_flush(context)
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("unsent", &self.0.unsent.get())
            .field("closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}
