//! Both ways of noticing a child's end: each test runs by pidfd and by thread.

use std::{
    cell::Cell,
    env, fs,
    future::Future,
    io::{self, ErrorKind, Write as _},
    os::unix::process::ExitStatusExt as _,
    panic::catch_unwind,
    path::PathBuf,
    process::{Stdio, id},
    rc::Rc,
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, test_kill_process, waitpid},
};

use super::{Process, create_subprocess_exec, create_subprocess_shell};
use crate::{
    Error, all_tasks, create_task, current_task, gather, run, sim, sleep, to_thread, wait_for,
};

thread_local! {
    /// In this thread there is no pidfd to be had.
    pub(super) static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs it by pidfd, where the system has it, and by thread.
fn both_ways<F: Future<Output = ()> + 'static>(test: impl Fn() -> F) {
    run(test());
    REFUSED.set(true);
    run(test());
    REFUSED.set(false);
}

async fn turn() {
    sleep(Duration::ZERO).await;
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|n| (n % 251) as u8).collect()
}

async fn shell(line: &str) -> Process {
    let command = create_subprocess_shell(line).stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.await.unwrap()
}

fn is_there(pid: Pid) -> bool {
    test_kill_process(pid) != Err(Errno::SRCH)
}

fn waits_by_pidfd(process: &Process) -> bool {
    process.handle.child.is_by_pidfd()
}

#[test]
fn what_is_tested_here_is_what_is_said() {
    // Where this fails the system refuses pidfds, and half of what is tested here is not.
    both_ways(|| async {
        let child = shell("true").await;
        assert_eq!(waits_by_pidfd(&child), !REFUSED.get());
        child.wait().await.unwrap();
    });
}

#[test]
fn a_code_or_a_signal_comes_out_in_both_languages() {
    both_ways(|| async {
        let child = shell("exit 7").await;
        let status = child.wait().await.unwrap();
        assert_eq!((status.code(), status.signal()), (Some(7), None));
        assert_eq!(child.returncode(), Some(7));
        let child = shell("kill -USR1 $$").await;
        let status = child.wait().await.unwrap();
        assert_eq!((status.code(), status.signal()), (None, Some(10)));
        assert_eq!(child.returncode(), Some(-10));
        // And as std has it, to the bit that says that memory was dumped, where the system does.
        let folder = env::temp_dir().join(format!("roundel-dump-{}", id()));
        fs::create_dir_all(&folder).unwrap();
        for line in [
            "exit 7",
            "kill -KILL $$",
            "ulimit -c unlimited; kill -SEGV $$",
        ] {
            let mut std = std::process::Command::new("sh");
            let std = std.args(["-c", line]).current_dir(&folder).status();
            let ours = create_subprocess_shell(line).current_dir(&folder).await;
            let ours = ours.unwrap().wait().await;
            assert_eq!(ours.unwrap(), std.unwrap(), "{line}");
        }
        fs::remove_dir_all(folder).unwrap();
    });
}

#[test]
fn several_wait_for_one() {
    both_ways(|| async {
        let child = Rc::new(shell("read line; exit 3").await);
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let child = Rc::clone(&child);
                create_task(async move { child.wait().await.unwrap().code() })
            })
            .collect();
        turn().await;
        assert_eq!(child.returncode(), None);
        child.stdin.as_ref().unwrap().write(b"go\n");
        for task in waiting {
            assert_eq!(task.await.unwrap(), Some(3));
        }
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
    });
}

#[test]
fn a_dropped_handle_s_child_goes_on_and_leaves_no_zombie() {
    both_ways(|| async {
        let mut child = shell("cat; echo end").await;
        let pid = child.handle.child.pid();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take());
        drop(child);
        for _ in 0..10 {
            turn().await;
        }
        stdin.write(b"still there\n");
        stdin.close();
        assert_eq!(
            stdout.unwrap().read_to_end().await.unwrap(),
            b"still there\nend\n"
        );
        while is_there(pid) {
            turn().await;
        }
    });
}

