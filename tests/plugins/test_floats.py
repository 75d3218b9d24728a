"""JSON in: both readers agree bit for bit, and nothing but strict JSON with numbers passes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins import _floats
from plugins._errors import Fault, ProviderFault
from plugins._floats import Document, parse
from plugins._vectors import NATIVE

READERS = [
    pytest.param(_floats.orjson_reader, id="orjson"),
    pytest.param(
        _floats.simdjson_reader,
        id="simdjson",
        marks=pytest.mark.skipif(
            _floats.simdjson_reader is None, reason="pysimdjson is not installed"
        ),
    ),
]
Make = Callable[[], _floats.Reader]


def rows(n: int, *, seed: int = 1) -> npt.NDArray[np.float32]:
    made = np.random.default_rng(seed).standard_normal((n, NATIVE))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made.astype(np.float32)


def reply(*embeddings: Any, **more: Any) -> bytes:
    data = [
        {"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(embeddings)
    ]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return orjson.dumps(
        {"object": "list", "data": data, "model": "m", "usage": usage, **more},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


def raw(numbers: str) -> bytes:
    """Return a reply whose second embedding is the JSON text *numbers*."""
    return reply(rows(1)[0], "HERE").replace(b'"HERE"', numbers.encode())


def embeddings(document: Document) -> npt.NDArray[np.float32]:
    return document.matrix([item["embedding"] for item in document.tree["data"]])


def detail(body: bytes, reader: Make | None = None) -> str:
    with pytest.raises(ProviderFault) as caught:
        embeddings(parse(body, reader=reader))
    assert caught.value.fault is Fault.CORRUPT
    return caught.value.detail


# --- good replies ----------------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("n", [1, 3, 40])
def test_floats_come_back_bit_for_bit(n: int, reader: Make) -> None:
    sent = rows(n)
    assert embeddings(parse(reply(*sent), reader=reader)).tobytes() == sent.tobytes()


@pytest.mark.parametrize("reader", READERS)
def test_float64_digits_are_rounded_to_the_nearest_float32(reader: Make) -> None:
    sent = np.random.default_rng(3).standard_normal((2, NATIVE))
    assert embeddings(parse(reply(*sent), reader=reader)).tobytes() == sent.astype("f4").tobytes()


def test_base64_comes_back_bit_for_bit() -> None:
    sent = rows(3)
    values = [base64.b64encode(row.tobytes()).decode() for row in sent]
    assert embeddings(parse(reply(*values))).tobytes() == sent.tobytes()


def test_base64_with_escaped_slashes_comes_back_bit_for_bit() -> None:
    sent = rows(2)
    values = [base64.b64encode(row.tobytes()).decode() for row in sent]
    body = reply(*values)
    assert b"/" in body
    assert embeddings(parse(body.replace(b"/", rb"\/"))).tobytes() == sent.tobytes()


def test_floats_and_base64_may_be_mixed() -> None:
    sent = rows(3)
    mixed = [sent[0], base64.b64encode(sent[1].tobytes()).decode(), sent[2]]
    assert embeddings(parse(reply(*mixed))).tobytes() == sent.tobytes()


@pytest.mark.parametrize("reader", READERS)
def test_ollamas_shape_is_read_too(reader: Make) -> None:
    sent = rows(2)
    body = orjson.dumps(
        {"model": "q", "embeddings": list(sent), "prompt_eval_count": 9},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    document = parse(body, reader=reader)
    assert document.matrix(document.tree["embeddings"]).tobytes() == sent.tobytes()
    assert document.tree["prompt_eval_count"] == 9


def test_rows_are_returned_in_the_order_asked_for() -> None:
    sent = rows(3)
    document = parse(reply(*sent))
    values = [item["embedding"] for item in document.tree["data"]]
    assert document.matrix(values[::-1]).tobytes() == sent[::-1].tobytes()
    assert document.matrix(values[1:2]).tobytes() == sent[1:2].tobytes()


def test_the_small_parts_are_exact_python_objects() -> None:
    usage = {"prompt_tokens": 3, "cost": 0.00000012}
    tree = parse(reply(*rows(1), usage=usage, id=None, ok=True)).tree
    assert tree["usage"]["cost"] == Decimal("0.00000012")  # money is never a float
    assert tree["usage"]["prompt_tokens"] == 3
    assert (tree["id"], tree["ok"], tree["model"]) == (None, True, "m")
    assert [item["index"] for item in tree["data"]] == [0]


@pytest.mark.parametrize("indent", [1, 2, 4])
def test_white_space_changes_nothing(indent: int) -> None:
    sent = rows(2)
    pretty = json.dumps(json.loads(reply(*sent)), indent=indent).replace("\n", "\r\n\t")
    assert embeddings(parse(pretty.encode())).tobytes() == sent.tobytes()


def test_a_byte_order_mark_is_ignored() -> None:
    sent = rows(1)
    assert embeddings(parse(b"\xef\xbb\xbf" + reply(*sent))).tobytes() == sent.tobytes()


@pytest.mark.parametrize(
    "text", ["[" + "1.5," * 300 + "2]", "Infinity", '"data": [', "]]}}", "\\", "[0]", "NaN"]
)
def test_a_string_that_looks_like_something_else_is_a_string(text: str) -> None:
    sent = rows(2)
    values = [base64.b64encode(row.tobytes()).decode() for row in sent]
    for body in (reply(*sent, warning=text, z=1), reply(*values, warning=text, z=1)):
        document = parse(body)
        assert document.tree["warning"] == text
        assert document.tree["z"] == 1
        assert embeddings(document).tobytes() == sent.tobytes()


def test_an_error_body_is_just_a_tree() -> None:
    assert parse(b'{"error":{"code":502,"message":"x"}}').tree["error"]["code"] == 502
    assert parse(b'"404 page not found"').tree == "404 page not found"
    assert parse(b"[]").tree == []


# --- both readers are one --------------------------------------------------------------------

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
    st.integers(-(2**80), 2**80).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
JUNK = st.sampled_from(
    [
        "null",
        "true",
        "false",
        "NaN",
        "Infinity",
        "-Infinity",
        "nul",
        "1.",
        ".5",
        "+1",
        "01",
        "1e",
        "--1",
        "1e999",
        "-",
        "0x1",
        "1_0",
        "1e-999",
        "-0",
        "-0.0",
        '"1.0"',
        "{}",
        "[1.0]",
        "[]",
        "{",
        "]",
        '"',
        "\\",
        "١",
        '{"a":1,"a":2}',
        "",
        " ",
        "1 2",
        "9" * 5000,
        "[" * 500,
    ]
)


def outcome(body: bytes, reader: Make) -> bytes | str:
    try:
        return embeddings(parse(body, reader=reader)).tobytes()
    except ProviderFault as fault:
        return f"{fault.fault}: {fault.detail}"


needs_simdjson = pytest.mark.skipif(
    _floats.simdjson_reader is None, reason="pysimdjson is not installed"
)


@needs_simdjson
@given(st.lists(NUMBERS, min_size=1, max_size=40), st.integers(0, 3))
def test_both_readers_read_the_same_numbers(some: list[str], spaces: int) -> None:
    numbers = (some * NATIVE)[:NATIVE]
    body = raw("[" + ("," + " " * spaces).join(numbers) + "]")
    assert _floats.simdjson_reader is not None
    assert outcome(body, _floats.simdjson_reader) == outcome(body, _floats.orjson_reader)


@needs_simdjson
@given(st.lists(JUNK | NUMBERS, min_size=1, max_size=6), st.integers(0, NATIVE))
def test_both_readers_refuse_the_same_junk(junk: list[str], at: int) -> None:
    numbers = ["0.25"] * NATIVE
    numbers[at : at + len(junk)] = junk
    body = raw("[" + ",".join(numbers) + "]")
    assert _floats.simdjson_reader is not None
    assert outcome(body, _floats.simdjson_reader) == outcome(body, _floats.orjson_reader)


@needs_simdjson
@given(st.integers(0, 10**6), st.binary(max_size=4))
def test_both_readers_answer_the_same_to_a_damaged_reply(at: int, damage: bytes) -> None:
    body = bytearray(reply(rows(1)[0]))
    at %= len(body)
    body[at : at + len(damage)] = damage
    cut_short = bytes(body[:at])
    assert _floats.simdjson_reader is not None
    for one in (bytes(body), cut_short):
        seen = outcome_of_anything(one, _floats.simdjson_reader)
        assert seen == outcome_of_anything(one, _floats.orjson_reader)


def outcome_of_anything(body: bytes, reader: Make) -> str:
    try:
        document = parse(body, reader=reader)
        return repr(document.tree) + repr(embeddings(document).tobytes())
    except ProviderFault as fault:
        return fault.detail
    except (KeyError, TypeError) as error:  # another shape: the dialect's matter
        return repr(error)


# --- bad replies -----------------------------------------------------------------------------

FULL = ",".join(["0.5"] * (NATIVE - 1))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("embedding", "what"),
    [
        pytest.param(f"[{FULL}]", "vector 1 has 4095 numbers, not 4096", id="short"),
        pytest.param(f"[{FULL},1,2]", "vector 1 has 4097 numbers, not 4096", id="long"),
        pytest.param("[0.5]", "vector 1 has 1 numbers, not 4096", id="one"),
        pytest.param("[]", "vector 1 has 0 numbers, not 4096", id="empty"),
        pytest.param("null", "vector 1 is null", id="null"),
        pytest.param("1.5", "vector 1 is a number", id="number"),
        pytest.param("true", "vector 1 is a boolean", id="boolean"),
        pytest.param("{}", "vector 1 is an object", id="object"),
        pytest.param('"AAAA"', "vector 1 has 4 base64 characters", id="short-string"),
        pytest.param(f"[{FULL},null]", "vector 1 has null among its numbers", id="null-inside"),
        pytest.param(f"[null,{FULL}]", "vector 1 has null among its numbers", id="null-first"),
        pytest.param(
            f"[{FULL},true]", "vector 1 has a boolean among its numbers", id="bool-inside"
        ),
        pytest.param(f'[{FULL},"0.5"]', "vector 1 has a string among its numbers", id="str-inside"),
        pytest.param(f"[{FULL},[0.5]]", "vector 1 has an array among its numbers", id="nested-one"),
        pytest.param(f"[[{FULL},0.5]]", "vector 1 has an array among its numbers", id="nested-all"),
        pytest.param(f"[{FULL},{{}}]", "vector 1 has an object among its numbers", id="obj-inside"),
        pytest.param(f"[{FULL},NaN]", "has NaN or Infinity in it", id="nan"),
        pytest.param(f"[{FULL},Infinity]", "has NaN or Infinity in it", id="infinity"),
        pytest.param(f"[{FULL},-Infinity]", "has NaN or Infinity in it", id="minus-infinity"),
        pytest.param("Infinity", "has NaN or Infinity in it", id="only-infinity"),
        pytest.param(f"[{FULL},nan]", "is not valid JSON", id="nan-lower"),
        pytest.param(f"[{FULL},1.]", "is not valid JSON", id="no-fraction"),
        pytest.param(f"[{FULL},]", "is not valid JSON", id="comma"),
        pytest.param(f"-[{FULL},1]", "the reply of 68542 bytes", id="minus-array"),
        pytest.param(f"[{FULL},1", "is not valid JSON", id="open"),
        pytest.param(f"[{FULL},{'9' * 5000}]", "is not valid JSON", id="5000-digits"),
        pytest.param(f"[{FULL},1][{FULL},1]", "is not valid JSON", id="two"),
        pytest.param(f'[{FULL},1],"embedding":[{FULL},1]', "has a key twice", id="twice"),
        pytest.param('null,"index":1', "has a key twice", id="index-twice"),
        pytest.param(f"[{FULL},1]}},{{", "", id="no-embedding"),
    ],
)
def test_an_embedding_that_is_not_one_is_refused(embedding: str, what: str, reader: Make) -> None:
    if not what:
        with pytest.raises(KeyError):
            embeddings(parse(raw(embedding), reader=reader))
        return
    assert what in detail(raw(embedding), reader)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("number", ["1e300", "-1e300", "1e999", "9" * 400])
def test_a_number_too_large_for_float32_is_infinite(number: str, reader: Make) -> None:
    got = embeddings(parse(raw(f"[{FULL},{number}]"), reader=reader))
    assert np.isinf(got[1, -1])  # `check` refuses the row


@pytest.mark.parametrize(
    ("body", "what"),
    [
        pytest.param(b"", "is not valid JSON", id="empty"),
        pytest.param(b"<html>502 Bad Gateway</html>", "is not valid JSON", id="html"),
        pytest.param(reply(*rows(2))[:-1], "is not valid JSON", id="last-byte-missing"),
        pytest.param(reply(*rows(2))[:60_000], "is not valid JSON", id="half"),
        pytest.param(reply(*rows(1)) + b"x", "is not valid JSON", id="more-after"),
        pytest.param(reply(*rows(1)) * 2, "is not valid JSON", id="twice"),
        pytest.param(
            reply(*rows(1), model="x").replace(b'"x"', b'"\xff"'), "is not UTF-8", id="ff"
        ),
        pytest.param(reply(*rows(1)).decode().encode("utf-16"), "is not UTF-8", id="utf-16"),
        pytest.param(b"[" * 100_000, "is not valid JSON", id="deep"),
        pytest.param(b'{"a":' * 100_000, "is not valid JSON", id="deep-objects"),
        pytest.param(b"[" + b"[1]," * 20_000 + b"[1]]", "more than 10000 arrays", id="arrays"),
        pytest.param(b'{"a":1,"a":2}', "has a key twice", id="top-twice"),
        pytest.param(b'{"a":1,"\\u0061":2}', "has a key twice", id="escaped-twice"),
        pytest.param(b'{"a":1e99999999999999999999}', "is not valid JSON", id="exponent"),
        pytest.param(b'{"a":"\n"}', "is not valid JSON", id="raw-new-line"),
        pytest.param(b'{"a":"' + b"x" * 5000, "is not valid JSON", id="open-string"),
        pytest.param(b'{"' + b"x" * 5000 + b'":1}', "is not valid JSON", id="long-key"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes, what: str) -> None:
    with pytest.raises(ProviderFault) as caught:
        parse(body)
    assert caught.value.fault is Fault.CORRUPT
    assert what in caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        reply(*rows(1), error="SECRET")[:-1],
        raw('"SECRET"'),
        raw(f'[{FULL},"SECRET"]'),
        raw('{"SECRET":1,"SECRET":2}'),
    ],
)
def test_a_fault_never_quotes_the_reply(body: bytes) -> None:
    with pytest.raises(ProviderFault) as caught:
        embeddings(parse(body))
    error: BaseException | None = caught.value
    assert "SECRET" not in repr(error)
    assert error is not None
    assert error.__suppress_context__ or error.__context__ is None


def test_a_list_of_numbers_too_short_to_be_cut_out_keeps_its_numbers() -> None:
    tree = parse(b'{"usage":{"by_step":[1,2.5]}}').tree
    assert tree["usage"]["by_step"] == [1, Decimal("2.5")]


def test_rows_outlive_the_reply_and_later_replies() -> None:
    sent = rows(2)
    got = embeddings(parse(reply(*sent)))
    for seed in range(5):
        parse(reply(*rows(2, seed=seed)))
    assert got.tobytes() == sent.tobytes()


def test_threads_read_their_own_replies() -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        sent = rows(2, seed=seed)
        body = reply(*sent)
        for _ in range(20):
            if embeddings(parse(body)).tobytes() != sent.tobytes():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- the digits themselves --------------------------------------------------------------------


def written(document: Document, order: tuple[int, ...] = (0, 1, 2)) -> list[bytes]:
    values = [item["embedding"] for item in document.tree["data"]]
    return list(document.written([values[i] for i in order]))


@pytest.mark.parametrize("reader", READERS)
def test_the_digits_of_a_reply_are_those_that_its_rows_were_read_from(reader: Make) -> None:
    sent = rows(3)
    got = written(parse(reply(*sent), reader=reader))
    assert [np.array(orjson.loads(one), dtype=np.float32).tobytes() for one in got] == [
        row.tobytes() for row in sent
    ]


@pytest.mark.parametrize(
    "body",
    [
        reply(*rows(3).astype(np.float64)),
        json.dumps(json.loads(reply(*rows(3)))).encode(),
        reply(*rows(3)).replace(b"[0.", b"[\t0.").replace(b"[-0.", b"[\t-0."),
        reply(*(base64.b64encode(row.tobytes()).decode() for row in rows(3))),
        reply(*rows(3), note=json.dumps([0.5] * 4096)),
        reply(*rows(3), other=[0.5] * 4096),
    ],
    ids=["float64 digits", "spaces", "tabs", "base64", "a string like an array", "one array more"],
)
def test_digits_that_would_not_do_for_a_reply_of_ours_are_not_handed_on(body: bytes) -> None:
    document = parse(body)
    assert embeddings(document).tobytes() == rows(3).tobytes()
    assert written(document) == []


def test_digits_in_another_order_than_the_replys_are_not_handed_on() -> None:
    assert written(parse(reply(*rows(3))), (0, 2, 1)) == []
