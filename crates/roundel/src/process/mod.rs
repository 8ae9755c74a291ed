//! Owns: child processes in asyncio's words: [`Process`], which is started by
//! [`create_subprocess_exec`] or [`create_subprocess_shell`]. Leaves out: starting them, which is
//! [`std::process::Command`]'s.
//!
//! Parts: `command`, what is to be started; `child`, noticing its end; `thread`, noticing it where
//! the system has no pidfd; `orphans`, children whose loop is gone.

mod child;
mod command;
mod orphans;
mod thread;

use std::{
    fmt, future::poll_fn, io, os::unix::process::ExitStatusExt as _, pin::Pin, pin::pin, rc::Rc,
    task::Poll,
};

pub use command::{Command, create_subprocess_exec, create_subprocess_shell};
pub use std::process::{ExitStatus, Stdio};

use rustix::process::Signal;

use crate::{
    net::{StreamReader, StreamWriter},
    signals::SignalKind,
};
use child::Child;

/// A child process: asyncio's `Process`.
///
/// Its end is noticed and its exit status fetched whether or not anybody waits, so no zombie is left.
/// Dropping the handle does not end the child, unless that was [asked for](Command::kill_on_drop): it goes on. It closes the pipes that are still in the
/// handle, as for std's `Child`: the child sees the end of its input, and writing to a pipe that
/// nobody reads is an error or a signal to it. A child that is there when its loop ends goes on as
/// well, and a thread fetches its status then; asyncio since 3.12 kills it.
///
/// Waiting for a child that writes to a pipe, without reading, can be for ever: a pipe has room for
/// 64 KiB mostly, and then the child waits. [`communicate`](Process::communicate) reads and waits.
///
/// ```
/// use roundel::process::{Stdio, create_subprocess_exec};
///
/// roundel::run(async {
///     let sort = create_subprocess_exec("sort").stdin(Stdio::piped()).stdout(Stdio::piped());
///     let mut sort = sort.await.unwrap();
///     let (sorted, _) = sort.communicate(Some(b"tea\ncake\n")).await.unwrap();
///     assert_eq!(sorted, b"cake\ntea\n");
///     assert_eq!(sort.returncode(), Some(0));
/// });
/// ```
pub struct Process {
    /// What goes to the child, if its standard input is [`Stdio::piped`].
    pub stdin: Option<StreamWriter>,
    /// What comes from it, if its standard output is.
    pub stdout: Option<StreamReader>,
    /// What comes from it as errors, if that is.
    pub stderr: Option<StreamReader>,
    handle: Handle,
}

/// Whose end is the handle's end.
struct Handle {
    child: Rc<Child>,
    kill_on_drop: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.kill_on_drop {
            // One that has ended is not there to be ended.
            let _ = self.child.send_signal(Signal::KILL);
        }
    }
}

