"""What faults do to a good answer: to its numbers, their written form, the list and the bytes."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .emulators.base import Answer, Reply
from .faults import Fault
from .standin import noisy
from .texts import Written, write

__all__ = ["damage_body", "damage_list", "damage_rows", "damage_usage", "write_rows"]

_Rows = list[NDArray[np.float32]]
_FLUSHED_BYTES = 1024 * 1024


def damage_rows(rows: _Rows, texts: Sequence[str], fault: Fault) -> _Rows:
    """Return *rows* as a fault of stage "rows" leaves them."""
    rows = [row.copy() for row in rows]
    match fault.kind:
        case "noisy":
            return _noisy(rows, texts, fault["cosine"])
        case "nan_on_import":
            for row, text in zip(rows, texts, strict=True):
                if text.startswith("import"):
                    row[:] = np.nan
        case "nan_null" | "zero_vector":
            row = rows[_at(fault, rows)]
            if fault.kind == "zero_vector":
                row[:] = 0
            else:
                row[fault["at"] % len(row)] = np.nan
        case "wrong_norm":
            return [row * np.float32(fault["factor"]) for row in rows]
        case "short_vectors":
            return [row[: fault["dimensions"]] for row in rows]
        case "ragged":
            at = _at(fault, rows)
            rows[at] = rows[at][: fault["dimensions"]]
        case "same_vector":
            return [rows[0]] * len(rows)
    return rows


def write_rows(rows: _Rows, written: Written, fault: Fault) -> list[bytes]:
    """Return the JSON values of *rows* as a fault of stage "text" leaves them."""
    match fault.kind:
        case "base64_big_endian":
            return [_quoted(row.astype(">f4").tobytes()) for row in rows]
        case "base64_float64":
            return [_quoted(row.astype("<f8").tobytes()) for row in rows]
        case "floats_for_base64":
            return [write(row, "float32") for row in rows]
        case "base64_short":
            pieces = [write(row, "base64") for row in rows]
            pieces[_at(fault, rows)] = _quoted(rows[_at(fault, rows)].astype("<f4").tobytes()[:-3])
            return pieces
    pieces = [write(row, written) for row in rows]
    at, value = _at(fault, rows), float(fault["literal"])
    row = rows[at].copy()
    if written == "base64":
        row[fault["at"] % len(row)] = value
        pieces[at] = write(row, written)
    else:
        # No JSON writer prints these, so the number is put into the text.
        numbers = pieces[at][1:-1].split(b",")
        numbers[fault["at"] % len(row)] = str(fault["literal"]).encode()
        pieces[at] = b"[" + b",".join(numbers) + b"]"
    return pieces


def damage_list(answer: Answer, fault: Fault) -> None:
    """Change number, order or indexes of the vectors in *answer*."""
    count = len(answer.pieces)
    match fault.kind:
        case "fewer_vectors":
            keep = max(0, count - fault["count"])
            del answer.pieces[keep:], answer.indexes[keep:]
        case "more_vectors":
            for extra in range(fault["count"] if count else 0):
                answer.pieces.append(answer.pieces[extra % count])
                answer.indexes.append(count + extra)
        case "no_index":
            answer.indexes = [None] * count
        case "shuffled":
            order = [*range(1, count), 0] if count < 3 else [*range(count - 1, -1, -1)]
            answer.pieces = [answer.pieces[at] for at in order]
            answer.indexes = list(order)
        case "duplicate_index":
            # One vector alone cannot be a duplicate; an index outside the list stands in for it.
            answer.indexes = [0, 0, *range(2, count)] if count > 1 else [1]


def damage_usage(answer: Answer, fault: Fault) -> None:
    """Change the bill that *answer* shows."""
    if fault.kind == "usage_missing":
        answer.usage = None
        return
    for name in answer.usage or {}:
        if name in ("prompt_tokens", "total_tokens"):
            assert answer.usage is not None
            answer.usage[name] = _count(answer.tokens, fault)


def damage_body(reply: Reply, fault: Fault) -> Reply:
    """Return *reply* with its bytes damaged."""
    match fault.kind:
        case "truncated_json":
            reply.body = reply.body[: int(len(reply.body) * fault["keep"])]
        case "wrong_charset":
            reply.body = reply.body.decode().encode(fault["charset"])
            reply.content_type = "application/json; charset=utf-8"
        case "invalid_utf8":
            # Inside a string of its own, so that only a decoder can mind.
            name = b'"note":' if reply.body.startswith(b"{") else b""
            reply.body = reply.body[:1] + name + b'"\xc3\x28\xff",' + reply.body[1:]
        case "gzip_bomb":
            reply.body = _bomb(reply.body, fault["megabytes"])
            reply.headers["content-encoding"] = "gzip"
    return reply


def _noisy(rows: _Rows, texts: Sequence[str], cosine: float) -> _Rows:
    wide = np.stack(rows).astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    damaged = noisy(wide / lengths, texts, cosine=cosine) * lengths
    return list(damaged.astype(np.float32))


def _at(fault: Fault, rows: Sequence[Any]) -> int:
    return int(fault["row"]) % len(rows)


def _count(tokens: int, fault: Fault) -> Any:
    counts: Mapping[str, Callable[[], Any]] = {
        "usage_zero": lambda: 0,
        "usage_absurd": lambda: fault["value"],
        "usage_inflated": lambda: round(tokens * fault["factor"]),
    }
    return counts[fault.kind]()


def _quoted(data: bytes) -> bytes:
    return b'"' + base64.b64encode(data) + b'"'


def _bomb(body: bytes, megabytes: int) -> bytes:
    """Return gzip of *body* followed by *megabytes* of spaces: valid JSON, and far too much of it.

    Deflate cannot do better than about 1 : 1000. A block of spaces ended by a full flush stands
    alone, so it is squeezed once and repeated; only the checksum has to walk the whole length.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = deflate.compress(body) + deflate.flush(zlib.Z_FULL_FLUSH)
    spaces = b" " * _FLUSHED_BYTES
    block = deflate.compress(spaces) + deflate.flush(zlib.Z_FULL_FLUSH)
    end = deflate.flush(zlib.Z_FINISH)
    checksum = zlib.crc32(body)
    for _ in range(megabytes):
        checksum = zlib.crc32(spaces, checksum)
    length = (len(body) + megabytes * _FLUSHED_BYTES) & 0xFFFFFFFF
    trailer = checksum.to_bytes(4, "little") + length.to_bytes(4, "little")
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return header + start + block * megabytes + end + trailer
