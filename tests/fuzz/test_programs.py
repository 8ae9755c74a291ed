"""Random programs in virtual time: on every loop, and with native names, the same trace, times and reports.

Owns: comparing the runs, and the ways a program's tasks are made. Leaves out: the programs (operations.py, program.py).
Trade: with roundel missing, asyncio is compared with itself, which shows that no program depends on chance.
"""

import asyncio
from dataclasses import replace
from itertools import zip_longest

import pytest
from budget import examples
from hypothesis import given
from operations import programs
from program import Program

from kinds import ASYNCIO, KINDS, PY312


def ways():
    """Every loop with asyncio's names and with the native ones; and asyncio's loop with both, and tasks of roundel's
    wherever the program has a say in what its tasks are."""
    yield from ((kind, False) for kind in KINDS[-1:])
    for kind in KINDS[1:]:
        yield kind, True
        yield replace(ASYNCIO, name="asyncio", Task=kind.Task), True


def first_difference(got, expected):
    """Where they part, since a trace is hundreds of lines."""
    for ours, theirs in zip(got, expected, strict=True):
        for place, (one, other) in enumerate(zip_longest(ours, theirs)):
            if one != other:
                return f"{ours[max(place - 3, 0) : place]}, then {one}, expected {other}"
    return None


def compare(program, **how):
    expected = Program(ASYNCIO, program, **how).run()
    assert expected[0]
    for kind, natives in ways():
        names = "native names" if natives else "asyncio's names"
        got = Program(kind, program, natives=natives, **how).run()
        assert got == expected, f"{kind.name}, {names}: {first_difference(got, expected)}"


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


@examples(240)
@given(programs)
def test_programs(program):
    compare(program)


@examples(120)
@given(programs)
def test_programs_in_debug_mode(program):
    compare(program, debug=True)


@examples(120)
@given(programs)
def test_programs_with_tasks_of_both_kinds(program):
    compare(program, factory=by_turns)


@pytest.mark.skipif(not PY312, reason="eager tasks came with 3.12")
@examples(150)
@given(programs)
def test_programs_with_eager_tasks(program):
    compare(program, factory=eager)
