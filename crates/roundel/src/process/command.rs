//! Owns: what is to be started. Leaves out: starting it, which is std's, after which the child is
//! `child`'s and its pipes are streams.

use std::{
    ffi::OsStr,
    fmt,
    future::{Ready, ready},
    io::{self, PipeReader},
    os::fd::OwnedFd,
    path::Path,
    process::{self, Stdio},
};

use rustix::process::Pid;

use super::{Handle, Process, child::Child};
use crate::{
    current,
    net::{StreamReader, StreamWriter, pipe::Pipe},
};

/// A program to be started with arguments, by its name or its path: asyncio's
/// `create_subprocess_exec`. Awaiting it starts it.
///
/// ```
/// use roundel::process::{Stdio, create_subprocess_exec};
///
/// roundel::run(async {
///     let echo = create_subprocess_exec("echo").args(["tea", "and cake"]);
///     let mut echo = echo.stdout(Stdio::piped()).await.unwrap();
///     let line = echo.stdout.as_mut().unwrap().readline().await.unwrap();
///     assert_eq!(line, b"tea and cake\n");
///     assert!(echo.wait().await.unwrap().success());
/// });
/// ```
pub fn create_subprocess_exec(program: impl AsRef<OsStr>) -> Command {
    process::Command::new(program).into()
}

/// A line for the shell, `/bin/sh`: asyncio's `create_subprocess_shell`. Awaiting it starts it.
///
/// What of the line comes from elsewhere has to be quoted; arguments of
/// [`create_subprocess_exec`] need not be.
///
/// ```
/// use roundel::process::{Stdio, create_subprocess_shell};
///
/// roundel::run(async {
///     let count = create_subprocess_shell("echo tea | wc -c").stdout(Stdio::piped());
///     let (printed, _) = count.await.unwrap().communicate(None).await.unwrap();
///     assert_eq!(printed.trim_ascii(), b"4");
/// });
/// ```
pub fn create_subprocess_shell(line: impl AsRef<OsStr>) -> Command {
    create_subprocess_exec("/bin/sh").arg("-c").arg(line)
}

/// What is to be started, and with what: the arguments of asyncio's `create_subprocess_exec`, by
/// name. Awaiting it, or [`spawn`](Command::spawn), starts it.
///
/// What is not said is as std has it: the child has this process's environment, folder, input and
/// output. What std knows and this does not can be said to it: a [`std::process::Command`] can be
/// made into this one.
///
/// ```
/// use roundel::process::{Command, Stdio};
///
/// roundel::run(async {
///     let std = std::process::Command::new("pwd");
///     let pwd = Command::from(std).current_dir("/").stdout(Stdio::piped());
///     let (printed, _) = pwd.await.unwrap().communicate(None).await.unwrap();
///     assert_eq!(printed, b"/\n");
/// });
/// ```
#[must_use = "a command starts when it is awaited, or by spawn"]
pub struct Command {
    std: process::Command,
    limit: Option<usize>,
    /// Errors go where the output goes, which is a pipe.
    together: bool,
    kill_on_drop: bool,
}

impl From<process::Command> for Command {
    fn from(std: process::Command) -> Self {
        Self {
            std,
            limit: None,
            together: false,
            kill_on_drop: false,
        }
    }
}

impl Command {
    fn with(mut self, change: impl FnOnce(&mut process::Command)) -> Self {
        change(&mut self.std);
        self
    }

