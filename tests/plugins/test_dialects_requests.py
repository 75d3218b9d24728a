"""What every dialect promises about its requests, whoever the provider is."""

from __future__ import annotations

import json

import pytest

from plugins._dialects import DIALECTS, Dialect, dialect
from plugins._errors import Fault, ProviderFault
from tests.plugins.dialect_cases import KEY, TEXTS, target


def test_name_is_the_name_in_the_table(speak: Dialect) -> None:
    assert DIALECTS[speak.name] is speak


def test_texts_arrive_byte_for_byte_and_in_order(speak: Dialect) -> None:
    texts = [
        *TEXTS,
        "e\u0301 is not \u00e9",
        "\ufeffBOM",
        "<|endoftext|>",
        "\r\n\t",
        "\u2028\u202e\u200e",
    ]
    sent = speak.request(target(speak), texts, [9] * len(texts))
    assert json.loads(sent.body.decode("utf-8"))["input"] == texts


def test_one_text_is_sent_as_a_list_too(speak: Dialect) -> None:
    sent = speak.request(target(speak), ["a"], [2])
    assert json.loads(sent.body)["input"] == ["a"]


def test_wire_model_is_sent(speak: Dialect) -> None:
    assert json.loads(speak.request(target(speak), ["a"], [2]).body)["model"] == "the-model"


@pytest.mark.parametrize("ask_base64", [True, False])
def test_dimensions_are_never_asked_for(speak: Dialect, ask_base64: bool) -> None:
    sent = speak.request(target(speak, base64=ask_base64), ["a"], [2])
    assert "dimensions" not in json.loads(sent.body)


def test_base64_is_asked_for_only_where_the_deployment_has_it(speak: Dialect) -> None:
    sent = json.loads(speak.request(target(speak, base64=False), ["a"], [2]).body)
    assert sent.get("encoding_format") in (None, "float")


@pytest.mark.parametrize("name", ["scaleway", "siliconflow", "fireworks", "ollama"])
def test_encoding_format_is_left_out_where_it_is_not_documented(name: str) -> None:
    sent = dialect(name).request(target(dialect(name)), ["a"], [2])
    assert "encoding_format" not in json.loads(sent.body)


def test_reply_is_asked_for_uncompressed(speak: Dialect) -> None:
    headers = speak.request(target(speak), ["a"], [2]).headers
    assert headers["accept-encoding"] == "identity"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("qwen3-embedding-router/")


def test_key_stands_in_the_authorization_header_only(speak: Dialect) -> None:
    sent = speak.request(target(speak), ["a"], [2])
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in sent.url
    assert KEY.encode() not in sent.body


def test_without_a_key_no_authorization_is_sent(speak: Dialect) -> None:
    sent = speak.request(target(speak, api_key=None), ["a"], [2])
    assert "authorization" not in sent.headers


def test_key_and_texts_are_in_no_repr(speak: Dialect) -> None:
    where = target(speak)
    sent = speak.request(where, ["my private text"], [4])
    assert KEY not in repr(where)
    assert KEY not in repr(sent)
    assert "private" not in repr(sent)


def test_key_from_a_file_may_end_in_a_new_line(speak: Dialect) -> None:
    sent = speak.request(target(speak, api_key=KEY + "\n"), ["a"], [2])
    assert sent.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", ["", " ", "two words", "ключ", "a\r\nx-evil: 1"])
def test_key_that_no_header_can_carry_is_a_fault_without_a_call(speak: Dialect, key: str) -> None:
    with pytest.raises(ProviderFault) as caught:
        speak.request(target(speak, api_key=key), ["a"], [2])
    assert caught.value.fault is Fault.AUTH
    assert not caught.value.sent
    assert key.strip() == "" or key not in str(caught.value)


@pytest.mark.parametrize("slash", ["", "/"])
def test_trailing_slash_of_the_base_changes_nothing(speak: Dialect, slash: str) -> None:
    sent = speak.request(target(speak, api_base="https://p.example/team/v1" + slash), ["a"], [2])
    path = "/team/api/embed" if speak.name == "ollama" else "/team/v1/embeddings"
    assert sent.url == "https://p.example" + path


def test_base_that_is_the_whole_address_is_taken_as_it_is(speak: Dialect) -> None:
    path = "/api/embed" if speak.name == "ollama" else "/v1/embeddings"
    sent = speak.request(target(speak, api_base="http://[::1]:8080" + path), ["a"], [2])
    assert sent.url == "http://[::1]:8080" + path


def test_query_of_the_base_stays_a_query(speak: Dialect) -> None:
    sent = speak.request(target(speak, api_base="https://p.example/v1/?version=2"), ["a"], [2])
    assert sent.url.startswith("https://p.example/")
    assert sent.url.endswith("?version=2")


def test_unknown_options_are_not_sent(speak: Dialect) -> None:
    plain = speak.request(target(speak), ["a"], [2])
    odd = speak.request(target(speak, options={"nonsense": 1}), ["a"], [2])
    assert odd == plain
