"""JSON replies with long number arrays, read without a Python object per number.

    document = parse(body)
    document.tree                   # the reply as dict, list, str, int, Decimal, bool, None
    document.matrix(embeddings)     # float32 (n, 4096) of some values of the tree
    document.written(embeddings)    # the same as the reply has them, if that is short

In `tree` every long array of numbers is a float32 array and every long string may be `bytes`, both
only good for `matrix`. Any shape will do: OpenAI's `{"data": [{"embedding": …}]}`, Ollama's
`{"embeddings": [[…]]}`.

How: arrays of numbers are cut out of the body and read by simdjson straight into a float64 buffer
(32 × 4096 numbers in 2 ms; orjson, for machines without simdjson, in 6 ms, where most goes into
Python floats; the standard library in 26 ms). What is left is small, and the standard library reads
it strictly: a key twice in an object, NaN, bad UTF-8 are faults. Both readers round the digits to
float64 and then to float32, and what simdjson refuses orjson judges, so they agree bit for bit.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import is_
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import orjson

from plugins._errors import Fault, ProviderFault
from plugins._vectors import NATIVE, Matrix, from_base64

__all__ = ["Document", "parse"]

Reader = Callable[[bytes], "npt.NDArray[np.float64] | None"]
"""Reads the JSON array of numbers that the bytes are; None if they are something else."""

_CUT_ARRAY_BYTES = 512  # shorter arrays cannot be vectors and stay in the tree as lists
_CUT_STRING_BYTES = 4096
_SHORT_BYTES = 16 * NATIVE  # shortest digits of a float32 are 12 with the comma; of a float64, 21
_MAX_ARRAYS = 10_000  # more than the 2,048 inputs of any request can need
_NUMBER = re.compile(rb"[ \t\r\n]*[-0-9]").match
_MARK = b"Infinity"  # not JSON, but the standard library calls back for it, in document order


@dataclass(frozen=True)
class Document:
    """A parsed reply. *tree* is described in the module's docstring."""

    tree: Any
    _rows: Matrix = field(repr=False)
    _arrays: Sequence[Matrix] = field(repr=False)
    _texts: Sequence[bytes] = field(repr=False)

    def matrix(self, values: Sequence[Any]) -> Matrix:
        """Return *values* of the tree, arrays of numbers or base64 strings, as rows.

        Returns: float32, shape (n, 4096), in the order of *values*; not checked for NaN and such.
        Raises: ProviderFault(CORRUPT) that says which value is not a vector of 4096, and why.
        """
        if self._is_all(values):
            return self._rows  # the whole reply in its own order: nothing to copy
        if values and all(isinstance(value, str | bytes) for value in values):
            return from_base64(values)
        rows = np.empty((len(values), NATIVE), dtype=np.float32)
        for i, value in enumerate(values):
            rows[i] = _row(value, i)
        return rows

    def written(self, values: Sequence[Any]) -> Sequence[bytes]:
        """Return the JSON arrays that *values* were read from, each of 4096 numbers.

        None of them if they are not all of the reply, in its order, or one has white space or many
        more digits than a float32 needs: to write it anew makes a shorter reply.
        """
        return self._texts if self._is_all(values) and all(map(_is_short, self._texts)) else ()

    def _is_all(self, values: Sequence[Any]) -> bool:
        return len(values) == len(self._rows) == len(self._arrays) and all(
            map(is_, values, self._arrays)
        )


def parse(body: bytes, *, reader: Callable[[], Reader] | None = None) -> Document:
    """Read the JSON text *body*; *reader* is for tests.

    Raises: ProviderFault(CORRUPT) if it is not one strict JSON text. Nothing of it is quoted.
    """
    text = body.removeprefix(b"\xef\xbb\xbf")  # a byte order mark is allowed to be ignored
    cuts, arrays, rows, texts = _cut_arrays(text, (reader or simdjson_reader or orjson_reader)())
    marks: list[Any] = list(arrays)
    if not cuts:
        cuts = _long_strings(text)
        marks = [text[start + 1 : end - 1] for start, end in cuts]
    kept = [text[a:b] for a, b in _between(cuts, len(text))]
    if cuts and not any(_MARK in part for part in kept):
        whole, tree = _load(_MARK.join(kept), marks, len(body))
        if whole:
            return Document(tree, rows, arrays, texts)
    # No long array, or something that looks like one stands in a string: no shortcut.
    return Document(_load(text, (), len(body))[1], rows[:0], (), ())


def _cut_arrays(
    text: bytes, read: Reader
) -> tuple[list[tuple[int, int]], list[Matrix], Matrix, list[bytes]]:
    """Return where the long arrays of numbers are, their numbers, and those of 4096 twice.

    These as a matrix and as they are written.
    """
    found = list(_innermost_arrays(text))
    rows = np.empty((sum(end - start >= 2 * NATIVE for start, end in found), NATIVE), np.float32)
    used = 0
    cuts: list[tuple[int, int]] = []
    arrays: list[Matrix] = []
    texts: list[bytes] = []
    for start, end in found:
        part = text[start:end]
        numbers = read(part)
        if numbers is None:  # stays in the tree, where its fault gets a name
            continue
        with np.errstate(over="ignore"):  # 1e300 becomes Infinity, which `check` refuses
            if numbers.size == NATIVE:
                rows[used] = numbers
                arrays.append(rows[used])
                texts.append(part)
                used += 1
            else:
                arrays.append(numbers.astype(np.float32))
        cuts.append((start, end))
    return cuts, arrays, rows[:used], texts


