"""Choosing among strategies by weight, which Hypothesis's `one_of` cannot: it takes equal ones for one."""

from hypothesis import strategies as st


def weighted(*choices):
    """One of several strategies, as often as the number before it says against the others' numbers."""
    return st.sampled_from([strategy for weight, strategy in choices for _ in range(weight)]).flatmap(lambda each: each)


def word(name, *arguments):
    """A word of a script: its name, and what the strategies give."""
    return st.tuples(st.just(name), *arguments)
