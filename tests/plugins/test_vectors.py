"""Received, checked, cut, written out: each step against plain float64 arithmetic."""

from __future__ import annotations

import base64
import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plugins._errors import Fault, ProviderFault
from plugins._vectors import NATIVE, check, cut, encode_base64, encode_floats, from_base64

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def unit_rows(n: int, *, seed: int = 1) -> npt.NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((n, NATIVE))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def texts(n: int) -> list[str]:
    return [f"text {i}" for i in range(n)]


def reference(rows: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float64]:
    part = rows[:, :dimensions].astype(np.float64)
    part /= np.abs(part).max(axis=1, keepdims=True)
    part /= np.linalg.norm(part, axis=1, keepdims=True)
    return part


def corrupt(caught: pytest.ExceptionInfo[ProviderFault]) -> str:
    assert caught.value.fault is Fault.CORRUPT
    return caught.value.detail


# --- base64 in -------------------------------------------------------------------------------


def test_base64_gives_the_same_bits() -> None:
    rows = unit_rows(3)
    values = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]
    assert from_base64(values).tobytes() == rows.tobytes()
    assert from_base64([value.encode() for value in values]).tobytes() == rows.tobytes()


def test_no_base64_gives_no_rows() -> None:
    assert from_base64([]).shape == (0, NATIVE)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        pytest.param(base64.b64encode(bytes(NATIVE * 8)), "43692 base64 characters", id="float64"),
        pytest.param(base64.b64encode(bytes(1024 * 4)), "5464 base64 characters", id="1024"),
        pytest.param(b"", "0 base64 characters", id="empty"),
        pytest.param(b"!" * 21848, "is not base64", id="alphabet"),
        pytest.param(b"A" * 21846 + b"\n=", "is not base64", id="new-line"),
        pytest.param(b"A" * 21848, "16386 bytes", id="no-padding"),
        pytest.param(b"-_" * 10923 + b"==", "is not base64", id="url-alphabet"),
        pytest.param("é" * 21848, "is not base64", id="not-ascii"),
    ],
)
def test_base64_of_anything_else_is_refused(value: str | bytes, what: str) -> None:
    good = base64.b64encode(unit_rows(1).tobytes())
    with pytest.raises(ProviderFault) as caught:
        from_base64([good, value])
    assert "vector 1" in corrupt(caught)
    assert what in corrupt(caught)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("exact_bf16", [True, False])
def test_big_endian_floats_are_refused(normalised: bool, exact_bf16: bool) -> None:
    rows = unit_rows(2)
    if exact_bf16:  # only the upper two bytes are used, so that swapped they are tiny, not NaN
        rows = (rows.view(np.uint32) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    swapped = rows.astype(">f4").tobytes()
    got = from_base64([base64.b64encode(swapped[:16384]), base64.b64encode(swapped[16384:])])
    with pytest.raises(ProviderFault) as caught:
        check(got, texts(2), normalised=normalised)
    corrupt(caught)


# --- check -----------------------------------------------------------------------------------


def test_good_rows_pass_untouched() -> None:
    rows = unit_rows(40)
    assert check(rows, texts(40), normalised=True) is rows


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 2047, NATIVE - 1])
def test_a_number_that_is_not_finite_is_refused(bad: float, column: int) -> None:
    rows = unit_rows(100)
    rows[71, column] = bad
    with pytest.raises(ProviderFault) as caught:
        check(rows, texts(100), normalised=False)
    assert corrupt(caught) == "vector 71 has NaN or Infinity"


def test_a_zero_row_is_refused() -> None:
    rows = unit_rows(3)
    rows[1] = 0
    with pytest.raises(ProviderFault) as caught:
        check(rows, texts(3), normalised=False)
    assert corrupt(caught) == "vector 1 is all zeros"


@pytest.mark.parametrize("length", [0.5, 0.98, 1.02, 17.0])
def test_a_normalised_provider_must_send_length_one(length: float) -> None:
    rows = unit_rows(3)
    rows[2] *= length
    with pytest.raises(ProviderFault) as caught:
        check(rows, texts(3), normalised=True)
    assert corrupt(caught).startswith("vector 2 has length ")