def _is_short(text: bytes) -> bool:
    return len(text) <= _SHORT_BYTES and not any(space in text for space in b" \t\r\n")


def _innermost_arrays(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield where long arrays that hold no array and begin like a number start and end."""
    start = text.find(b"[")
    close = -1
    for _ in range(_MAX_ARRAYS):
        if start == -1:
            return
        if close < start:
            close = text.find(b"]", start)
            if close == -1:
                return
        after = text.find(b"[", start + 1)
        innermost = after == -1 or after > close
        if innermost and close - start >= _CUT_ARRAY_BYTES and _NUMBER(text, start + 1):
            yield start, close + 1
        start = after
    raise _corrupt(f"the reply has more than {_MAX_ARRAYS} arrays")


def _long_strings(text: bytes) -> list[tuple[int, int]]:
    """Return where long strings start and end; none if escapes make quotes ambiguous."""
    found: list[tuple[int, int]] = []
    if len(text) < _CUT_STRING_BYTES or b"\\" in text:
        return found
    end = -1
    while (start := text.find(b'"', end + 1)) != -1:
        end = text.find(b'"', start + 1)
        if end == -1:
            break
        if end - start >= _CUT_STRING_BYTES:
            found.append((start, end + 1))
    return found


def _between(cuts: Sequence[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    at = 0
    for start, end in cuts:
        yield at, start
        at = end
    yield at, size


def _load(text: bytes, marks: Sequence[Any], body_bytes: int) -> tuple[bool, Any]:
    """Read strict JSON with *marks* at their places; False if not every one has found its place."""
    left = iter(marks)

    def constant(name: str) -> Any:
        mark = next(left, None) if name == _MARK.decode() else None
        if mark is None:
            raise _RefusedError("has NaN or Infinity in it")
        return mark

    try:
        tree = json.loads(
            text.decode(),
            object_pairs_hook=_object,
            parse_constant=constant,
            parse_float=Decimal,
        )
    except UnicodeDecodeError:
        what = "is not UTF-8"
    except _RefusedError as refused:
        what = str(refused)
    except (ValueError, ArithmeticError, RecursionError):
        what = "is not valid JSON"
    else:
        return not any(True for _ in left), tree
    raise _corrupt(f"the reply of {body_bytes} bytes {what}")


class _RefusedError(Exception):
    """JSON in which we want no part; not a ValueError, so that no reader takes it for its own."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ in which of two equal keys they take, so neither can be right.
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _RefusedError("has a key twice in one object")
    return result


def _row(value: Any, i: int) -> Matrix:
    """Return *value*, the *i*-th of a reply, as 4096 numbers."""
    if isinstance(value, str | bytes):
        try:
            row: Matrix = from_base64([value])[0]
        except ProviderFault as fault:
            raise _corrupt(fault.detail.replace("vector 0", f"vector {i}", 1)) from None
        return row
    if isinstance(value, list):
        for item in value:
            if isinstance(item, bool) or not isinstance(item, int | Decimal):
                _not_a_vector(i, f"has {_kind(item)} among its numbers")
        with np.errstate(over="ignore"):  # by way of Decimal, since a huge int raises in float()
            value = np.array([float(Decimal(item)) for item in value]).astype(np.float32)
    if not isinstance(value, np.ndarray):
        _not_a_vector(i, f"is {_kind(value)}")
    if value.size != NATIVE:
        _not_a_vector(i, f"has {value.size} numbers, not {NATIVE}")
    return value


def _not_a_vector(i: int, what: str) -> NoReturn:
    raise _corrupt(f"vector {i} {what}")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", bool: "a boolean", type(None): "null"}
    kinds |= {str: "a string", bytes: "a string", np.ndarray: "an array"}
    return kinds.get(type(value), "a number")


def _corrupt(detail: str) -> ProviderFault:
    return ProviderFault(Fault.CORRUPT, detail)


def _read_with_orjson(text: bytes) -> npt.NDArray[np.float64] | None:
    try:
        numbers = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    # numpy would take true for 1 and null for NaN
    if not {float, int}.issuperset(map(type, numbers)):
        return None
    return np.array(numbers, dtype=np.float64)


def orjson_reader() -> Reader:
    """Return a reader that works everywhere."""
    return _read_with_orjson


def _simdjson_reader() -> Reader:
    """Return a reader for one document: a simdjson parser is not for two threads at a time."""
    parse_json = _simdjson.Parser().parse

    def read(text: bytes) -> npt.NDArray[np.float64] | None:
        try:
            # `as_buffer` copies, so the parser may be used again; it flattens nested arrays, so
            # only innermost arrays come here. It refuses integers over 64 bits, and its errors are
            # of many types.
            buffer = parse_json(text).as_buffer(of_type="d")
        except (ValueError, TypeError, RuntimeError):
            return _read_with_orjson(text)
        return np.frombuffer(buffer, dtype=np.float64)

    return read


try:
    # pysimdjson has no wheel for some machines; a build that does not load says RuntimeError.
    _simdjson: Any = importlib.import_module("simdjson")
except (ImportError, RuntimeError):
    _simdjson = None

simdjson_reader = None if _simdjson is None else _simdjson_reader
