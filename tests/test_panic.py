"""A panic in Rust becomes an exception that says where, and the loop goes on."""

import asyncio
import re

import pytest

import roundel
from roundel._roundel import InternalError

PLACE = r"panic at crates/py/src/event_loop/run\.rs:\d+:\d+: on request"


@pytest.fixture
def loop():
    loop = roundel.Loop()
    yield loop
    loop.close()


def test_it_is_raised_where_it_happened(loop, capfd):
    with pytest.raises(InternalError, match=PLACE):
        loop._panic()
    assert issubclass(InternalError, RuntimeError)
    assert "panicked at" in capfd.readouterr().err


def test_in_a_callback_it_is_reported_and_the_loop_goes_on(loop, capfd):
    reports, ran = [], []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    loop.call_soon(loop._panic)
    loop.call_soon(ran.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ran == [1]
    [context] = reports
    assert isinstance(context["exception"], InternalError)
    assert re.fullmatch(PLACE, str(context["exception"]))
    assert context["message"].startswith("Exception in callback")


def test_in_a_task_it_is_the_tasks_exception(loop, capfd):
    async def main():
        with pytest.raises(InternalError):
            loop._panic()
        await asyncio.sleep(0)
        loop._panic()

    with pytest.raises(InternalError, match=PLACE):
        loop.run_until_complete(main())
    assert loop.run_until_complete(asyncio.sleep(0, "still alive")) == "still alive"
