"""The options that a deployment may set are those that are sent."""

from __future__ import annotations

import json

import pytest

from plugins._dialects import DIALECTS, OPTIONS, Target, dialect

_SAMPLES = {
    "boolean": True,
    "duration": "5m",
    "integer": 8192,
    "numbers": {"prompt": 0.02},
    "string": "x",
    "strings": ["nebius"],
}


def test_options_are_for_known_dialects_and_of_known_kinds() -> None:
    assert set(OPTIONS) <= set(DIALECTS)
    kinds = {kind for options in OPTIONS.values() for kind in options.values()}
    assert {kind for kind in kinds if isinstance(kind, str)} <= set(_SAMPLES)


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in OPTIONS for option in OPTIONS[name]]
)
def test_every_option_is_sent(name: str, option: str) -> None:
    kind = OPTIONS[name][option]
    value = _SAMPLES[kind] if isinstance(kind, str) else kind[0]
    target = Target(name, "https://p.example/v1", "m", None, options={option: value})
    body = json.loads(dialect(name).request(target, ["a"], [2]).body)
    places = [body, body.get("options", {}), body.get("provider", {})]
    assert any(place.get(option) == value for place in places)
