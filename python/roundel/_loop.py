"""`roundel.Loop`: the native loop with the cold half of the interpreter's own asyncio.

Owns: starting and stopping a run, signal handlers, closing, and the hooks by which asyncio's methods reach the native
half. Leaves out: everything that runs often, which is `_roundel.LoopCore`. Trade: checking the arguments of
`create_connection`, resolving names, happy eyeballs, executors, the texts of error reports are inherited from the
running interpreter's `asyncio.SelectorEventLoop`, so they are right for its version; there is no selector underneath.
"""

import asyncio
import concurrent.futures
import contextvars
import os
import selectors
import signal
import socket
import ssl
import sys
import threading
import types
import weakref
from asyncio import base_events, constants, coroutines, events, sslproto
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Never, TypeVar, TypeVarTuple

from roundel import _roundel
from roundel._instances import answer_as_asyncios
from roundel._tasks import show_native_tasks
from roundel._threads import put, takes_work

if TYPE_CHECKING:
    from roundel._names import NameCache

__all__ = ["Loop"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

show_native_tasks()
answer_as_asyncios()


def _before_fork() -> None:
    """What a step has written and the loop still holds would be in both processes."""
    running = events._get_running_loop()
    if isinstance(running, _roundel.LoopCore):
        running._send_held()


os.register_at_fork(before=_before_fork)

# The public name warns from Python 3.14 on.
_iscoroutinefunction: Callable[[object], bool] = (
    getattr(coroutines, "_iscoroutinefunction", None) or coroutines.iscoroutinefunction
)


class _Sources:
    """Stands where asyncio expects a selector: says what the native loop watches, and watches nothing itself."""

    def __init__(self, event_loop: "Loop") -> None:
        self._loop = weakref.ref(event_loop)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """What a descriptor is watched for; KeyError if it is not."""
        event_loop = self._loop()
        watched = event_loop._watched(fileobj) if event_loop is not None else 0
        if not watched:
            raise KeyError(f"{fileobj!r} is not registered")
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return selectors.SelectorKey(fileobj, fd, watched, None)

    def select(self, timeout: float | None = None) -> Never:
        """Only for who turns the loop by hand, and cannot: nest-asyncio's run_until_complete() in a running loop."""
        raise RuntimeError(
            "roundel's loop has no selector, so it cannot be turned by hand, as nest-asyncio does: "
            "await the coroutine instead of calling run_until_complete(), run it on a loop in a thread of its own, "
            "or use asyncio's own loop"
        )

    def close(self) -> None:
        """Nothing to close: the descriptors are the native loop's."""


# By its own name once and for all: `roundel run` gives the name in asyncio to a class of ours.
_Asyncio = asyncio.SelectorEventLoop


class Loop(_roundel.LoopCore, _Asyncio):
    """An asyncio event loop whose scheduling, timers, tasks, futures and TCP are Rust.

    Use it as any asyncio loop: `asyncio.Runner(loop_factory=roundel.new_event_loop)`, or `roundel.run(main())`.
    """

    # What asyncio's classes and this one keep in an instance. With a place for each, a loop has no dict until a program
    # gives it an attribute more; only past a dict that is not there does the interpreter remember where a method is.
    __slots__ = (
        "_asyncgens",
        "_asyncgens_shutdown_called",
        "_clock_resolution",
        "_coroutine_origin_tracking_enabled",
        "_coroutine_origin_tracking_saved_depth",
        "_default_executor",
        "_exception_handler",
        "_executor_shutdown_called",
        "_internal_fds",
        "_names",
        "_old_agen_hooks",
        "_ready",
        "_scheduled",
        "_selector",
        "_signal_handlers",
        "_timer_cancelled_count",
        "_transports",
        "_unix_server_sockets",
        "_watcher",  # from 3.14 on
        "slow_callback_duration",
    )

    # Seconds; what `roundel run --busy-poll` says.
    _busy_poll_at_first = 0.0

    if TYPE_CHECKING:
        # Of asyncio's, and not in its stubs.
        _signal_handlers: dict[int, asyncio.Handle]
        _selector: _Sources | None
        _default_executor: concurrent.futures.Executor | None
        _asyncgen_firstiter_hook: Callable[[Any], None]
        _asyncgen_finalizer_hook: Callable[[Any], None]
        _coroutine_origin_tracking_enabled: bool
        _check_running: Callable[[], None]
        _check_signal: Callable[[int], None]
        _check_callback: Callable[[Any, str], None]
        _check_default_executor: Callable[[], None]
        _ensure_fd_no_transport: Callable[[Any], None]

    def __init__(self) -> None:
        self._names: NameCache | None = None
        _roundel.LoopCore.__init__(self)
        _Asyncio.__init__(self, _Sources(self))  # type: ignore[arg-type]
        if self._busy_poll_at_first:
            self.busy_poll = self._busy_poll_at_first

    # Running.

    def run_forever(self) -> None:
        """Run until stop() is called."""
        self._check_closed()
        self._check_running()
        self._set_coroutine_origin_tracking(self._debug)
        hooks = sys.get_asyncgen_hooks()
        wakeup = _WakeupFd(self._signal_fd())
        try:
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
            events._set_running_loop(self)
            wakeup.set()
            self._run_until_stopped()
        finally:
            if not self._signal_handlers:
                wakeup.restore()
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*hooks)

    def _set_coroutine_origin_tracking(self, enabled: bool) -> None:
        before = self._coroutine_origin_tracking_enabled
        super()._set_coroutine_origin_tracking(enabled)  # type: ignore[misc]
        if bool(enabled) != bool(before):
            _roundel._want_origins(bool(enabled))

    def close(self) -> None:
        """Close the loop, which must not be running. Pending callbacks are dropped."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if not sys.is_finalizing():
            for signum in list(self._signal_handlers):
                self.remove_signal_handler(signum)
        # Marks the loop closed and shuts the executor down. The classes between this one and that close what they
        # opened, and here they have opened nothing.
        base_events.BaseEventLoop.close(self)
        self._selector = None  # as asyncio's: pipes ask it what they show
        self._release()

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> "asyncio.Future[_T]":
        """Call func(*args) in a thread of the executor; None is the loop's own."""
        pool = self._default_executor if executor is None else executor
        if not takes_work(pool):
            return super().run_in_executor(executor, func, *args)
        self._check_closed()
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None:
            self._check_default_executor()
        future = self.create_future()
        if not put(pool, _roundel.Work(self, future, func, args)):
            # Shut down or broken: its own words for it.
            return super().run_in_executor(executor, func, *args)
        return future

    def set_default_executor(self, executor: concurrent.futures.Executor) -> None:
        """Set what run_in_executor(None, …) uses: any Executor, where asyncio takes thread pools only."""
        if not isinstance(executor, concurrent.futures.Executor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    # What asyncio's classes open for themselves, and the native loop has.

    def _make_self_pipe(self) -> None:
        """Nothing to make: other threads wake the native loop."""

    def _add_callback(self, handle: asyncio.Handle) -> None:
        """Run a handle that was made elsewhere in the next turn."""
        if not handle.cancelled():
            self.call_soon(handle._run)

    def _add_callback_signalsafe(self, handle: asyncio.Handle) -> None:
        """The same, from a signal handler."""
        self._add_callback(handle)
        self._write_to_self()

    # Signals.

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call callback(*args) in the loop whenever the signal arrives. Main thread only."""
        if coroutines.iscoroutine(callback) or _iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        try:
            # Checks that this is the main thread, before anything is changed.
            signal.set_wakeup_fd(self._signal_fd())
        except (ValueError, OSError) as exc:
            raise RuntimeError(str(exc))  # noqa: B904 - its context, and no cause, as in asyncio
        self._signal_handlers[sig] = self._add_signal(sig, callback, *args)
        try:
            # The C handler writes the number to the wake-up descriptor, whatever the Python handler is.
            signal.signal(sig, _noop)
            signal.siginterrupt(sig, False)
        except OSError as exc:
            self._forget_signal(sig)
            if exc.errno == 22:
                raise RuntimeError(f"sig {sig} cannot be caught")  # noqa: B904 - as above
            raise

    def remove_signal_handler(self, sig: int) -> bool:
        """Give the signal back to its default. False if it had no handler here."""
        self._check_signal(sig)
        if sig not in self._signal_handlers:
            return False
        self._forget_signal(sig)
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        return True

    def _forget_signal(self, sig: int) -> None:
        del self._signal_handlers[sig]
        self._remove_signal(sig)
        if not self._signal_handlers and not self.is_running():
            try:
                signal.set_wakeup_fd(-1)
            except ValueError:  # not the main thread: it was never set from here
                pass

    # Sockets.

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        waiter: "asyncio.Future[None] | None" = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = constants.SSL_SHUTDOWN_TIMEOUT,
        context: contextvars.Context | None = None,
    ) -> asyncio.Transport:
        self._ensure_fd_no_transport(rawsock)
        tls = _tls_protocol()(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        _roundel.SocketTransport(self, rawsock, tls, None, extra, server, context)
        return tls._app_transport  # type: ignore[no-any-return]

    async def start_tls(
        self,
        transport: asyncio.BaseTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport | None:
        """Upgrade a transport to TLS; returns the one to use from now on. Cancelled, it closes the connection."""
        # asyncio's own, as it is in the running version, with the native protocol where it looks for the stock one.
        own = _Asyncio.start_tls
        names = {**vars(base_events), "sslproto": _Sslproto}
        start_tls = types.FunctionType(own.__code__, names, own.__name__, own.__defaults__)
        return await start_tls(  # type: ignore[no-any-return]
            self,
            transport,
            protocol,
            sslcontext,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        address: Any = None,
        waiter: "asyncio.Future[None] | None" = None,
        extra: dict[str, Any] | None = None,
    ) -> "_roundel.SocketDatagramTransport":
        self._ensure_fd_no_transport(sock)
        return _roundel.SocketDatagramTransport(self, sock, protocol, address, waiter, extra)

    # Pipes.

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: "asyncio.Future[None] | None" = None,
        extra: dict[str, Any] | None = None,
    ) -> "_roundel.ReadPipeTransport":
        return _roundel.ReadPipeTransport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: "asyncio.Future[None] | None" = None,
        extra: dict[str, Any] | None = None,
    ) -> "_roundel.WritePipeTransport":
        return _roundel.WritePipeTransport(self, pipe, protocol, waiter, extra)

    # Child processes.

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> asyncio.SubprocessTransport:
        # Here, as a program that starts no child need not wait for these modules.
        from roundel import _children, _spawn

        if _children.watcher_of_the_program() is not None:
            inherited = super()._make_subprocess_transport  # type: ignore[misc]
            return await inherited(  # type: ignore[no-any-return]
                protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
            )
        self._send_held()
        waiter = self.create_future()
        options = {"stdin": stdin, "stdout": stdout, "stderr": stderr, "bufsize": bufsize, **kwargs}
        process = _spawn.start(args, shell=shell, universal_newlines=False, **options)
        child = _children.SubprocessTransport(self, protocol, process, waiter, extra)
        _children.when_ended(self, child.get_pid(), child._process_exited)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            # The pipes could not be connected, or whoever waits was cancelled: no child is left behind.
            child.close()
            await child._wait()
            raise
        return child

    # Names.

    @property
    def getaddrinfo_cache_seconds(self) -> float:
        """For how long getaddrinfo() keeps an answer, in seconds. 0, the default: not at all."""
        return self._names.seconds if self._names is not None else 0.0

    @getaddrinfo_cache_seconds.setter
    def getaddrinfo_cache_seconds(self, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"seconds must be 0 or more, not {seconds!r}")
        from roundel._names import NameCache

        self._names = NameCache(seconds) if seconds else None

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """Look a name up in a thread, as asyncio does, or in the cache if that is switched on."""
        if self._names is None:
            return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        question = (host, port, family, type, proto, flags)
        answer = self._names.get(question)
        if answer is None:
            answer = await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
            if self._names is not None:
                self._names.put(question, answer)
        return answer


_STOCK_TLS = sslproto.SSLProtocol


def _tls_protocol() -> Any:
    """The class of TLS connections: native, unless a program has put one of its own in the place of asyncio's."""
    return _roundel.SSLProtocol if sslproto.SSLProtocol is _STOCK_TLS else sslproto.SSLProtocol


class _Sslproto:
    """What `start_tls` finds where it looks for `asyncio.sslproto`."""

    SSLProtocol = staticmethod(lambda *args, **kwargs: _tls_protocol()(*args, **kwargs))


class _WakeupFd:
    """Makes signals wake the loop for the length of a run, unless the program uses the wake-up descriptor itself."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_set = False

    def set(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.set_wakeup_fd(self._fd, warn_on_full_buffer=False)
        if previous in (-1, self._fd):
            self._is_set = True
        else:
            signal.set_wakeup_fd(previous)

    def restore(self) -> None:
        if not self._is_set:
            return
        current = signal.set_wakeup_fd(-1)
        if current not in (-1, self._fd):
            signal.set_wakeup_fd(current)


def _noop(signum: int, frame: object) -> None:
    """What a signal with a handler in the loop does outside it."""
