"""Vectors that were computed before, in memory: found by a keyed hash of the text, never the text.

One block of float32 rows, so that its size is exact and nothing is fragmented, and beside it the
printed form of those that are asked for again and again: writing 4096 numbers costs more than all
else of a hit. Half of the room is for either.

Rows are kept in two lists. A new one is on trial, and whoever is asked for again moves to the kept
ones, which only their own kind pushes out. An indexing job, which asks for every text once, would
sweep through a plain list of the least recently used and leave nothing of what queries share.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Cache", "Entry", "Form"]

Matrix = npt.NDArray[np.float32]
Form = tuple[int, str]
"""Dimensions and encoding: what a printed vector depends on beside its text."""

_NUMBERS = 4096
_ROW_BYTES = _NUMBERS * 4 + 512  # with its share of the tables
_PIECE_BYTES = 256  # what a printed vector costs beside its bytes
_TRIAL_SHARE = 5  # one row of five is on trial


@dataclass(slots=True)
class Entry:
    """One vector: the endpoint, deployment and region that it came from, its row, what is printed.

    *printed* is changed by `Cache` alone.
    """

    key: bytes
    endpoint: str
    deployment: str
    region: str
    row: int
    printed: dict[Form, bytes] = field(default_factory=dict)


class Cache:
    """At most *max_bytes* of vectors of one process."""

    def __init__(self, max_bytes: int) -> None:
        self._secret = secrets.token_bytes(32)
        self._most = max(1, max_bytes // 2 // _ROW_BYTES)
        self._most_kept = self._most - max(1, self._most // _TRIAL_SHARE)
        # Untouched pages take no memory, so an idle cache is free.
        self._rows: Matrix = np.empty((self._most, _NUMBERS), dtype=np.float32)
        self._free = list(range(self._most - 1, -1, -1))
        self._trial: OrderedDict[bytes, Entry] = OrderedDict()
        self._kept: OrderedDict[bytes, Entry] = OrderedDict()
        self._printed: OrderedDict[tuple[bytes, Form], Entry] = OrderedDict()
        self._most_printed_bytes = max_bytes - max_bytes // 2
        self._printed_bytes = 0
        self._banned: set[str] = set()
        self.hits = self.misses = 0

    def key(self, space: str, text: str) -> bytes:
        """Return the name of *text* in *space*; the secret of this process keeps it from guesses.

        *text* is the text as a provider gets it, so an instruction makes another name.
        """
        said = f"{len(space)}:{space}{text}".encode()
        return hashlib.blake2b(said, digest_size=16, key=self._secret).digest()

    def find(
        self,
        key: bytes,
        region: str | None,
        unfit: Callable[[str], str | None] = lambda _: None,
    ) -> Entry | None:
        """Return what is known under *key*.

        For a *region*, only what was computed there; *unfit* tells why nothing of an endpoint is
        taken, or None.
        """
        entry = self._of(key)
        if entry is None or region not in (None, entry.region) or unfit(entry.endpoint):
            self.misses += 1
            return None
        self.hits += 1
        if key in self._kept:
            self._kept.move_to_end(key)
            return entry
        del self._trial[key]
        self._kept[key] = entry
        if len(self._kept) > self._most_kept:
            oldest = next(iter(self._kept))
            self._trial[oldest] = self._kept.pop(oldest)  # on trial again
        return entry

    def rows(self, entries: Sequence[Entry]) -> Matrix:
        """Return a copy of the vectors of *entries*, float32 of shape (n, 4096)."""
        taken: Matrix = self._rows[[entry.row for entry in entries]]
        return taken

    def keep(
        self,
        keys: Sequence[bytes],
        rows: Matrix,
        *,
        endpoint: str,
        deployment: str,
        region: str,
    ) -> None:
        """Keep checked *rows*, float32 of shape (len(keys), 4096), under *keys*."""
        if endpoint in self._banned:
            return
        for key, row in zip(keys, rows, strict=True):
            self._forget(key)  # it may be of another endpoint, and so printed otherwise
            entry = Entry(key, endpoint, deployment, region, self._room())
            self._rows[entry.row] = row
            self._trial[key] = entry

    def printed(self, entry: Entry, form: Form) -> bytes | None:
        """Return the JSON of the vector of *entry* in *form*, if it was printed before."""
        piece = entry.printed.get(form)
        if piece is not None:
            self._printed.move_to_end((entry.key, form))
        return piece

    def keep_printed(self, entry: Entry, form: Form, piece: bytes) -> None:
        """Keep the JSON of the vector of *entry*, as long as that is here itself."""
        if self._of(entry.key) is not entry or form in entry.printed:
            return
        self._printed[entry.key, form] = entry
        entry.printed[form] = piece
        self._printed_bytes += len(piece) + _PIECE_BYTES
        while self._printed_bytes > self._most_printed_bytes:
            (_, oldest), of = next(iter(self._printed.items()))
            self._drop_printed(of, oldest)

    def ban(self, endpoint: str) -> int:
        """Drop all that came from *endpoint* and take nothing more from it; return how many."""
        self._banned.add(endpoint)
        both = (self._trial, self._kept)
        gone = [key for part in both for key, one in part.items() if one.endpoint == endpoint]
        for key in gone:
            self._forget(key)
        return len(gone)

    def allow(self, endpoint: str) -> None:
        """Take vectors from *endpoint* again."""
        self._banned.discard(endpoint)

    def __len__(self) -> int:
        return len(self._trial) + len(self._kept)

    @property
    def used_bytes(self) -> int:
        """Return how much of the room is taken."""
        return len(self) * _ROW_BYTES + self._printed_bytes

    def _of(self, key: bytes) -> Entry | None:
        return self._kept.get(key) or self._trial.get(key)

    def _room(self) -> int:
        if not self._free:
            self._forget(next(iter(self._trial)))  # when all is taken, some are on trial
        return self._free.pop()

    def _forget(self, key: bytes) -> None:
        entry = self._trial.pop(key, None) or self._kept.pop(key, None)
        if entry is None:
            return
        self._free.append(entry.row)
        for form in list(entry.printed):
            self._drop_printed(entry, form)

    def _drop_printed(self, entry: Entry, form: Form) -> None:
        del self._printed[entry.key, form]
        self._printed_bytes -= len(entry.printed.pop(form)) + _PIECE_BYTES
