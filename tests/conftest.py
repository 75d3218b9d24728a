"""Settings that every test shares: how many cases Hypothesis draws, and from which seed."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Leave our loggers as they were: a command that speaks for itself makes its process silent."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("qwen3_router")]
    kept = [
        (log, log.level, log.disabled, log.propagate, log.handlers[:])
        for log in map(logging.getLogger, {"qwen3_router", *names})
    ]
    try:
        return (yield)
    finally:
        for log, level, disabled, propagate, handlers in kept:
            log.setLevel(level)
            log.disabled, log.propagate, log.handlers = disabled, propagate, handlers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have several processes take whole files in this order, as the Makefile asks for."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        rank = {path: n for n, path in enumerate(slowest_first(one.path for one in items))}
        items.sort(key=lambda one: rank[one.path])
