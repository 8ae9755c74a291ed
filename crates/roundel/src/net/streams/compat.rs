//! Owns: tokio's traits for the reader and the writer, as they have those of `futures::io`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{StreamReader, StreamWriter};

impl tokio::io::AsyncRead for StreamReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let there = ready!(futures_io::AsyncBufRead::poll_fill_buf(
            self.as_mut(),
            context
        ))?;
        let n = there.len().min(buffer.remaining());
        buffer.put_slice(&there[..n]);
        futures_io::AsyncBufRead::consume(self, n);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncBufRead for StreamReader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        futures_io::AsyncBufRead::poll_fill_buf(self, context)
    }

    fn consume(self: Pin<&mut Self>, n: usize) {
        futures_io::AsyncBufRead::consume(self, n);
    }
}

/// As for `futures::io`: it waits when too much is left to go, and flushing waits until nothing is.
impl tokio::io::AsyncWrite for StreamWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write(self, context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_flush(self, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(self, context)
    }
}