#[test]
fn killed_on_drop_where_that_was_asked_for() {
    both_ways(|| async {
        let child = create_subprocess_exec("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop();
        let mut child = child.await.unwrap();
        // Held open, so that its end is not the end of its input.
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take().unwrap();
        let noticed = Rc::clone(&child.handle.child);
        drop(child);
        assert_eq!(stdout.read(1).await.unwrap(), b"");
        let status = noticed.ended().await.unwrap();
        assert_eq!(status.signal(), Some(9));
        drop(stdin);
    });
}

#[test]
fn killed_with_the_task_that_has_it_and_with_the_loop() {
    for by_pidfd in [true, false] {
        let child = run(async move {
            REFUSED.set(!by_pidfd);
            let left = Rc::new(Cell::new(None));
            for the_loop_ends in [false, true] {
                let known = Rc::clone(&left);
                let task = create_task(async move {
                    let child = create_subprocess_exec("sleep").arg("1000").kill_on_drop();
                    let child = child.await.unwrap();
                    known.set(Some(Rc::clone(&child.handle.child)));
                    child.wait().await
                });
                turn().await;
                if the_loop_ends {
                    break;
                }
                task.cancel();
                assert!(matches!(task.await, Err(Error::Cancelled)));
                let child = left.take().unwrap();
                assert_eq!(child.ended().await.unwrap().signal(), Some(9));
            }
            left.take().unwrap().pid()
        });
        REFUSED.set(false);
        // By whoever fetches the status of children whose loop has gone.
        while is_there(child) {
            thread::yield_now();
        }
    }
}

#[test]
fn one_that_has_ended_is_not_killed_on_drop() {
    both_ways(|| async {
        let child = create_subprocess_exec("true").kill_on_drop();
        let child = child.await.unwrap();
        let noticed = Rc::clone(&child.handle.child);
        assert!(child.wait().await.unwrap().success());
        drop(child);
        assert!(noticed.ended().await.unwrap().success());
    });
}

#[test]
fn errors_come_with_the_output_in_their_order() {
    both_ways(|| async {
        let line = "for n in 1 2 3; do echo out$n; echo err$n >&2; done; cat >&2";
        let child = create_subprocess_shell(line).stdin(Stdio::piped());
        // Whatever was said before and after.
        let child = child.stderr(Stdio::null()).stderr_to_stdout();
        let mut child = child.stdout(Stdio::null()).await.unwrap();
        assert!(child.stderr.is_none());
        let (said, none) = child.communicate(Some(b"end")).await.unwrap();
        assert_eq!(said, b"out1\nerr1\nout2\nerr2\nout3\nerr3\nend");
        assert!(none.is_empty());
        assert_eq!(child.returncode(), Some(0));
    });
}

#[test]
fn a_dropped_handle_closes_its_pipes() {
    both_ways(|| async {
        let child = shell("cat").await;
        let pid = child.handle.child.pid();
        drop(child);
        while is_there(pid) {
            turn().await;
        }
    });
}

#[test]
fn a_child_outlives_its_loop_and_leaves_no_zombie() {
    for refused in [false, true] {
        REFUSED.set(refused);
        // Twice: the thread that fetches is started for the first.
        for _ in 0..2 {
            let (reader, gate) = io::pipe().unwrap();
            let (pid, handle) = run(async move {
                let kept = create_subprocess_exec("cat").stdin(reader).await.unwrap();
                let dropped = create_subprocess_shell("read line <&0 || exit 1");
                let dropped = dropped.stdin(Stdio::null()).await.unwrap();
                (
                    [kept.handle.child.pid(), dropped.handle.child.pid()],
                    (refused, kept.returncode()),
                )
            });
            assert!(is_there(pid[0]));
            assert_eq!(handle, (refused, None));
            drop(gate);
            while pid.into_iter().any(is_there) {
                thread::yield_now();
            }
        }
        REFUSED.set(false);
    }
}

/// A program that cancels all its tasks cancels those of its children, too.
#[test]
fn a_child_whose_task_was_cancelled_is_waited_for_all_the_same() {
    both_ways(|| async {
        let (kept, dropped) = (shell("read line; exit 5").await, shell("cat").await);
        let pid = dropped.handle.child.pid();
        turn().await;
        let me = current_task();
        for task in all_tasks() {
            if task != me {
                task.cancel();
            }
        }
        turn().await;
        kept.stdin.as_ref().unwrap().close();
        assert_eq!(kept.wait().await.unwrap().code(), Some(5));
        drop(dropped);
        while is_there(pid) {
            turn().await;
        }
    });
}

#[test]
fn a_cancelled_wait_can_be_begun_again() {
    both_ways(|| async {
        let child = Rc::new(shell("read line; exit 4").await);
        for _ in 0..3 {
            let waiting = Rc::clone(&child);
            let task = create_task(async move { waiting.wait().await });
            turn().await;
            task.cancel();
            assert!(matches!(task.await, Err(Error::Cancelled)));
        }
        child.stdin.as_ref().unwrap().close();
        assert_eq!(child.wait().await.unwrap().code(), Some(4));
    });
}

#[test]
fn a_cancelled_communicate_has_lost_none_of_the_output() {
    both_ways(|| async {
        let (reader, mut gate) = io::pipe().unwrap();
        let command = create_subprocess_shell("echo one; read line; echo $line");
        let command = command.stdin(reader).stdout(Stdio::piped());
        let mut child = command.await.unwrap();
        while !format!("{:?}", child.stdout).contains("bytes: 4") {
            let cancelled = wait_for(child.communicate(None), Duration::from_millis(1)).await;
            assert!(cancelled.is_err());
        }
        gate.write_all(b"two\n").unwrap();
        let (output, errors) = child.communicate(None).await.unwrap();
        assert_eq!(
            (output.as_slice(), errors.as_slice()),
            (&b"one\ntwo\n"[..], &b""[..])
        );
    });
}

/// A file that blocks who opens it until somebody opens its other end.
fn fifo(name: &str) -> PathBuf {
    let name = format!("roundel-{name}-{}-{}", id(), REFUSED.get());
    let path = env::temp_dir().join(name);
    let _ = fs::remove_file(&path); // of a process before that had this number
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    path
}

#[test]
fn a_cancelled_communicate_has_lost_none_of_the_input() {
    both_ways(|| async {
        let (gate, much) = (fifo("input"), pattern(1_000_000));
        let command = create_subprocess_shell("cat \"$GATE\"; cat").env("GATE", &gate);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.await.unwrap();
        let limit = Duration::from_millis(1);
        let cancelled = wait_for(child.communicate(Some(&much)), limit).await;
        assert!(cancelled.is_err());
        let opens = gate.clone();
        let opened = to_thread(move || fs::write(opens, "open\n"));
        let opened = create_task(opened);
        let (output, _) = child.communicate(None).await.unwrap();
        opened.await.unwrap().unwrap().unwrap();
        assert_eq!(output.len(), much.len() + 5);
        assert!(output.starts_with(b"open\n") && output.ends_with(&much));
        fs::remove_file(gate).unwrap();
    });
}

#[test]
fn much_goes_both_ways_without_waiting_for_each_other() {
    both_ways(|| async {
        let much = pattern(5_000_000);
        let mut child = shell("tee /dev/stderr").await;
        let (output, errors) = child.communicate(Some(&much)).await.unwrap();
        assert!(output == much, "{} bytes", output.len());
        assert!(errors == much, "{} bytes", errors.len());
        assert_eq!(child.returncode(), Some(0));
    });
}

#[test]
fn that_a_child_wants_no_more_is_no_error_of_communicate() {
    both_ways(|| async {
        let mut child = shell("head -c 3; exec <&-; echo; exit 2").await;
        let (output, _) = child.communicate(Some(&pattern(5_000_000))).await.unwrap();
        assert_eq!(output, b"\x00\x01\x02\n");
        assert_eq!(child.returncode(), Some(2));
        // And nothing at all.
        let mut child = shell("exec <&-; echo done").await;
        assert_eq!(
            child.stdout.as_mut().unwrap().readline().await.unwrap(),
            b"done\n"
        );
        child.communicate(Some(b"tea")).await.unwrap();
    });
}

#[test]
fn that_a_child_wants_no_more_is_an_error_of_draining() {
    both_ways(|| async {
        let child = shell("exec <&-; read line <&1").await;
        let stdin = child.stdin.as_ref().unwrap();
        stdin.write(&pattern(5_000_000));
        let error = stdin.drain().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(stdin.wait_closed().await.is_err());
        child.wait().await.unwrap();
    });
}

#[test]
fn closing_the_input_is_seen_by_the_child_while_the_writer_is_there() {
    both_ways(|| async {
        for closes in [super::StreamWriter::close, super::StreamWriter::write_eof] {
            let mut child = shell("cat").await;
            let stdin = child.stdin.as_ref().unwrap();
            stdin.write(b"tea");
            closes(stdin);
            stdin.write(b"too late");
            let output = child.stdout.as_mut().unwrap().read_to_end().await;
            assert_eq!(output.unwrap(), b"tea");
            assert!(child.wait().await.unwrap().success());
        }
    });
}

#[test]
fn signals_go_to_the_child_and_never_to_who_has_its_number_next() {
    both_ways(|| async {
        let child = shell("kill -STOP $$; exit 3").await;
        // It may not have stopped yet, and then goes on from where it stops.
        while child.returncode().is_none() {
            match child.send_signal(crate::SignalKind::SIGCONT) {
                Ok(()) => turn().await,
                Err(error) => assert_eq!(error.raw_os_error(), Some(3)),
            }
        }
        assert_eq!(child.returncode(), Some(3));
        for outcome in [child.kill(), child.terminate()] {
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(3));
        }
        let child = shell("cat").await;
        let nameless = child.send_signal(crate::SignalKind::from_raw(1000));
        assert_eq!(nameless.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// It has ended, and its number is not free as long as the loop has not noticed.
#[test]
fn a_signal_to_one_that_has_just_ended_goes_nowhere() {
    run(async {
        let mut child = shell("true").await;
        assert!(waits_by_pidfd(&child));
        let pid = child.pid();
        // No turn of the loop until it has ended.
        let stat = format!("/proc/{pid}/stat");
        while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
            thread::yield_now();
        }
        assert_eq!(child.returncode(), None);
        child.kill().unwrap();
        child.communicate(None).await.unwrap();
        assert_eq!(child.returncode(), Some(0));
    });
}

#[test]
fn many_at_once() {
    both_ways(|| async {
        let children = (0..60).map(|n| async move {
            let mut child = shell(&format!("cat; exit {n}")).await;
            let text = format!("child {n}").into_bytes();
            let (output, _) = child.communicate(Some(&text)).await.unwrap();
            assert_eq!(output, text);
            child.returncode().unwrap()
        });
        let codes = gather(children).await.unwrap();
        assert_eq!(codes, (0..60).collect::<Vec<_>>());
    });
}

#[test]
fn a_status_that_somebody_else_has_fetched_is_an_error() {
    run(async {
        let child = shell("exit 3").await;
        assert!(waits_by_pidfd(&child));
        let theirs = waitpid(Some(child.handle.child.pid()), WaitOptions::empty()).unwrap();
        assert_eq!(theirs.unwrap().1.exit_status(), Some(3));
        let error = child.wait().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::CHILD.raw_os_error()));
        assert_eq!(child.returncode(), None);
        assert!(child.kill().is_err());
    });
}

#[test]
fn what_cannot_be_started_is_an_error() {
    run(async {
        let error = create_subprocess_exec("/no/such/program").await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    });
    let error = sim::run(7, async { create_subprocess_exec("true").await }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "a world made from a seed has no processes"
    );
}

fn message(of: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = catch_unwind(of).unwrap_err();
    *payload.downcast::<String>().unwrap()
}

#[test]
fn outside_of_a_loop_it_says_so() {
    let text = message(|| drop(create_subprocess_exec("true").spawn()));
    assert!(
        text.starts_with("roundel::process::Command::spawn was called outside of roundel::run"),
        "{text}"
    );
    let text = message(|| {
        let child = run(async { shell("cat").await });
        let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
        let _ = std::pin::pin!(child.wait()).poll(context);
    });
    assert!(
        text.starts_with("roundel::process::Process::wait was called outside of roundel::run"),
        "{text}"
    );
    // A handle that has left its loop can end its child and be dropped.
    let child = run(async {
        create_subprocess_exec("cat")
            .stdin(Stdio::piped())
            .await
            .unwrap()
    });
    child.kill().unwrap();
    let pid = child.handle.child.pid();
    drop(child);
    while is_there(pid) {
        thread::yield_now();
    }
}
