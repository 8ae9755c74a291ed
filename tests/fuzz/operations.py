"""What random programs are made of: Hypothesis's strategies for bodies of coroutines and of callbacks.

Owns: the vocabulary, as plain tuples, so that a failing program prints as data. Leaves out: what the words do
(words.py for callbacks, program.py for coroutines).
Trade: all words share a few slots for futures, tasks, handles and delays. That makes them meet.
"""

from hypothesis import strategies as st
from weights import weighted, word

SLOTS = 3

slots = st.integers(0, SLOTS - 1)
values = st.integers(0, 9)
delays = st.integers(-1, 6)
waits = st.tuples(
    st.sampled_from(["sleep", "event", "lock", "semaphore", "barrier", "put", "get", "join", "wait_for"]), delays
)
hows = st.sampled_from(["await", "wait_for", "shield", "gather", "as_completed", "group", "task"])


def actions(depth):
    """What a callback does: nothing in it waits."""
    plain = [
        word("note", values),
        word("future", slots),
        word("set_result", slots, values),
        word("set_exception", slots, values),
        word("cancel_future", slots),
        word("look_future", slots),
        word("cancel_task", slots),
        word("look_task", slots),
        word("cancel_handle", slots),
        word("look_handle", slots),
        word("event_set"),
        word("event_clear"),
        word("put_nowait", values),
        word("get_nowait"),
        word("release"),
        word("release_lock"),
        word("task_done"),
        word("look"),
        word("concurrent_result", values),
        word("set_variable", values),
        word("raise", values),
        word("raise_cancelled"),
        word("stop"),
    ]
    if depth == 0:
        return st.lists(st.one_of(plain), min_size=1, max_size=3)
    nested = [
        word("call_soon", slots, actions(depth - 1)),
        word("call_soon_threadsafe", slots, actions(depth - 1)),
        word("call_later", slots, delays, actions(depth - 1)),
        word("done_callback", slots, st.booleans(), actions(depth - 1)),
        word("remove_callbacks", slots, st.booleans()),
        word("create_task", slots, st.booleans(), bodies(depth - 1)),
        word("threadsafe_coroutine", bodies(depth - 1)),
    ]
    return st.lists(weighted((1, st.one_of(plain)), (1, st.one_of(nested))), min_size=1, max_size=3)


def bodies(depth):
    """What a coroutine does."""
    plain = [
        word("turn"),
        word("sleep", delays),
        word("await_future", slots),
        word("await_task", slots),
        word("shield", slots),
        word("wait_for_future", slots, delays),
        word("wait", slots, slots, st.sampled_from(["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"]), delays),
        word("gather", slots, slots, st.booleans()),
        word("as_completed", slots, slots, delays),
        word("event_wait"),
        word("lock", delays),
        word("semaphore", delays),
        word("condition_wait"),
        word("condition_wait_for", values),
        word("condition_notify", values),
        word("barrier"),
        word("barrier_end", st.sampled_from(["abort", "reset"])),
        word("put", values),
        word("get"),
        word("join"),
        word("concurrent_wait"),
        word("one_wait", waits, hows, delays),
        word("generator", values, delays, st.booleans()),
        word("cancel_self"),
        word("uncancel"),
        word("return", values),
        word("throw", values),
    ]
    choices = [(4, st.one_of(plain)), (3, word("do", actions(depth)))]
    if depth > 0:
        inner = bodies(depth - 1)
        nested = [
            word("catch", st.booleans(), inner),
            word("finally", inner, inner),
            word("timeout", delays, inner),
            word("nested_timeout", delays, delays, inner),
            word("wait_for", delays, inner),
            word("shield_new", inner),
            word("gather_new", st.booleans(), inner, inner),
            word("as_completed_new", delays, inner),
            word("group", inner, inner, inner),
            word("in_context", values, inner),
        ]
        choices.append((2, st.one_of(nested)))
    return st.lists(weighted(*choices), min_size=1 + depth, max_size=2 + 3 * depth)


programs = st.lists(bodies(2), min_size=1, max_size=4)