    /// One argument more.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_exec;
    /// # roundel::run(async {
    /// let sleep = create_subprocess_exec("sleep").arg("0").await.unwrap();
    /// assert!(sleep.wait().await.unwrap().success());
    /// # });
    /// ```
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.with(|std| {
            std.arg(arg);
        })
    }

    /// More arguments.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_exec;
    /// # roundel::run(async {
    /// let test = create_subprocess_exec("test").args(["tea", "=", "tea"]).await.unwrap();
    /// assert!(test.wait().await.unwrap().success());
    /// # });
    /// ```
    pub fn args(self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        self.with(|std| {
            std.args(args);
        })
    }

    /// Sets a variable of the child's environment.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_shell;
    /// # roundel::run(async {
    /// let shell = create_subprocess_shell("exit $CODE").env("CODE", "3").await.unwrap();
    /// assert_eq!(shell.wait().await.unwrap().code(), Some(3));
    /// # });
    /// ```
    pub fn env(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.with(|std| {
            std.env(name, value);
        })
    }

    /// Takes a variable out of the child's environment.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_shell;
    /// # roundel::run(async {
    /// let shell = create_subprocess_shell("test -z \"$HOME\"").env_remove("HOME");
    /// assert!(shell.await.unwrap().wait().await.unwrap().success());
    /// # });
    /// ```
    pub fn env_remove(self, name: impl AsRef<OsStr>) -> Self {
        self.with(|std| {
            std.env_remove(name);
        })
    }

    /// Begins the child's environment with nothing.
    ///
    /// ```
    /// # use roundel::process::{Stdio, create_subprocess_exec};
    /// # roundel::run(async {
    /// let env = create_subprocess_exec("/usr/bin/env").env_clear().env("TEA", "green");
    /// let mut env = env.stdout(Stdio::piped()).await.unwrap();
    /// assert_eq!(env.communicate(None).await.unwrap().0, b"TEA=green\n");
    /// # });
    /// ```
    pub fn env_clear(self) -> Self {
        self.with(|std| {
            std.env_clear();
        })
    }

    /// Where the child begins: asyncio's `cwd`.
    ///
    /// ```
    /// # use roundel::process::{Stdio, create_subprocess_exec};
    /// # roundel::run(async {
    /// let pwd = create_subprocess_exec("pwd").current_dir("/").stdout(Stdio::piped());
    /// assert_eq!(pwd.await.unwrap().communicate(None).await.unwrap().0, b"/\n");
    /// # });
    /// ```
    pub fn current_dir(self, folder: impl AsRef<Path>) -> Self {
        self.with(|std| {
            std.current_dir(folder);
        })
    }

    /// What the child reads. [`Stdio::piped`] (asyncio's `PIPE`) makes it [`Process::stdin`];
    /// [`Stdio::null`] is `DEVNULL`.
    ///
    /// ```
    /// # use roundel::process::{Stdio, create_subprocess_exec};
    /// # roundel::run(async {
    /// let cat = create_subprocess_exec("cat").stdin(Stdio::null()).await.unwrap();
    /// assert!(cat.wait().await.unwrap().success());
    /// # });
    /// ```
    pub fn stdin(self, what: impl Into<Stdio>) -> Self {
        self.with(|std| {
            std.stdin(what);
        })
    }

    /// Where the child's output goes. [`Stdio::piped`] makes it [`Process::stdout`].
    ///
    /// ```
    /// # use roundel::process::{Stdio, create_subprocess_exec};
    /// # roundel::run(async {
    /// let mut echo = create_subprocess_exec("echo").stdout(Stdio::piped()).await.unwrap();
    /// assert_eq!(echo.stdout.as_mut().unwrap().read(10).await.unwrap(), b"\n");
    /// # });
    /// ```
    pub fn stdout(self, what: impl Into<Stdio>) -> Self {
        self.with(|std| {
            std.stdout(what);
        })
    }

    /// Where the child's errors go. [`Stdio::piped`] makes it [`Process::stderr`].
    ///
    /// ```
    /// # use roundel::process::{Stdio, create_subprocess_shell};
    /// # roundel::run(async {
    /// let shell = create_subprocess_shell("echo 'no tea' >&2").stderr(Stdio::piped());
    /// let (_, errors) = shell.await.unwrap().communicate(None).await.unwrap();
    /// assert_eq!(errors, b"no tea\n");
    /// # });
    /// ```
    pub fn stderr(self, what: impl Into<Stdio>) -> Self {
        self.with(|std| {
            std.stderr(what);
        })
    }

    /// Output and errors come through one pipe, [`Process::stdout`], in the order in which the child writes them: asyncio's
    /// `stdout=PIPE, stderr=STDOUT`. Takes the place of [`stdout`](Command::stdout) and [`stderr`](Command::stderr),
    /// whenever they are called; [`Process::stderr`] is `None`.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_shell;
    /// # roundel::run(async {
    /// let shell = create_subprocess_shell("echo tea; echo 'no cake' >&2; echo milk");
    /// let (said, _) = shell.stderr_to_stdout().await.unwrap().communicate(None).await.unwrap();
    /// assert_eq!(said, b"tea\nno cake\nmilk\n");
    /// # });
    /// ```
    pub fn stderr_to_stdout(mut self) -> Self {
        self.together = true;
        self
    }

    /// Dropping the [`Process`] ends the child (SIGKILL), if it has not ended: also where that happens because the task
    /// which has it is cancelled, or because the loop ends. Without this the child goes on.
    ///
    /// ```
    /// # use roundel::process::create_subprocess_exec;
    /// # roundel::run(async {
    /// use std::time::Duration;
    ///
    /// let patient = async {
    ///     let child = create_subprocess_exec("sleep").arg("1000").kill_on_drop();
    ///     child.await.unwrap().wait().await
    /// };
    /// assert!(roundel::wait_for(patient, Duration::from_millis(1)).await.is_err());
    /// # });
    /// ```
    pub fn kill_on_drop(mut self) -> Self {
        self.kill_on_drop = true;
        self
    }

    /// The limit of the readers of its output and errors, if not 64 KiB: as
    /// [`StreamReader::with_limit`].
    ///
    /// ```
    /// # use roundel::process::{Stdio, create_subprocess_exec};
    /// # roundel::run(async {
    /// let echo = create_subprocess_exec("echo").arg("much too long").limit(4);
    /// let mut echo = echo.stdout(Stdio::piped()).await.unwrap();
    /// assert!(echo.stdout.as_mut().unwrap().readline().await.is_err());
    /// # });
    /// ```
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Starts it: what awaiting does, too. It takes as long as the system takes; in asyncio as well
    /// the loop waits meanwhile.
    ///
    /// # Errors
    ///
    /// The system's: `NotFound` if there is no such program. `Unsupported` in a world made from a
    /// seed, which has no processes: then nothing is started.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// ```
    /// # use roundel::process::create_subprocess_exec;
    /// # roundel::run(async {
    /// let error = create_subprocess_exec("no-such-program").spawn().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # });
    /// ```
    pub fn spawn(self) -> io::Result<Process> {
        let Self {
            mut std,
            limit,
            together,
            kill_on_drop,
        } = self;
        let made_up = current::with("process::Command::spawn", |core| {
            core.event_loop().world().is_made_up()
        });
        if made_up {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a world made from a seed has no processes",
            ));
        }
        let mut output = None;
        if together {
            let (reader, writer) = io::pipe()?;
            output = Some(reader);
            std.stdout(writer.try_clone()?);
            std.stderr(writer);
        }
        let mut started = std.spawn()?;
        // With the ends of pipes that are the child's: their other ends wait for all of them to be closed.
        drop(std);
        match followed(&mut started, output, limit, kill_on_drop) {
            Ok(process) => Ok(process),
            Err(error) => {
                // One that cannot be followed would be a zombie in the end.
                let _ = started.kill();
                let _ = started.wait();
                Err(error)
            }
        }
    }
}