impl Process {
    /// The child's number, also when it has ended.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_exec;
    /// # roundel::run(async {
    /// let child = create_subprocess_exec("true").await.unwrap();
    /// assert_ne!(child.pid(), std::process::id());
    /// # });
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.handle
            .child
            .pid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs()
    }

    /// How it ended, as asyncio says it: the exit code, or -N if it was ended by signal N. `None` as
    /// long as the loop has not noticed that it has ended.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_shell;
    /// # roundel::run(async {
    /// let child = create_subprocess_shell("exit 3").await.unwrap();
    /// child.wait().await.unwrap();
    /// assert_eq!(child.returncode(), Some(3));
    /// # });
    /// ```
    #[must_use]
    pub fn returncode(&self) -> Option<i32> {
        let status = self.handle.child.end()?.ok()?;
        status
            .code()
            .or_else(|| status.signal().map(|signal| -signal))
    }

    /// Waits until it has ended, and says how. May be awaited by several tasks, and again.
    ///
    /// # Errors
    ///
    /// `ECHILD` if another part of the program has fetched its exit status, by a `wait` for any
    /// child, or by ignoring SIGCHLD.
    ///
    /// # Panics
    ///
    /// When awaited outside of the loop on which it was started, before it has ended.
    ///
    /// # Cancelling
    ///
    /// Neither the child nor its status notices.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_shell;
    /// # roundel::run(async {
    /// use std::os::unix::process::ExitStatusExt as _;
    ///
    /// let child = create_subprocess_shell("kill -TERM $$").await.unwrap();
    /// let status = child.wait().await.unwrap();
    /// assert_eq!(status.signal(), Some(15));
    /// assert_eq!(child.returncode(), Some(-15));
    /// # });
    /// ```
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        self.handle.child.ended().await
    }

    /// Writes `input` to the child and closes its input, reads all of its output and of its errors,
    /// and waits until it has ended: at the same time, so none of it waits for the other. Gives
    /// output and errors; what is not a pipe, or was taken out of the handle, is empty.
    ///
    /// That the child does not want all of `input` is no error, as in asyncio.
    ///
    /// # Errors
    ///
    /// The system's; as for [`wait`](Process::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Process::wait).
    ///
    /// # Cancelling
    ///
    /// Nothing is lost. What was to be written goes all the same, what was read stays in the handle,
    /// and another call, with no input, goes on where this one was.
    ///
    /// ```
    /// # use roundel::process::{Stdio, create_subprocess_exec};
    /// # roundel::run(async {
    /// use std::time::Duration;
    ///
    /// let cat = create_subprocess_exec("cat").stdin(Stdio::piped()).stdout(Stdio::piped());
    /// let mut cat = cat.await.unwrap();
    /// let limit = Duration::from_secs(60);
    /// let (output, _) = match roundel::wait_for(cat.communicate(Some(b"tea")), limit).await {
    ///     Ok(done) => done.unwrap(),
    ///     Err(roundel::TimeoutError) => {
    ///         cat.kill().unwrap();
    ///         cat.communicate(None).await.unwrap()
    ///     }
    /// };
    /// assert_eq!(output, b"tea");
    /// # });
    /// ```
    pub async fn communicate(&mut self, input: Option<&[u8]>) -> io::Result<(Vec<u8>, Vec<u8>)> {
        if let Some(stdin) = &self.stdin {
            if let Some(input) = input {
                stdin.write(input);
            }
            stdin.close();
        }
        {
            let written = pin!(written(self.stdin.as_ref()));
            let output = pin!(filled(self.stdout.as_mut()));
            let errors = pin!(filled(self.stderr.as_mut()));
            all([written, output, errors]).await?;
        }
        self.wait().await?;
        // Only now, so that a cancelled call has taken nothing.
        let taken = |reader: &mut Option<StreamReader>| {
            reader
                .as_mut()
                .map_or_else(Vec::new, StreamReader::take_all)
        };
        Ok((taken(&mut self.stdout), taken(&mut self.stderr)))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// `ESRCH` if it has ended and the loop has noticed, where asyncio raises `ProcessLookupError`:
    /// never is another process meant that has been given its number meanwhile. `InvalidInput` if
    /// it is a signal without a name.
    ///
    /// ```
    /// # use roundel::{SignalKind, process::create_subprocess_exec};
    /// # roundel::run(async {
    /// let child = create_subprocess_exec("sleep").arg("1000").await.unwrap();
    /// child.send_signal(SignalKind::SIGINT).unwrap();
    /// child.wait().await.unwrap();
    /// assert_eq!(child.returncode(), Some(-2));
    /// assert!(child.send_signal(SignalKind::SIGINT).is_err());
    /// # });
    /// ```
    pub fn send_signal(&self, kind: SignalKind) -> io::Result<()> {
        let signal = Signal::from_named_raw(kind.as_raw());
        let signal = signal.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.handle.child.send_signal(signal)?)
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    ///
    /// As [`send_signal`](Process::send_signal).
    ///
    /// ```
    /// # use roundel::process::create_subprocess_exec;
    /// # roundel::run(async {
    /// let child = create_subprocess_exec("sleep").arg("1000").await.unwrap();
    /// child.terminate().unwrap();
    /// child.wait().await.unwrap();
    /// assert_eq!(child.returncode(), Some(-15));
    /// # });
    /// ```
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(SignalKind::SIGTERM)
    }

    /// Ends it (SIGKILL).
    ///
    /// # Errors
    ///
    /// As [`send_signal`](Process::send_signal).
    ///
    /// ```
    /// # use roundel::process::create_subprocess_exec;
    /// # roundel::run(async {
    /// let child = create_subprocess_exec("sleep").arg("1000").await.unwrap();
    /// child.kill().unwrap();
    /// child.wait().await.unwrap();
    /// assert_eq!(child.returncode(), Some(-9));
    /// # });
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.send_signal(SignalKind::SIGKILL)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid())
            .field("returncode", &self.returncode())
            .finish_non_exhaustive()
    }
}

/// Waits until all is written, or until the child wants no more.
async fn written(stdin: Option<&StreamWriter>) -> io::Result<()> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    match stdin {
        Some(stdin) => match stdin.wait_closed().await {
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => Ok(()),
            outcome => outcome,
        },
        None => Ok(()),
    }
}

async fn filled(reader: Option<&mut StreamReader>) -> io::Result<()> {
    match reader {
        Some(reader) => reader.fill().await,
        None => Ok(()),
    }
}

/// Runs them to their end, or to the first error.
async fn all(futures: [Pin<&mut dyn Future<Output = io::Result<()>>>; 3]) -> io::Result<()> {
    let mut futures = futures.map(Some);
    poll_fn(|context| {
        let mut outcome = Poll::Ready(Ok(()));
        for slot in &mut futures {
            let Some(future) = slot else { continue };
            match future.as_mut().poll(context) {
                Poll::Ready(Ok(())) => *slot = None,
                Poll::Ready(error) => return Poll::Ready(error),
                Poll::Pending => outcome = Poll::Pending,
            }
        }
        outcome
    })
    .await
}

#[cfg(test)]
mod tests;
