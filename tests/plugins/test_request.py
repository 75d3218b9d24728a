"""What a client may ask for: every field, every way to get it wrong, at no cost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._errors import ClientError
from plugins._request import parse_body, parse_fields, split_model

MODEL = "qwen3-embedding-8b"
TASK = "Given a web search query, retrieve relevant passages that answer the query"


def parse(fields: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    return parse_fields(
        {"model": MODEL, "input": "text", **fields},
        headers or {},
        max_inputs=2048,
        default_instruct=TASK,
    )


def refusal(fields: dict[str, Any], headers: dict[str, str] | None = None) -> ClientError:
    with pytest.raises(ClientError) as caught:
        parse(fields, headers)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"model": NaN}',
        b'{"input": "\xff"}',
        b'{"input": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"input": 1e99999999999}x',
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_not_one_json_object_is_invalid_json(body: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        parse_body(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"input":"x" , "input":["y"]}',
        b'{"input":{"a":[1,{"b":2}]},"z":1,"input":2}',
        b'{"inp\\u0075t":"x","input":"y"}',
        b'{"a\\"":1,"a\\"":2}',
    ],
)
def test_a_name_given_twice_is_refused(body: bytes) -> None:
    with pytest.raises(ClientError, match="more than once"):
        parse_body(body)


def _object(*fields: bytes) -> bytes:
    return b'{"model":"a","input":"x",' + b",".join(fields) + b"}"


@pytest.mark.parametrize(
    "body",
    [
        _object(b'"a":[' + b"[]," * 1_000_000 + b"1]"),
        _object(b'"a":[' + b"{}," * 1_000_000 + b"1]"),
        _object(b'"a":[' + b'"",' * 100_000 + b"1]"),
        _object(*(b'"%d":0' % i for i in range(1000))),
        _object(b'"a":{' + b",".join(b'"%d" :0' % i for i in range(100_000)) + b"}"),
        _object(b'"a":[' + b"1," * 8_000_000 + b"1]"),
        _object(b'"a":[' + b"1.5," * 4_000_000 + b"1]"),
        _object(b'"a":[' + b'"",' * 5_500_000 + b"1]"),
        b'{"model":"a","input":[' + b"1," * 500_001 + b"1]}",
    ],
    ids=[
        *("lists", "objects", "strings", "fields", "names"),
        *("integers", "floats", "many-strings", "ids"),
    ],
)
def test_a_body_of_very_many_parts_is_refused_in_no_time(body: bytes) -> None:
    with pytest.raises(ClientError, match=r"more than 256|too many") as caught:
        parse_body(body)
    assert caught.value.code == "invalid_json"


def test_brackets_inside_texts_are_no_parts() -> None:
    text = "[{" * 100_000
    assert parse_body(orjson.dumps({"input": [text, '"' + text]}))["input"][0] == text


def test_commas_inside_texts_are_no_values() -> None:
    lines = "1,5;2,5\\\n" * 200 + '",' * 200
    texts = [f"{i},{lines}" for i in range(2048)]
    body = orjson.dumps({"model": "a", "input": texts})
    assert body.count(b",") > 500_000
    assert parse_body(body)["input"] == texts


def test_half_a_million_token_ids_are_read() -> None:
    ids = [list(range(500))] * 1000
    assert parse_body(orjson.dumps({"model": "a", "input": ids}))["input"] == ids


def test_strings_side_by_side_are_invalid_json_whatever_is_in_them() -> None:
    with pytest.raises(ClientError, match="not valid JSON"):
        parse_body(b'{"a":' + b'"[,"' * 2_000_000)


def test_a_name_after_a_very_long_text_is_still_seen() -> None:
    long = b'"a":"' + b"x\\u0041" * 400_000 + b'\\\\"'
    assert set(parse_body(b'{%b,"b":1}' % long)) == {"a", "b"}
    with pytest.raises(ClientError, match="'a' more than once"):
        parse_body(b'{%b,"a" \n :1}' % long)


def test_too_many_inputs_are_left_to_their_own_refusal() -> None:
    assert len(parse_body(orjson.dumps({"input": ["x"] * 200_000}))["input"]) == 200_000


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ),
    )
)
def test_every_object_with_distinct_names_is_read_as_it_is(value: dict[str, Any]) -> None:
    try:
        body = orjson.dumps(value)
    except TypeError:  # a lone surrogate
        return
    assert parse_body(body) == orjson.loads(body)


@pytest.mark.parametrize("value", [None, {}, 1, 1.5, True, "", []])
def test_an_input_that_is_no_text_is_refused(value: Any) -> None:
    error = refusal({"input": value})
    assert (error.status, error.code, error.param) == (400, "invalid_input", "input")


@pytest.mark.parametrize("bad", ["", None, 1.5, True, {}, []])
def test_the_bad_one_among_several_inputs_is_named(bad: Any) -> None:
    error = refusal({"input": ["good", "good", bad]})
    assert (error.code, error.param) == ("invalid_input", "input[2]")


def test_at_most_2048_inputs() -> None:
    assert len(parse({"input": ["x"] * 2048}).texts) == 2048
    assert refusal({"input": ["x"] * 2049}).code == "too_many_inputs"


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_recognised_as_such(ids: Any) -> None:
    asked = parse({"input": ids})
    assert asked.texts == ()
    assert [list(item) for item in asked.token_inputs] == (
        ids if isinstance(ids[0], list) else [ids]
    )


@pytest.mark.parametrize("ids", [[1, "a"], [1, -1], [1, True], [[1], "a"], [[1], []], [[1], [1.5]]])
def test_mixed_or_impossible_token_ids_are_refused(ids: Any) -> None:
    assert refusal({"input": ids}).code == "invalid_input"


@pytest.mark.parametrize("value", [0, 31, 4097, 1.5, "1024", True, [], {}])
def test_dimensions_outside_32_to_4096_are_refused(value: Any) -> None:
    error = refusal({"dimensions": value})
    assert (error.status, error.code, error.param) == (400, "invalid_dimensions", "dimensions")


def test_null_means_the_default() -> None:
    asked = parse(dict.fromkeys(("dimensions", "encoding_format", "user", "truncate")))
    assert (asked.dimensions, asked.encoding, asked.user, asked.truncate) == (
        None,
        "float",
        None,
        False,
    )


@pytest.mark.parametrize("value", ["hex", "FLOAT", 1, []])
def test_an_unknown_encoding_is_refused(value: Any) -> None:
    assert refusal({"encoding_format": value}).param == "encoding_format"


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"input_type": "query"}, {}),
        ({}, {"x-router-input-type": "query"}),
        ({"model": MODEL + ":query"}, {}),
        ({"model": MODEL + ":query", "input_type": "query"}, {"x-router-input-type": "query"}),
    ],
)
def test_a_query_gets_the_instruction_however_it_is_marked(
    fields: dict[str, Any], headers: dict[str, str]
) -> None:
    asked = parse(fields, headers)
    assert (asked.query, asked.instruct, asked.group) == (True, TASK, MODEL)


@pytest.mark.parametrize("fields", [{}, {"input_type": "document"}, {"model": MODEL + ":document"}])
def test_a_document_gets_no_instruction(fields: dict[str, Any]) -> None:
    assert parse(fields).instruct is None


def test_an_own_instruction_makes_a_query() -> None:
    assert parse({"instruct": "Find the law"}).instruct == "Find the law"


def test_an_instruction_for_documents_is_refused() -> None:
    assert refusal({"instruct": "Find", "input_type": "document"}).param == "instruct"


def test_a_contradiction_on_the_input_type_is_refused() -> None:
    error = refusal({"input_type": "query"}, {"x-router-input-type": "document"})
    assert error.param == "input_type"


def test_a_misspelt_field_is_refused_with_the_right_name() -> None:
    error = refusal({"dimension": 512})
    assert "`dimensions`" in error.message


def test_foreign_fields_are_dropped() -> None:
    asked = parse(
        {"api_key": "k", "num_retries": 9, "metadata": {"model_info": {}}, "stream": True}
    )
    assert asked == parse({})


def test_the_model_is_kept_as_asked() -> None:
    assert parse({"model": MODEL + ":query"}).model == MODEL + ":query"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("a", ("a", None)),
        ("a:query", ("a", "query")),
        ("a:document", ("a", "document")),
        ("a:b", ("a:b", None)),
        ("a:", ("a:", None)),
        (":query", ("", "query")),
    ],
)
def test_the_suffix_is_split_off_only_when_it_is_an_input_type(
    model: str, expected: tuple[str, str | None]
) -> None:
    assert split_model(model) == expected
