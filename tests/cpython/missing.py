"""CPython's tests of what roundel does not have yet, by feature.

A list that gets shorter: whoever builds a feature takes its lines away. ``--include-missing`` runs
these tests too and counts those that pass already. On the stock loop the list has no effect.
Patterns are matched against ``module.Class.test``.
"""

from fnmatch import fnmatchcase

FEATURES: dict[str, tuple[str, ...]] = {
    "TLS": (
        "test_ssl.*",
        "test_sslproto.*",
        "test_events.*.test_create_*ssl*",
        "test_events.*.test_ssl_*",
        "test_streams.*ssl*",
        "test_streams.*tls*",
    ),
    "Unix sockets": (
        "test_events.*.test_create_unix_*",
        "test_server.*unix*",
        "test_streams.*unix*",
        "test_unix_events.SelectorEventLoopUnixSocketTests.*",
    ),
    "UDP": ("test_events.*datagram*", "test_base_events.*datagram*"),
    "pipes": ("test_events.*.test_*pipe*", "test_events.*.test_*pty*"),
    "subprocesses": (
        "test_subprocess.*",
        "test_events.*.test_subprocess_*",
        "test_unix_events.*.test_fork_asyncio_subprocess",
    ),
    "sendfile": ("test_sendfile.*", "test_base_events.BaseLoopSockSendfileTests.*"),
    "connect_accepted_socket": ("test_events.*.test_connect_accepted_socket*",),
}


def feature_of(test: str) -> str | None:
    """The missing feature that a test, given as ``module.Class.test``, is about, or None."""
    for feature, patterns in FEATURES.items():
        if any(fnmatchcase(test, pattern) for pattern in patterns):
            return feature
    return None
