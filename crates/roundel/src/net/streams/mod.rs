//! Owns: asyncio's streams: opening a connection as a reader and a writer. Leaves out: what is under
//! them (`wire`), the reader (`reader`), the writer (`writer`) and the server (`server`), tokio's
//! traits for them (`compat`).
//!
//! asyncio reads ahead of who asks, into the reader's buffer, up to twice its limit. Here it is read
//! when somebody asks, and what the system keeps meanwhile is what the peer may be ahead: one copy
//! less, and no flow control but the system's.

#[cfg(feature = "compat")]
mod compat;
mod errors;
mod reader;
mod server;
mod wire;
mod writer;

use std::{io, path::Path};

pub use errors::{IncompleteRead, LimitOverrun, ReadError};
pub use reader::StreamReader;
pub use server::{Server, start_server, start_unix_server};
pub use writer::StreamWriter;

use super::{addresses::ToAddresses, tcp::TcpStream, unix::UnixStream};

/// Connects by TCP; gives what comes and what goes: asyncio's `open_connection`.
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
/// The attempt is given up.
///
/// ```
/// use roundel::net::{open_connection, start_server};
///
/// roundel::run(async {
///     let echo = start_server(
///         async |mut reader, writer| {
///             let line = reader.readline().await.unwrap();
///             writer.write(&line);
///             writer.drain().await.unwrap();
///         },
///         ("127.0.0.1", 0),
///     );
///     let echo = echo.await.unwrap();
///
///     let (mut reader, writer) = open_connection(echo.local_addr().unwrap()).await.unwrap();
///     writer.write(b"tea\n");
///     assert_eq!(reader.readline().await.unwrap(), b"tea\n");
/// });
/// ```
pub async fn open_connection(to: impl ToAddresses) -> io::Result<(StreamReader, StreamWriter)> {
    Ok(TcpStream::connect(to).await?.into())
}

/// Connects to a Unix socket: asyncio's `open_unix_connection`.
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
/// The attempt is given up.
///
/// ```
/// use roundel::net::{open_unix_connection, start_unix_server};
///
/// roundel::run(async {
///     # let path = std::env::temp_dir().join(format!("roundel-open-{}", std::process::id()));
///     # let _ = std::fs::remove_file(&path); // of a process before that had this number
///     let greeter = start_unix_server(async |_reader, writer| writer.write(b"hello\n"), &path);
///     let _greeter = greeter.unwrap();
///     let (mut reader, _writer) = open_unix_connection(&path).await.unwrap();
///     assert_eq!(reader.readline().await.unwrap(), b"hello\n");
///     # std::fs::remove_file(path).unwrap();
/// });
/// ```
pub async fn open_unix_connection(
    path: impl AsRef<Path>,
) -> io::Result<(StreamReader, StreamWriter)> {
    Ok(UnixStream::connect(path).await?.into())
}
