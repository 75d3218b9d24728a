"""Vectors as float32 matrices: received, checked, cut, written out.

A number never becomes a Python object here. Lengths are summed row by row in float64, where the
square of a float32 is exact, so a row gives the same bytes alone and in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pybase64

from plugins._errors import Fault, ProviderFault
from plugins._nfc import nfc

__all__ = [
    "NATIVE",
    "Matrix",
    "check",
    "cut",
    "encode_base64",
    "encode_floats",
    "from_base64",
]

Matrix: TypeAlias = npt.NDArray[np.float32]

NATIVE = 4096
"""Length of the model's own vectors."""

_BASE64_CHARS = -(-NATIVE * 4 // 3) * 4  # with padding
_TOLERANCE = 1e-2  # fp16 and bf16 servers normalise before they round: 0.998…1.002 was seen
_UNIT = 1e-6  # nearer to 1 than this, a length is 1 as well as float32 can say
_SHORTEST = 2.0**-100  # below it the small parts of a row are subnormal and have lost digits
_BLOCK_ROWS = 64  # 2 MB of float64 at a time: stays in the cache, bounds memory


def from_base64(values: Sequence[str | bytes]) -> Matrix:
    """Return the rows that *values* (base64 of little-endian float32) hold.

    Returns: float32, shape (n, 4096).
    Raises: ProviderFault(CORRUPT) if a value is not strict base64 of exactly 4096 numbers.
    """
    rows = np.empty((len(values), NATIVE), dtype="<f4")
    for i, value in enumerate(values):
        if len(value) != _BASE64_CHARS:
            raise _corrupt(
                f"vector {i} has {len(value)} base64 characters, "
                f"not the {_BASE64_CHARS} of {NATIVE} float32 numbers"
            )
        try:
            raw = pybase64.b64decode(value, validate=True)
        except ValueError:
            raise _corrupt(f"vector {i} is not base64") from None
        if len(raw) != NATIVE * 4:
            raise _corrupt(f"vector {i} has {len(raw)} bytes, not {NATIVE * 4}")
        rows[i] = np.frombuffer(raw, dtype="<f4")
    return rows.astype(np.float32, copy=False)


def check(matrix: Matrix, texts: Sequence[str], *, normalised: bool) -> Matrix:
    """Return *matrix* with rows of length 1, if it may be the vectors of *texts*.

    The row of a text is refused if it is not finite, if it is zero, if it is bit for bit the row of
    a different text, or if its length is not 1 (±0.01) although the provider is *normalised*. Rows
    of another provider are normalised, whatever their length: 1e30 and 1e-20 are fine.

    Returns: float32, shape (n, 4096); *matrix* itself where nothing had to change.
    Raises: ProviderFault(CORRUPT) that names the first bad row.
    """
    if matrix.shape != (len(texts), NATIVE):
        raise _corrupt(f"vectors of shape {matrix.shape}, not {(len(texts), NATIVE)}")
    lengths = _lengths(matrix)
    _refuse(~np.isfinite(lengths), "has NaN or Infinity")
    _refuse(lengths == 0, "is all zeros")
    _refuse_repeated(matrix, lengths, texts)
    if normalised:
        far = np.abs(lengths - 1) > _TOLERANCE
        if far.any():
            i = int(far.argmax())
            raise _corrupt(f"vector {i} has length {lengths[i]:.3g}, not 1")
    _refuse(lengths < _SHORTEST, "is too small to have kept its digits")
    return _made_unit(matrix, lengths)


def cut(matrix: Matrix, dimensions: int) -> Matrix:
    """Return the first *dimensions* numbers of each row, as rows of length 1.

    A row whose length is 1 already, as well as float32 can say, stays as it is: all 4096 of a
    checked row are what the provider sent.

    Returns: float32, shape (n, dimensions), each number the nearest float32 to the exact quotient.
    Raises: ProviderFault(CORRUPT) if the part kept of a row is all zeros or not finite.
    """
    if not 1 <= dimensions <= matrix.shape[1]:
        raise ValueError(f"cannot cut {matrix.shape[1]} dimensions to {dimensions}")
    part = matrix[:, :dimensions]
    lengths = _lengths(part)
    _refuse(~np.isfinite(lengths), "has NaN or Infinity")
    _refuse(lengths == 0, f"is all zeros in its first {dimensions} numbers")
    return _made_unit(part, lengths)


def encode_floats(matrix: Matrix) -> list[bytes]:
    """Return each row as a JSON array, with the shortest digits that give the same float32 back.

    Rows must be finite (`cut` saw to it): a NaN would be printed as `null`.
    """
    rows = np.ascontiguousarray(matrix, dtype=np.float32)
    return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in rows]


def encode_base64(matrix: Matrix) -> list[bytes]:
    """Return each row as a JSON string: base64 of little-endian float32."""
    rows = np.ascontiguousarray(matrix, dtype="<f4")
    return [b'"%b"' % pybase64.b64encode(row) for row in rows]


def _lengths(matrix: Matrix) -> npt.NDArray[np.float64]:
    """Return the L2 norm of each row; not finite exactly if a number of the row is not."""
    sums = np.empty(len(matrix))
    with np.errstate(invalid="ignore"):
        for start in range(0, len(matrix), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            # `add.reduce` over the last axis sums each row by itself, always in the same pairs.
            # einsum and BLAS do not promise that, and 1 ulp would make two paths differ.
            squares = np.square(matrix[rows], dtype=np.float64)
            np.add.reduce(squares, axis=1, out=sums[rows])
    return np.sqrt(sums)


def _made_unit(matrix: Matrix, lengths: npt.NDArray[np.float64]) -> Matrix:
    """Return rows of length 1; *matrix* itself where nothing has to change."""
    off = np.abs(lengths - 1) > _UNIT
    return _divided(matrix, np.where(off, lengths, 1.0)) if off.any() else matrix


def _divided(matrix: Matrix, lengths: npt.NDArray[np.float64]) -> Matrix:
    """Return rows divided in float64 and rounded once, so that no length over- or underflows."""
    rows = np.empty(matrix.shape, dtype=np.float32)
    for start in range(0, len(matrix), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        rows[part] = matrix[part] / lengths[part, np.newaxis]
    return rows


def _refuse(bad: npt.NDArray[np.bool_], what: str) -> None:
    if bad.any():
        raise _corrupt(f"vector {int(bad.argmax())} {what}")


def _refuse_repeated(
    matrix: Matrix, lengths: npt.NDArray[np.float64], texts: Sequence[str]
) -> None:
    """Refuse bit-equal rows of different texts.

    Equal rows have equal lengths, and lengths in float64 tell nearly all others apart, so only rows
    of one length are compared. Texts that are equal in NFC may share a row: the model's tokenizer
    normalises to NFC and sees one text.
    """
    if len(texts) < 2:
        return
    order = np.argsort(lengths, kind="stable")
    ranked = lengths[order]
    twins = np.flatnonzero(ranked[1:] == ranked[:-1])
    if not twins.size:
        return
    seen: dict[bytes, int] = {}
    for i in sorted({int(order[k + step]) for k in twins for step in (0, 1)}):
        first = seen.setdefault(matrix[i].tobytes(), i)
        if texts[first] != texts[i] and nfc(texts[first]) != nfc(texts[i]):
            raise _corrupt(f"vectors {first} and {i} are equal, for different texts")


def _corrupt(detail: str) -> ProviderFault:
    return ProviderFault(Fault.CORRUPT, detail)
