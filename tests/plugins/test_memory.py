"""Freed memory is kept for what comes next, unless the operator says otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from plugins._memory import keep_freed

_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")

# Page faults of what a reply of 32 vectors takes and frees, over and over.
_WORK = """
import resource
from plugins._memory import keep_freed
kept = {kept} and keep_freed({{}})
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work(): return b"".join([bytes(45_000) for _ in range(32)])
work()
before = faults()
for _ in range(50): work()
print(kept, faults() - before)
"""


def page_faults(*, kept: bool) -> int:
    run = [sys.executable, "-c", _WORK.format(kept=kept)]
    said, faults = subprocess.run(run, capture_output=True, check=True, text=True).stdout.split()
    if kept and said == "False":
        pytest.skip("another C library than glibc")
    return int(faults)


@_LINUX
def test_what_was_freed_is_not_taken_from_the_system_again() -> None:
    assert page_faults(kept=True) < page_faults(kept=False) / 4


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD"])
def test_an_operator_who_sets_the_allocator_is_left_alone(name: str) -> None:
    assert not keep_freed({name: "set"})