/// Puts its pipes on the loop and has its end noticed. That last: where it fails, nobody but the
/// caller waits for the child.
fn followed(
    started: &mut process::Child,
    output: Option<PipeReader>,
    limit: Option<usize>,
    kill_on_drop: bool,
) -> io::Result<Process> {
    let stdin = pipe(started.stdin.take())?.map(StreamWriter::from);
    let reader = |pipe| {
        let reader = StreamReader::from(pipe);
        match limit {
            Some(limit) => reader.with_limit(limit),
            None => reader,
        }
    };
    let output = output.map(OwnedFd::from);
    let output = output.or_else(|| started.stdout.take().map(OwnedFd::from));
    let stdout = pipe(output)?.map(reader);
    let stderr = pipe(started.stderr.take())?.map(reader);
    let pid = i32::try_from(started.id()).ok().and_then(Pid::from_raw);
    let child = Child::watch(pid.ok_or(io::ErrorKind::InvalidData)?)?;
    Ok(Process {
        stdin,
        stdout,
        stderr,
        handle: Handle {
            child,
            kill_on_drop,
        },
    })
}

fn pipe(end: Option<impl Into<OwnedFd>>) -> io::Result<Option<Pipe>> {
    end.map(|end| Pipe::new("process::Command::spawn", end.into()))
        .transpose()
}

impl IntoFuture for Command {
    type Output = io::Result<Process>;
    type IntoFuture = Ready<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        ready(self.spawn())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}
