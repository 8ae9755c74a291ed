"""A cache of looked-up names, for programs that connect to the same hosts over and over. Off unless switched on."""

import time
from typing import Any

# More than this many names at once, and the oldest are looked up again.
_MOST = 1024


class NameCache:
    """What `getaddrinfo` answered, for a number of seconds. Errors are not kept."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._answers: dict[tuple[Any, ...], tuple[float, list[Any]]] = {}

    def get(self, question: tuple[Any, ...]) -> list[Any] | None:
        """The answer, if there is one that is young enough."""
        found = self._answers.get(question)
        if found is None:
            return None
        answered, answer = found
        if time.monotonic() - answered >= self.seconds:
            del self._answers[question]
            return None
        return list(answer)

    def put(self, question: tuple[Any, ...], answer: list[Any]) -> None:
        """Keep an answer."""
        self._answers.pop(question, None)
        while len(self._answers) >= _MOST:
            del self._answers[next(iter(self._answers))]
        self._answers[question] = (time.monotonic(), list(answer))
