"""What every fuzz test runs under: a guard against hangs that has patience for a long run, and cheap collections."""

import gc
import os

import patience
import pytest


@pytest.fixture(autouse=True)
def thaw():
    """Runs freeze what was there before them, so that collecting their own garbage is quick."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def hang_guard(request):
    """Instead of the guard that other tests have, whose time is for a whole test."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        patience.output = os.dup(2)
    yield
    patience.end()
    os.close(patience.output)
    patience.output = None
