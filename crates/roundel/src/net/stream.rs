//! Owns: what TCP and Unix connections have in common: reading, writing, the traits of
//! `futures::io` and, by the feature `compat`, tokio's. Leaves out: making one.

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd, OwnedFd},
};

use roundel_core::Net;
use rustix::net::Shutdown as How;

use super::source::{Side, Source, Uses};

/// A connection.
pub(crate) struct Connection(pub(crate) Source);

impl Connection {
    pub(crate) fn new(name: &str, uses: Uses, fd: OwnedFd) -> io::Result<Self> {
        Source::new(name, uses, fd).map(Self)
    }

    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|context| self.0.poll_read(context, buffer)).await
    }

    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        std::future::poll_fn(|context| self.0.poll_write(context, bytes)).await
    }

    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.write(bytes).await?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Sends what the socket takes at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .try_io(Side::Write, |world, fd| world.send(fd, bytes))
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => How::Read,
            Shutdown::Write => How::Write,
            Shutdown::Both => How::Both,
        };
        match rustix::net::shutdown(self.0.as_fd(), how) {
            // The peer has gone already.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The methods and traits of a connection; `$make` is how the examples come by two, `a` and `b`.
macro_rules! connection {
    ($name:ident, $make:literal) => {
        impl $name {
            pub(crate) fn connection(&self) -> &Connection {
                &self.0
            }

            /// Reads what is there, as much as fits, and waits until something is. 0 is the peer's
            /// end.
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
            /// # roundel::run(async {
            #[doc = $make]
            /// b.write_all(b"tea").await.unwrap();
            /// let mut buffer = [0; 10];
            /// assert_eq!(a.read(&mut buffer).await.unwrap(), 3);
            /// # });
            /// ```
            pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer).await
            }

            /// Writes what the system takes, and waits until it takes something; says how much that
            /// was.
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
            /// Nothing was written.
            ///
            /// ```
            /// # roundel::run(async {
            #[doc = $make]
            /// assert_eq!(b.write(b"tea").await.unwrap(), 3);
            /// # drop(a);
            /// # });
            /// ```
            pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
                self.0.write(bytes).await
            }

            /// Writes all of it.
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
            /// A part may have been written.
            ///
            /// ```
            /// # roundel::run(async {
            #[doc = $make]
            /// b.write_all(b"tea").await.unwrap();
            /// # drop(a);
            /// # });
            /// ```
            pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
                self.0.write_all(bytes).await
            }

            /// Ends one direction, or both.
            ///
            /// # Errors
            ///
            /// The system's.
            ///
            /// ```
            /// # roundel::run(async {
            #[doc = $make]
            /// b.shutdown(std::net::Shutdown::Write).unwrap();
            /// assert_eq!(a.read(&mut [0; 10]).await.unwrap(), 0);
            /// # });
            /// ```
            pub fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
                self.0.shutdown(how)
            }
        }

        impl std::os::fd::AsFd for $name {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.0.as_fd()
            }
        }

        $crate::net::stream::connection!(@traits $name);
        $crate::net::stream::connection!(@traits &$name);
    };
    (@traits $name:ty) => {
        impl futures_io::AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.0.0.poll_read(context, buffer)
            }
        }

        impl futures_io::AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.0.poll_write(context, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                pieces: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.0.0.poll_write_vectored(context, pieces)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.0.shutdown(std::net::Shutdown::Write))
            }
        }

        #[cfg(feature = "compat")]
        impl tokio::io::AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let n = std::task::ready!(
                    self.0.0.poll_read(context, buffer.initialize_unfilled())
                )?;
                buffer.advance(n);
                Poll::Ready(Ok(()))
            }
        }

        #[cfg(feature = "compat")]
        impl tokio::io::AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.0.poll_write(context, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                pieces: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.0.0.poll_write_vectored(context, pieces)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.0.shutdown(std::net::Shutdown::Write))
            }
        }
    };
}
pub(crate) use connection;
