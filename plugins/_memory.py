"""Memory that is freed is kept for the next reply, where the allocator is glibc's.

By default glibc gives the top of the heap back to the system as soon as 128 KB of it are free, and
maps each larger block anew. A reply with 32 vectors takes and frees some megabytes several times,
and every page of them was then taken from the system again, one fault each: a quarter of the time
that printing the numbers took.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

__all__ = ["keep_freed"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 64 * 1024 * 1024
_MAPPED_FROM_BYTES = 32 * 1024 * 1024  # the most that glibc takes
_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "LD_PRELOAD")


def keep_freed(environ: Mapping[str, str] = os.environ) -> bool:
    """Have up to 64 MB of free memory kept; tell whether that was done.

    Left alone where the operator has set the allocator's thresholds, or put another in its place.
    """
    if not sys.platform.startswith("linux") or any(name in environ for name in _SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    set_both = [
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES),
        mallopt(_MMAP_THRESHOLD, _MAPPED_FROM_BYTES),
    ]
    return all(set_both)
