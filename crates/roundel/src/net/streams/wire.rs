//! Owns: what is under a reader and a writer: a connection, or one end of a pipe.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    task::{Context, Poll},
};

use super::{StreamReader, StreamWriter, writer::Outgoing};
use crate::net::{pipe::Pipe, tcp::TcpStream, unix::UnixStream};

pub(crate) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    Pipe(Pipe),
}

impl Wire {
    pub(super) fn poll_read(
        &self,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.connection().0.poll_read(context, buffer),
            Self::Unix(stream) => stream.connection().0.poll_read(context, buffer),
            Self::Pipe(pipe) => pipe.poll_read(context, buffer),
        }
    }

    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        std::future::poll_fn(|context| match self {
            Self::Tcp(stream) => stream.connection().0.poll_write(context, bytes),
            Self::Unix(stream) => stream.connection().0.poll_write(context, bytes),
            Self::Pipe(pipe) => pipe.poll_write(context, bytes),
        })
        .await
    }

    /// Writes what the system takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.connection().try_write(bytes),
            Self::Unix(stream) => stream.connection().try_write(bytes),
            Self::Pipe(pipe) => pipe.try_write(bytes),
        }
    }

    /// Whether what is written and what is read go by the same wire, and end apart.
    pub(super) fn is_both_ways(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Pipe(_) => false,
        }
    }

    /// Ends one direction or both; a pipe has but one. The peer may have gone, which is not for us
    /// to tell.
    pub(super) fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Self::Tcp(stream) => stream.connection().shutdown(how),
            Self::Unix(stream) => stream.connection().shutdown(how),
            Self::Pipe(pipe) => {
                pipe.close();
                Ok(())
            }
        };
    }

    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) | Self::Pipe(_) => None,
        }
    }
}

pub(super) fn split(wire: Wire) -> (StreamReader, StreamWriter) {
    let wire = Rc::new(wire);
    (
        StreamReader::new(Rc::clone(&wire)),
        StreamWriter::new(Outgoing::new(wire)),
    )
}

impl From<TcpStream> for (StreamReader, StreamWriter) {
    fn from(stream: TcpStream) -> Self {
        split(Wire::Tcp(stream))
    }
}

impl From<UnixStream> for (StreamReader, StreamWriter) {
    fn from(stream: UnixStream) -> Self {
        split(Wire::Unix(stream))
    }
}

impl From<Pipe> for StreamReader {
    fn from(pipe: Pipe) -> Self {
        Self::new(Rc::new(Wire::Pipe(pipe)))
    }
}

impl From<Pipe> for StreamWriter {
    fn from(pipe: Pipe) -> Self {
        Self::new(Outgoing::new(Rc::new(Wire::Pipe(pipe))))
    }
}
