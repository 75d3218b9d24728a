"""What all processes of a fleet know together: small notes and leases, in the store of the ledger.

Health, parity and the probes tell each other through it. Nothing in it is precious: it is written
without a wait for the disk, may be lost at any time, and whoever uses it goes on alone then.
"""

from __future__ import annotations

import os
import secrets
import socket
from typing import Protocol

__all__ = [
    "KEEP_S",
    "MAX_BYTES",
    "Shared",
    "SharedAwayError",
    "checked",
    "has_ended",
    "process_name",
]

# A deleted note is remembered for this long, so that a process which was away hears of it.
KEEP_S = 86_400.0
MAX_BYTES = 65_536


class SharedAwayError(Exception):
    """The store cannot be reached or used now; the text holds no credentials."""


class Shared(Protocol):
    """One store as seen by one process. All methods but `close` raise `SharedAwayError`."""

    async def put(self, name: str, value: bytes | None, *, seen: int | None = None) -> int:
        """Write the note *name*, or delete it, and return its version.

        With *seen* nothing is written, and 0 returned, if the note is newer than that version.
        Versions grow with every write of anybody, also when the store was emptied meanwhile.

        Raises:
            ValueError: *value* has more than `MAX_BYTES`.
        """

    async def since(self, version: int) -> tuple[int, dict[str, bytes | None]]:
        """Return the newest version, and the notes that are newer than *version*.

        None stands for a deleted note. A store that was emptied gives everything that it has.
        """

    async def lease(self, name: str, owner: str, ttl_s: float) -> bool:
        """Take or renew the lease *name* for *ttl_s*; True if *owner* has it.

        With *ttl_s* 0 the owner gives it back.
        """

    async def now(self) -> float:
        """Return the store's clock, in seconds since 1970: the one clock that all share."""

    async def close(self) -> None:
        """Let go of the store."""


def process_name() -> str:
    """Return a name for this process that no other has: machine, process id, and a little chance.

    A machine may give the same id again, and containers often share both.
    """
    return f"{_host()}.{os.getpid()}.{secrets.token_hex(3)}"


def has_ended(name: str) -> bool:
    """Tell whether the process of that name was one of this machine and is no more."""
    host, _, rest = name.partition(".")
    pid = rest.partition(".")[0]
    if host != _host() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _host() -> str:
    return socket.gethostname().partition(".")[0][:40] or "localhost"


def checked(value: bytes | None) -> bytes | None:
    """Return *value*. Raises ValueError if it is too large."""
    if value is not None and len(value) > MAX_BYTES:
        raise ValueError(f"a note of {len(value)} bytes; at most {MAX_BYTES} are kept")
    return value
