"""What an emulator knows about a text: hash, tokens, vector and the vector's written form.

All of it is kept per text, because writing 4096 numbers as JSON costs far more than sending them:
a reply is then a join of ready pieces.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from . import tokens
from .standin import NATIVE, Mode, vectors

__all__ = ["Form", "Text", "Texts", "Written", "write"]

# float32: the shortest digits of a float32, as Rust and Go servers print; float64: a float32
# printed as a double, as Python servers do. Both parse to the same float32.
Written = Literal["float32", "float64", "base64"]

_LIMIT_BYTES = 192 * 1024 * 1024
# Texts written between two looks at the sockets.
_BATCH = 64


class Form(NamedTuple):
    """What a provider makes of the model's vector before it writes it.

    *length* numbers, zeros beyond the native 4096; made unit length again if *renormalise*; times
    a number of the text's own if *scaled*, as from a server that does not normalise.
    """

    written: Written = "float32"
    length: int = NATIVE
    renormalise: bool = True
    scaled: bool = False
    seed: int = 0


class Text:
    """One input text. *tokens* includes the end token."""

    __slots__ = ("bytes_kept", "pieces", "rows", "sha256", "text", "tokens")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        self.tokens = tokens.count(text)
        self.rows: dict[int, NDArray[np.float64]] = {}
        self.pieces: dict[Form, bytes] = {}
        self.bytes_kept = 2 * len(text) + 1000

    def row(self, form: Form) -> NDArray[np.float32]:
        """Return the vector in *form*; its native row must be known."""
        row = self.rows[form.seed][: form.length]
        if form.renormalise and form.length < NATIVE:
            row = row / np.linalg.norm(row)
        if form.length > NATIVE:
            row = np.concatenate([row, np.zeros(form.length - NATIVE)])
        if form.scaled:
            row = row * (3.0 + int(self.sha256[:2], 16) / 16)
        return row.astype(np.float32)


class Texts:
    """The texts of one sandbox, the least used forgotten first."""

    def __init__(self, mode: Mode, seed: int = 0, *, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._mode = mode
        self._seed = seed
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._known: OrderedDict[str, Text] = OrderedDict()
        # One thread: the model is busy anyway, and the event loop stays free for faults.
        self._pool = ThreadPoolExecutor(1, "stand-in") if mode == "e5" else None

    def of(self, texts: Sequence[str]) -> list[Text]:
        """Return what is known of *texts*, counting tokens where that is new."""
        return [self._of(text) for text in texts]

    async def rows(self, texts: Sequence[Text], form: Form) -> list[NDArray[np.float32]]:
        """Return the vectors of *texts* in *form*."""
        await self._compute([text for text in texts if form.seed not in text.rows], form.seed)
        return [text.row(form) for text in texts]

    async def pieces(self, texts: Sequence[Text], form: Form) -> list[bytes]:
        """Return the JSON value of each vector in *form*, from memory where possible."""
        missing = [text for text in texts if form not in text.pieces]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            await self._compute([text for text in batch if form.seed not in text.rows], form.seed)
            for text in batch:
                piece = write(text.row(form), form.written)
                text.pieces[form] = piece
                self._keep(text, len(piece))
            await asyncio.sleep(0)
        return [text.pieces[form] for text in texts]

    def _of(self, text: str) -> Text:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = Text(text)
            self._bytes += known.bytes_kept
            self._forget()
        else:
            self._known.move_to_end(text)
        return known

    async def _compute(self, texts: Sequence[Text], seed: int) -> None:
        if not texts:
            return
        wanted = [text.text for text in texts]
        if self._pool is None:
            computed = vectors(wanted, mode=self._mode, seed=self._seed + seed)
        else:
            computed = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: vectors(wanted, mode=self._mode, seed=self._seed + seed)
            )
        for text, row in zip(texts, computed, strict=True):
            if seed not in text.rows:
                text.rows[seed] = row.copy()  # not a view that holds its whole batch
                self._keep(text, row.nbytes)

    def _keep(self, text: Text, more_bytes: int) -> None:
        # A request may still hold a text that is already forgotten; that is not ours to count.
        if self._known.get(text.text) is text:
            text.bytes_kept += more_bytes
            self._bytes += more_bytes
            self._forget()

    def _forget(self) -> None:
        while self._bytes > self._limit_bytes and len(self._known) > 1:
            _, old = self._known.popitem(last=False)
            self._bytes -= old.bytes_kept


def write(row: NDArray[Any], written: Written) -> bytes:
    """Return *row* as a JSON value; a NaN becomes null, as in the servers that let it pass."""
    if written == "base64":
        return b'"' + base64.b64encode(row.astype("<f4").tobytes()) + b'"'
    kind = np.float64 if written == "float64" else np.float32
    return orjson.dumps(row.astype(kind), option=orjson.OPT_SERIALIZE_NUMPY)
