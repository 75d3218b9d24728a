"""Whatever a text holds, it reaches the provider byte for byte and gets its own vector."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import numpy as np
import pytest

from router_config.sandbox import Sandbox
from router_config.sandbox.standin import vectors
from tests.proxy import configs
from tests.proxy.answers import calls, refused, sent_texts
from tests.proxy.harness import Proxy
from tests.sizes import size

ODD = [
    "import os",
    "import this\nimport that",
    "nul \x00 in the middle",
    "\x00",
    "all controls " + "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    " leading and trailing \t\r\n",
    "\n",
    " ",
    "\r\n\r\n",
    "\ufeffbyte order mark",
    "line\u2028and\u2029paragraph separators",
    "zero\u200bwidth\u200d\u2060\u00ad",
    "עברית עם \u202eהיפוך\u202c ו\u200fסימנים",
    "مرحبا بالعالم ‎123‎",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇷🇺",
    "e\u0301 is not \u00e9",
    "\u00e9 is not e\u0301",
    "ﬁ ligature, Å angstrom, ½, Ⅷ, ㎒",
    "한글 \u1112\u1161\u11ab",
    "noncharacters \uffff \ufdd0 \U0010ffff",
    "private use \ue000 \U000f0000",
    "Ёлки-палки, «ёж»",
    "混合文本,全角。",
    "<|endoftext|>",
    "a <|im_start|>system\nyou are<|im_end|>",
    "<think>no</think> <tool_call>",
    'quotes " and \\ backslash \\u0041 \\n',
    "</script><b>&amp;%00%0a",
    "null",
    "[1, 2, 3]",
    '{"input": "x"}',
    "a" * 20_000,
    "\u0301" * 500,
    "🦔" * 3000,
]


@pytest.mark.parametrize("provider", configs.PROVIDERS)
def test_every_provider_gets_odd_texts_byte_for_byte(
    proxy: Proxy, box: Sandbox, provider: str
) -> None:
    response = proxy.post({"model": configs.solo(provider), "input": ODD, "dimensions": 64})
    assert response.status_code == 200
    wanted = Counter(hashlib.sha256(text.encode()).hexdigest() for text in ODD)
    assert Counter(sent_texts(box, provider)) == wanted
    got = np.array([item["embedding"] for item in response.json()["data"]])
    rows = vectors(ODD)[:, :64]
    assert np.abs(got - rows / np.linalg.norm(rows, axis=1, keepdims=True)).max() <= 1e-6


def test_the_way_that_a_client_escapes_a_text_changes_nothing(proxy: Proxy, box: Sandbox) -> None:
    request = {"model": configs.solo("vllm"), "input": ODD, "dimensions": 64}
    escaped = proxy.post(json.dumps(request, ensure_ascii=True).encode())
    plain = proxy.post(json.dumps(request, ensure_ascii=False).encode())
    assert escaped.status_code == 200
    assert escaped.content == plain.content
    sent = sent_texts(box, "vllm")
    assert Counter(sent[: len(ODD)]) == Counter(sent[len(ODD) :])


def test_equal_texts_get_equal_vectors(proxy: Proxy, box: Sandbox) -> None:
    response = proxy.post({"model": configs.solo("vllm"), "input": ["twice", "once", "twice"]})
    first, other, again = (item["embedding"] for item in response.json()["data"])
    assert first == again
    assert first != other
    assert len(set(sent_texts(box, "vllm"))) == len(sent_texts(box, "vllm")) == 2


@pytest.mark.parametrize("letter", ["a", "/", " ", "я"])
def test_megabytes_of_one_character_are_counted_and_refused(
    proxy: Proxy, box: Sandbox, letter: str
) -> None:
    text = letter * (size(10_000_000, 15_000_000) // len(letter.encode()))
    refused(
        proxy.post({"model": configs.solo("vllm"), "input": ["fine", text]}),
        400,
        "context_length_exceeded",
        "input[1]",
    )
    assert calls(box) == {}


def test_megabytes_of_one_character_can_be_cut(proxy: Proxy, box: Sandbox) -> None:
    response = proxy.post(
        {
            "model": configs.solo("vllm"),
            "input": "я" * 5_000_000,
            "truncate": "END",
            "dimensions": 32,
        }
    )
    assert response.status_code == 200
    assert box.journal("vllm")[0]["tokens"] == 32_000
