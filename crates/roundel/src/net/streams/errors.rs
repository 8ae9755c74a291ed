//! Owns: how reading ends when it does not end well.

use std::{error, fmt, io};

/// The peer's end came before what was asked for: asyncio's `IncompleteReadError`.
///
/// ```
/// # use roundel::net::{ReadError, StreamReader, StreamWriter, UnixStream};
/// # roundel::run(async {
/// # let (a, b) = UnixStream::pair().unwrap();
/// # let (mut reader, _writer): (StreamReader, StreamWriter) = a.into();
/// b.write_all(b"te").await.unwrap();
/// drop(b);
/// let Err(ReadError::Incomplete(read)) = reader.readexactly(3).await else { unreachable!() };
/// assert_eq!((read.partial.as_slice(), read.expected), (&b"te"[..], Some(3)));
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteRead {
    /// What there was.
    pub partial: Vec<u8>,
    /// How much was asked for, if that was known.
    pub expected: Option<usize>,
}

impl fmt::Display for IncompleteRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes read on a total of ", self.partial.len())?;
        match self.expected {
            Some(expected) => write!(f, "{expected} expected bytes"),
            None => f.write_str("undefined expected bytes"),
        }
    }
}

impl error::Error for IncompleteRead {}

/// The reader's limit was reached before a separator: asyncio's `LimitOverrunError`.
///
/// ```
/// # use roundel::net::{ReadError, StreamReader, StreamWriter, UnixStream};
/// # roundel::run(async {
/// # let (a, b) = UnixStream::pair().unwrap();
/// # let (reader, _writer): (StreamReader, StreamWriter) = a.into();
/// let mut reader = reader.with_limit(4);
/// b.write_all(b"much too long\n").await.unwrap();
/// let Err(ReadError::Limit(overrun)) = reader.readuntil(b"\n").await else { unreachable!() };
/// assert_eq!(overrun.consumed, 13);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitOverrun {
    /// How much of what is there is known not to contain the separator's beginning.
    pub consumed: usize,
    /// Whether the separator is there, behind that.
    pub found: bool,
}

impl fmt::Display for LimitOverrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.found {
            true => "Separator is found, but chunk is longer than limit",
            false => "Separator is not found, and chunk exceed the limit",
        })
    }
}

impl error::Error for LimitOverrun {}

/// Why a [`StreamReader`](super::StreamReader) has not got what it was asked for.
///
/// ```
/// use roundel::net::{LimitOverrun, ReadError};
///
/// let error = ReadError::from(LimitOverrun { consumed: 5, found: false });
/// assert_eq!(error.to_string(), "Separator is not found, and chunk exceed the limit");
/// ```
#[derive(Debug)]
pub enum ReadError {
    /// The peer's end came first.
    Incomplete(IncompleteRead),
    /// The limit came first.
    Limit(LimitOverrun),
    /// The system's.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete(error) => error.fmt(f),
            Self::Limit(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl error::Error for ReadError {}

impl From<IncompleteRead> for ReadError {
    fn from(error: IncompleteRead) -> Self {
        Self::Incomplete(error)
    }
}

impl From<LimitOverrun> for ReadError {
    fn from(error: LimitOverrun) -> Self {
        Self::Limit(error)
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// So that `?` works where others fail with the system's errors.
impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Incomplete(error) => Self::new(io::ErrorKind::UnexpectedEof, error),
            ReadError::Limit(error) => Self::new(io::ErrorKind::InvalidData, error),
            ReadError::Io(error) => error,
        }
    }
}