@pytest.mark.parametrize("length", [0.995, 0.999, 1.001, 1.005])
def test_a_length_rounded_by_half_precision_passes_and_becomes_one(length: float) -> None:
    got = check(unit_rows(3) * np.float32(length), texts(3), normalised=True)
    assert np.linalg.norm(got.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("length", [1e-29, 1e-20, 0.5, 250.0, 1e19, 1e38])
def test_another_provider_is_normalised_whatever_its_length(length: float) -> None:
    rows = unit_rows(5)
    got = check((rows * np.float64(length)).astype(np.float32), texts(5), normalised=False)
    assert got.dtype == np.float32
    assert np.abs(got - rows).max() < 1e-6
    assert np.linalg.norm(got.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-6)


def test_numbers_near_the_largest_float32_do_not_overflow() -> None:
    rows = np.full((1, NATIVE), 3.4e38, dtype=np.float32)
    assert check(rows, ["a"], normalised=False) == pytest.approx(1 / 64)


def test_numbers_too_small_to_be_exact_are_refused() -> None:
    with pytest.raises(ProviderFault) as caught:
        check(unit_rows(1) * np.float32(1e-38), ["a"], normalised=False)
    assert corrupt(caught) == "vector 0 is too small to have kept its digits"


@pytest.mark.parametrize("n", [2, 64, 65, 300])
def test_equal_rows_of_different_texts_are_refused(n: int) -> None:
    rows = unit_rows(n)
    rows[n - 1] = rows[0]
    with pytest.raises(ProviderFault) as caught:
        check(rows, texts(n), normalised=True)
    assert corrupt(caught) == f"vectors 0 and {n - 1} are equal, for different texts"


def test_equal_rows_of_equal_texts_pass() -> None:
    rows = unit_rows(4)
    rows[3] = rows[1]
    assert check(rows, ["a", "b", "c", "b"], normalised=True) is rows


def test_a_third_text_with_the_row_of_two_equal_ones_is_refused() -> None:
    rows = unit_rows(4)
    rows[2] = rows[3] = rows[1]
    with pytest.raises(ProviderFault) as caught:
        check(rows, ["a", "b", "b", "c"], normalised=True)
    assert corrupt(caught) == "vectors 1 and 3 are equal, for different texts"


def test_texts_that_the_tokenizer_cannot_tell_apart_may_share_a_row() -> None:
    rows = unit_rows(2)
    rows[1] = rows[0]
    assert check(rows, ["caf\u00e9", "cafe\u0301"], normalised=True) is rows


def test_rows_that_differ_in_one_bit_are_different() -> None:
    rows = unit_rows(2)
    rows[1] = rows[0]
    rows[1, 5] = np.nextafter(rows[1, 5], np.float32(1))
    assert check(rows, texts(2), normalised=True) is rows


def test_rows_of_one_length_that_are_not_equal_are_different() -> None:
    rows = unit_rows(3)
    rows[1] = rows[0][::-1]
    rows[2] = -rows[0]
    assert check(rows, texts(3), normalised=True) is rows


@pytest.mark.parametrize("shape", [(2, NATIVE), (3, 1024), (3, NATIVE + 1), (0, NATIVE)])
def test_a_wrong_shape_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ProviderFault) as caught:
        check(np.ones(shape, dtype=np.float32), texts(3), normalised=False)
    assert "shape" in corrupt(caught)


def test_no_text_is_quoted_in_a_fault() -> None:
    rows = unit_rows(2)
    rows[1] = rows[0]
    with pytest.raises(ProviderFault) as caught:
        check(rows, ["secret one", "secret two"], normalised=True)
    assert "secret" not in str(caught.value)


# --- cut -------------------------------------------------------------------------------------


@given(
    rows=arrays(np.float32, st.tuples(st.integers(1, 3), st.just(NATIVE)), elements=FINITE),
    dimensions=st.integers(32, NATIVE),
)
def test_a_cut_is_the_float64_quotient_rounded_once(
    rows: npt.NDArray[np.float32], dimensions: int
) -> None:
    if not rows[:, :dimensions].any(axis=1).all():
        with pytest.raises(ProviderFault):
            cut(rows, dimensions)
        return
    got = cut(rows, dimensions)
    assert got.shape == (len(rows), dimensions)
    assert got.dtype == np.float32
    assert np.abs(got - reference(rows, dimensions)).max() <= 1e-6
    assert np.linalg.norm(got.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-6)


