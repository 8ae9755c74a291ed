//! Owns: `StreamReader`: what has come and was not asked for yet.

use std::{
    fmt, io, mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use super::{
    errors::{IncompleteRead, LimitOverrun, ReadError},
    wire::Wire,
};

/// asyncio's default.
const LIMIT: usize = 64 * 1024;

/// How much is read at a time, at least.
const CHUNK: usize = 8 * 1024;

/// What comes over a connection: asyncio's `StreamReader`.
///
/// No method loses anything when it is cancelled: what has come stays for the next one.
///
/// ```
/// use roundel::net::{StreamReader, StreamWriter, UnixStream};
///
/// roundel::run(async {
///     let (a, b) = UnixStream::pair().unwrap();
///     let (mut reader, _writer): (StreamReader, StreamWriter) = a.into();
///     b.write_all(b"one\ntwo\nrest").await.unwrap();
///     drop(b);
///     assert_eq!(reader.readline().await.unwrap(), b"one\n");
///     assert_eq!(reader.readexactly(4).await.unwrap(), b"two\n");
///     assert_eq!(reader.read_to_end().await.unwrap(), b"rest");
///     assert!(reader.at_eof());
/// });
/// ```
pub struct StreamReader {
    wire: Rc<Wire>,
    /// Initialised from end to end; what has come is from `start` to `end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    eof: bool,
    limit: usize,
}

impl StreamReader {
    pub(super) fn new(wire: Rc<Wire>) -> Self {
        Self {
            wire,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            eof: false,
            limit: LIMIT,
        }
    }

    /// The same with another limit for [`readline`](StreamReader::readline) and
    /// [`readuntil`](StreamReader::readuntil) than 64 KiB.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (reader, _writer): (StreamReader, StreamWriter) = a.into();
    /// let mut reader = reader.with_limit(1 << 20);
    /// # b.write_all(b"tea\n").await.unwrap();
    /// # assert_eq!(reader.readline().await.unwrap(), b"tea\n");
    /// # });
    /// ```
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    fn there(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let taken = self.there()[..n].to_vec();
        self.start += n;
        taken
    }

    /// Reads on, behind what is there.
    fn poll_more(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end < CHUNK / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= mem::take(&mut self.start);
            if self.buffer.len() - self.end < CHUNK {
                let size = (2 * self.buffer.len()).max(self.end + CHUNK);
                self.buffer.resize(size, 0);
            }
        }
        let room = &mut self.buffer[self.end..];
        let n = ready!(self.wire.poll_read(context, room))?;
        self.end += n;
        self.eof = n == 0;
        Poll::Ready(Ok(()))
    }

    async fn more(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_more(context)).await
    }

    /// What is there, `n` bytes at the most; waits until something is. Nothing is the peer's end.
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
    /// Nothing is lost.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (mut reader, _writer): (StreamReader, StreamWriter) = a.into();
    /// b.write_all(b"tea").await.unwrap();
    /// assert_eq!(reader.read(100).await.unwrap(), b"tea");
    /// # });
    /// ```
    pub async fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        if n > 0 && self.there().is_empty() && !self.eof {
            self.more().await?;
        }
        Ok(self.take(n.min(self.there().len())))
    }

    /// All up to the peer's end: asyncio's `read(-1)`.
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
    /// Nothing is lost.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (mut reader, _writer): (StreamReader, StreamWriter) = a.into();
    /// b.write_all(b"tea").await.unwrap();
    /// drop(b);
    /// assert_eq!(reader.read_to_end().await.unwrap(), b"tea");
    /// # });
    /// ```
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.fill().await?;
        Ok(self.take_all())
    }

    /// Reads on up to the peer's end; what has come stays here.
    pub(crate) async fn fill(&mut self) -> io::Result<()> {
        while !self.eof {
            self.more().await?;
        }
        Ok(())
    }

    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        self.take(self.there().len())
    }

    /// Exactly `n` bytes.
    ///
    /// # Errors
    ///
    /// [`ReadError::Incomplete`], with what there was, if the peer's end comes first; the system's.
    ///
    /// # Panics
    ///
    /// When awaited outside of [`run`](crate::run), or on another loop than the one that it was made
    /// on.
    ///
    /// # Cancelling
    ///
    /// Nothing is lost.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (mut reader, _writer): (StreamReader, StreamWriter) = a.into();
    /// b.write_all(b"teapot").await.unwrap();
    /// assert_eq!(reader.readexactly(3).await.unwrap(), b"tea");
    /// # });
    /// ```
    pub async fn readexactly(&mut self, n: usize) -> Result<Vec<u8>, ReadError> {
        while self.there().len() < n {
            if self.eof {
                return Err(self.incomplete(Some(n)).into());
            }
            self.more().await?;
        }
        Ok(self.take(n))
    }

    /// Up to and with `separator`.
    ///
    /// # Errors
    ///
    /// [`ReadError::Incomplete`], with what there was, if the peer's end comes first;
    /// [`ReadError::Limit`] if the limit does, and then nothing is taken; the system's.
    ///
    /// # Panics
    ///
    /// If the separator is empty; as [`read`](StreamReader::read).
    ///
    /// # Cancelling
    ///
    /// Nothing is lost.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (mut reader, _writer): (StreamReader, StreamWriter) = a.into();
    /// b.write_all(b"one, two").await.unwrap();
    /// assert_eq!(reader.readuntil(b", ").await.unwrap(), b"one, ");
    /// # });
    /// ```
    pub async fn readuntil(&mut self, separator: &[u8]) -> Result<Vec<u8>, ReadError> {
        assert!(
            !separator.is_empty(),
            "Separator should be at least one-byte string"
        );
        // Up to here there is no beginning of it.
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.there()[searched..], separator) {
                let at = searched + at;
                if at > self.limit {
                    return Err(overrun(at, true).into());
                }
                return Ok(self.take(at + separator.len()));
            }
            searched = (self.there().len() + 1).saturating_sub(separator.len());
            if searched > self.limit {
                return Err(overrun(searched, false).into());
            }
            if self.eof {
                return Err(self.incomplete(None).into());
            }
            self.more().await?;
        }
    }

    /// A line with its `\n`; what there is if the peer's end comes first.
    ///
    /// # Errors
    ///
    /// [`ReadError::Limit`] if the line is longer than the limit: it is dropped, or what has come of
    /// it; the system's.
    ///
    /// # Panics
    ///
    /// When awaited outside of [`run`](crate::run), or on another loop than the one that it was made
    /// on.
    ///
    /// # Cancelling
    ///
    /// Nothing is lost.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (mut reader, _writer): (StreamReader, StreamWriter) = a.into();
    /// b.write_all(b"one\ntwo").await.unwrap();
    /// drop(b);
    /// assert_eq!(reader.readline().await.unwrap(), b"one\n");
    /// assert_eq!(reader.readline().await.unwrap(), b"two");
    /// # });
    /// ```
    pub async fn readline(&mut self) -> Result<Vec<u8>, ReadError> {
        match self.readuntil(b"\n").await {
            Err(ReadError::Incomplete(IncompleteRead { partial, .. })) => Ok(partial),
            Err(ReadError::Limit(overrun)) => {
                match overrun.found {
                    true => self.start += overrun.consumed + 1,
                    false => self.start = self.end,
                }
                Err(overrun.into())
            }
            outcome => outcome,
        }
    }

    /// Whether all was taken and the peer's end has been seen.
    ///
    /// ```
    /// # use roundel::net::{StreamReader, StreamWriter, UnixStream};
    /// # roundel::run(async {
    /// # let (a, b) = UnixStream::pair().unwrap();
    /// # let (mut reader, _writer): (StreamReader, StreamWriter) = a.into();
    /// drop(b);
    /// assert_eq!(reader.read(1).await.unwrap(), b"");
    /// assert!(reader.at_eof());
    /// # });
    /// ```
    #[must_use]
    pub fn at_eof(&self) -> bool {
        self.eof && self.there().is_empty()
    }

    fn incomplete(&mut self, expected: Option<usize>) -> IncompleteRead {
        let partial = self.take_all();
        IncompleteRead { partial, expected }
    }
}

fn overrun(consumed: usize, found: bool) -> LimitOverrun {
    LimitOverrun { consumed, found }
}

fn find(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    let (&first, rest) = separator.split_first()?;
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(|&byte| byte == first)?;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

impl futures_io::AsyncRead for StreamReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let there = ready!(futures_io::AsyncBufRead::poll_fill_buf(
            self.as_mut(),
            context
        ))?;
        let n = there.len().min(buffer.len());
        buffer[..n].copy_from_slice(&there[..n]);
        self.start += n;
        Poll::Ready(Ok(n))
    }
}

impl futures_io::AsyncBufRead for StreamReader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.there().is_empty() && !this.eof {
            ready!(this.poll_more(context))?;
        }
        Poll::Ready(Ok(this.there()))
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        self.start = self.end.min(self.start + n);
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("bytes", &self.there().len())
            .field("eof", &self.eof)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
