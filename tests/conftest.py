"""Settings that every test shares: how many cases Hypothesis draws, and from which seed."""

from __future__ import annotations

import signal

from hypothesis import settings

from tests.sizes import FULL

# A shell that starts this in the background has interrupts ignored, and so would every process that
# a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Small runs draw the same cases every time, so that a failure is the change's and not the dice's.
settings.register_profile("small", max_examples=30, derandomize=True, database=None, deadline=None)
settings.register_profile("full", max_examples=1000, print_blob=True, deadline=None)
settings.load_profile("full" if FULL else "small")


def pytest_report_header() -> str:
    return f"size: {'full' if FULL else 'small'}"
