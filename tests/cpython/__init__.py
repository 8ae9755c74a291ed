"""CPython's own asyncio tests, run on another loop.

    python -m tests.cpython                     roundel's loop, Task and Future
    python -m tests.cpython --stock             the interpreter's own: every test must pass
    python -m tests.cpython test_tasks test_events --list-failures

The tests are those of the package ``test.test_asyncio`` installed with the running interpreter;
none is copied here. They are written as mixins with hooks (``create_event_loop``, ``new_loop``,
``Task``, ``Future``, ``cls``), and that is where the subject goes in.

===================  ==========================================================================
``subject``          what is tested, and how it becomes the loop that asyncio makes
``suites``           which test classes of which module, with what in their hooks
``not_applicable``   tests that ask for private names of the standard loop, each with its reason
``worker``           the process that runs the tests of one module
``supervisor``       starts workers again after a test that hung or crashed one
``__main__``         the command line and the table
===================  ==========================================================================

Trade: one process for each module and one more for each hang or crash, so a run takes a minute or
two more than ``python -m test test_asyncio``; in return no test can take others down with it.
"""