def test_every_dimension_is_within_a_millionth_of_the_reference() -> None:
    rows = unit_rows(2)
    for dimensions in range(32, NATIVE + 1):
        got = cut(rows, dimensions)
        assert np.abs(got - reference(rows, dimensions)).max() <= 1e-7


@pytest.mark.parametrize("dimensions", [32, 33, 511, 1024, 2560, 4095, 4096])
@pytest.mark.parametrize("length", [1.0, 1.003, 37.0])
def test_a_row_gives_the_same_bytes_alone_and_in_any_batch(dimensions: int, length: float) -> None:
    rows = unit_rows(203) * np.float32(length)
    normalised = length < 2
    together = cut(check(rows, texts(203), normalised=normalised), dimensions)
    for start, stop in [(0, 1), (7, 8), (63, 65), (64, 128), (100, 203), (1, 203)]:
        part = rows[start:stop].copy()
        alone = cut(check(part, texts(len(part)), normalised=normalised), dimensions)
        assert alone.tobytes() == together[start:stop].tobytes()
    scattered = rows[[5, 150, 9]]
    got = cut(check(scattered, texts(3), normalised=normalised), dimensions)
    assert got.tobytes() == together[[5, 150, 9]].tobytes()


def test_memory_layout_does_not_change_a_byte() -> None:
    rows = unit_rows(70)
    odd_address = np.frombuffer(b"\0" + rows.tobytes(), dtype=np.uint8)[1:]
    unaligned = odd_address.view(np.float32).reshape(rows.shape)
    for other in (np.asfortranarray(rows), unaligned, np.repeat(rows, 2, axis=0)[::2]):
        assert cut(other, 700).tobytes() == cut(rows, 700).tobytes()


def test_a_prefix_of_zeros_is_refused() -> None:
    rows = unit_rows(3)
    rows[1, :100] = 0
    assert cut(rows, 101).shape == (3, 101)
    with pytest.raises(ProviderFault) as caught:
        cut(rows, 100)
    assert corrupt(caught) == "vector 1 is all zeros in its first 100 numbers"


def test_what_is_not_finite_is_not_cut() -> None:
    rows = unit_rows(2)
    rows[1, 3] = np.nan
    with pytest.raises(ProviderFault) as caught:
        cut(rows, 100)
    assert corrupt(caught) == "vector 1 has NaN or Infinity"


@pytest.mark.parametrize("dimensions", [0, -1, NATIVE + 1])
def test_impossible_dimensions_are_a_bug_of_the_caller(dimensions: int) -> None:
    with pytest.raises(ValueError, match="cannot cut"):
        cut(unit_rows(1), dimensions)


def test_no_rows_stay_no_rows() -> None:
    none = np.empty((0, NATIVE), dtype=np.float32)
    assert cut(check(none, [], normalised=True), 64).shape == (0, 64)
    assert encode_floats(none) == encode_base64(none) == []


# --- out -------------------------------------------------------------------------------------


@given(arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 50)), elements=FINITE))
def test_printed_floats_come_back_bit_for_bit(rows: npt.NDArray[np.float32]) -> None:
    for row, text in zip(rows, encode_floats(rows), strict=True):
        back = np.array(json.loads(text), dtype=np.float64).astype(np.float32)
        assert back.tobytes() == row.tobytes()


def test_floats_are_printed_with_the_shortest_digits() -> None:
    row = np.array([[0.1, 1e-8, -1.5, 0.0, 3e20, 1 / 3]], dtype=np.float32)
    (text,) = encode_floats(row)
    digits = [str(number) for number in row[0]]
    got = text.decode().strip("[]").split(",")
    assert [float(number) for number in got] == [float(number) for number in digits]
    assert all(len(a) <= len(b) + 2 for a, b in zip(got, digits, strict=True))


def test_printed_base64_is_little_endian_float32_in_quotes() -> None:
    rows = cut(unit_rows(2), 1024)
    for row, text in zip(rows, encode_base64(rows), strict=True):
        assert base64.b64decode(json.loads(text)) == row.astype("<f4").tobytes()


def test_a_column_slice_is_printed_as_its_own_numbers() -> None:
    rows = unit_rows(2)[:, :33]
    assert encode_floats(rows) == encode_floats(rows.copy())
    assert encode_base64(rows) == encode_base64(rows.copy())
