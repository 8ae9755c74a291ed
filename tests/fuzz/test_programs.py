"""Random programs in virtual time: on every loop the same trace, the same times, the same reports.

Owns: comparing the runs, and the ways a program's tasks are made. Leaves out: the programs (operations.py, program.py).
Trade: with roundel missing, asyncio is compared with itself, which shows that no program depends on chance.
"""

import asyncio

import pytest
from budget import examples
from hypothesis import given
from operations import programs
from program import Program

from kinds import ASYNCIO, KINDS, PY312


def compare(program, **how):
    expected = Program(ASYNCIO, program, **how).run()
    assert expected[0]
    for kind in KINDS:
        assert Program(kind, program, **how).run() == expected, kind.name


def eager(kind):
    """Every task begins at once."""
    return lambda loop, coro, **kwargs: kind.Task(coro, loop=loop, **{"eager_start": True, **kwargs})


def by_turns(kind):
    """Every other task is asyncio's own, whatever the loop."""
    made = []

    def factory(loop, coro, **kwargs):
        made.append(None)
        return (kind.Task if len(made) % 2 else asyncio.Task)(coro, loop=loop, **kwargs)

    return factory


@examples(300)
@given(programs)
def test_programs(program):
    compare(program)


@examples(150)
@given(programs)
def test_programs_in_debug_mode(program):
    compare(program, debug=True)


@examples(150)
@given(programs)
def test_programs_with_tasks_of_both_kinds(program):
    compare(program, factory=by_turns)


@pytest.mark.skipif(not PY312, reason="eager tasks came with 3.12")
@examples(200)
@given(programs)
def test_programs_with_eager_tasks(program):
    compare(program, factory=eager)
