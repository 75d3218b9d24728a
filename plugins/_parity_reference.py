"""A recorded reference: the vectors of the probe texts, as a file that an operator commits.

JSON with the vectors as base64 of little-endian float16, which moves a cosine by less than 1e-6.
The same vectors as signed bytes, which moves one by less than 1e-4, are small enough for a note.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from plugins._parity_texts import PROBES, SHA256
from plugins._readiness import StartError
from plugins._vectors import NATIVE, Matrix
from router_config import Config, lineage_of

__all__ = ["Reference", "UnreadableError", "from_note", "read", "recorded", "to_note", "write"]

FORMAT = "qwen3-router parity reference, version 1"
_MOST_BYTES = 4_000_000


class UnreadableError(StartError):
    """The file cannot be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Unit vectors, float32, by the name of their probe text.

    *revision* is part of the space's name and grows when a recording is of another space than the
    one before; *lineage* tells apart what was never recorded one after the other. *recorded* is a
    date and time in UTC, *source* the deployment it came from.
    """

    rows: Mapping[str, Matrix]
    revision: int = 1
    recorded: str = ""
    source: str = ""
    lineage: str = ""

    @property
    def name(self) -> str:
        """The part of the space's name that is its own, such as `r1-5b0c21fe`."""
        return f"r{self.revision}-{self.lineage}" if self.lineage else f"r{self.revision}"


def write(reference: Reference) -> bytes:
    """Return the file that holds *reference*."""
    vectors = {
        name: base64.b64encode(row.astype("<f2").tobytes()).decode()
        for name, row in reference.rows.items()
    }
    head = {
        "format": FORMAT,
        "model": "Qwen/Qwen3-Embedding-8B",
        "revision": reference.revision,
        "dimensions": NATIVE,
        "recorded": reference.recorded,
        "from": reference.source,
        "texts_sha256": SHA256,
        "space": reference.lineage or lineage_of({"vectors": vectors}),
        "vectors": vectors,
    }
    return orjson.dumps(head, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read(path: Path) -> Reference:
    """Return the reference in the file *path*.

    Raises:
        UnreadableError: it is not there, is not such a file, or belongs to other texts.
    """
    again = 'record it anew: "qwen3-router parity record --from ID"'
    try:
        with path.open("rb") as file:
            data = orjson.loads(file.read(_MOST_BYTES))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UnreadableError(f"{path}: cannot be read ({reason}); {again}") from None
    except orjson.JSONDecodeError:
        raise UnreadableError(f"{path}: not JSON; {again}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UnreadableError(f"{path}: not a reference of parity; {again}")
    if data.get("texts_sha256") != SHA256 or data.get("dimensions") != NATIVE:
        raise UnreadableError(f"{path}: recorded for other texts than this release probes; {again}")
    revision, vectors = data.get("revision"), data.get("vectors")
    if not isinstance(revision, int) or revision < 1 or not isinstance(vectors, dict):
        raise UnreadableError(f"{path}: revision or vectors are missing; {again}")
    try:
        rows = {name: _row(vectors[name]) for name in PROBES}
    except (KeyError, ValueError, binascii.Error, TypeError):
        raise UnreadableError(f"{path}: a vector is missing or damaged; {again}") from None
    at, source = str(data.get("recorded", "")), str(data.get("from", ""))
    return Reference(rows, revision, at, source, lineage_of(data))


def recorded(config: Config) -> dict[str, Reference]:
    """Return the recorded reference of each group that names one; a file is read once.

    Raises:
        UnreadableError: a file cannot be used.
    """
    files = {one.parity.reference for one in config.groups.values() if one.parity.reference}
    read_ = {path: read(path) for path in files}
    return {
        name: read_[one.parity.reference]
        for name, one in config.groups.items()
        if one.parity.reference
    }


def _row(text: str) -> Matrix:
    row = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2").astype(np.float32)
    length = float(np.linalg.norm(row))
    if row.shape != (NATIVE,) or not np.isfinite(length) or not 0.9 < length < 1.1:
        raise ValueError("not a unit vector")
    return (row / length).astype(np.float32)


def to_note(reference: Reference) -> bytes:
    """Return *reference* as a short note for other processes."""
    names = list(reference.rows)
    head = {"names": names, "revision": reference.revision, "source": reference.source}
    rows = [
        np.rint(row * (127 / np.abs(row).max())).astype(np.int8) for row in reference.rows.values()
    ]
    return orjson.dumps(head) + b"\n" + b"".join(row.tobytes() for row in rows)


def from_note(note: bytes) -> Reference | None:
    """Return the reference in *note*, or None if it is not one of this release's texts."""
    head, _, body = note.partition(b"\n")
    try:
        said = orjson.loads(head)
        names, revision, source = said["names"], said["revision"], said["source"]
        table = np.frombuffer(body, dtype=np.int8).reshape(len(names), NATIVE).astype(np.float32)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    lengths = np.linalg.norm(table, axis=1)
    if set(names) - set(PROBES) or not isinstance(revision, int) or not lengths.all():
        return None
    return Reference(
        {name: row / length for name, row, length in zip(names, table, lengths, strict=True)},
        revision,
        source=str(source),
    )
