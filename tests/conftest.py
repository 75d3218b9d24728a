"""Settings that every test shares: how many cases Hypothesis draws, and from which seed."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from tests.order import slowest_first
from tests.sizes import FULL

# A shell that starts this in the background has interrupts ignored, and so would every process that
# a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shell may say so for its own reasons; here each of some two hundred processes would compile all
# of our modules anew, for a second of processor time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Small runs draw the same cases every time, so that a failure is the change's and not the dice's.
settings.register_profile("small", max_examples=30, derandomize=True, database=None, deadline=None)
settings.register_profile("full", max_examples=1000, print_blob=True, deadline=None)
settings.load_profile("full" if FULL else "small")


def pytest_report_header() -> str:
    return f"size: {'full' if FULL else 'small'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have several processes take whole files in this order, as the Makefile asks for."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        rank = {path: n for n, path in enumerate(slowest_first(one.path for one in items))}
        items.sort(key=lambda one: rank[one.path])
