"""Every recorded reply is read as its `.expected` says, every target asked as its `.request` says.

A new case is two new files in `tests/plugins/dialects/<dialect>/` and no code.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugins._dialects import DIALECTS, Target, WireReply, dialect
from plugins._errors import ProviderFault
from tests.plugins.dialect_cases import (
    FOLDER,
    KEY,
    TEXTS,
    read_http,
    show_fault,
    show_reply,
    show_request,
)


def _name(path: Path) -> str:
    return str(path.relative_to(FOLDER).with_suffix(""))


REPLIES = sorted(FOLDER.glob("*/*.http"))
TARGETS = sorted(FOLDER.glob("*/*.target"))


def _read(path: Path) -> WireReply | ProviderFault:
    recorded = read_http(path)
    target = Target(
        provider=path.parent.name,
        api_base="https://provider.example/v1",
        wire_model="m",
        api_key=KEY,
        base64=recorded.options.get("base64") == "true",
        usage_counts=recorded.options.get("usage_counts", "tokens"),
    )
    now = recorded.options.get("now")
    try:
        return dialect(path.parent.name).reply(
            recorded.status,
            recorded.headers,
            recorded.body,
            int(recorded.options.get("n", "1")),
            target,
            now_s=None if now is None else float(now),
        )
    except ProviderFault as fault:
        return fault


@pytest.mark.parametrize("path", REPLIES, ids=_name)
def test_recorded_reply_is_read_as_expected(path: Path) -> None:
    seen = _read(path)
    expected = path.with_suffix(".expected").read_text()
    if isinstance(seen, WireReply):
        assert show_reply(seen) == expected
    else:
        assert show_fault(seen) == expected
        assert seen.status == read_http(path).status
        assert seen.sent


@pytest.mark.parametrize("path", TARGETS, ids=_name)
def test_recorded_target_is_asked_as_expected(path: Path) -> None:
    lines = (line.partition(":") for line in path.read_text().splitlines())
    said = {name.strip(): value.strip() for name, _, value in lines}
    target = Target(
        provider=path.parent.name,
        api_base=said["api_base"],
        wire_model=said["wire_model"],
        api_key=said.get("api_key"),
        base64=said.get("base64") == "true",
        options=json.loads(said.get("options", "{}")),
    )
    request = dialect(path.parent.name).request(target, TEXTS, [9, 9, 9])
    assert json.loads(request.body)["input"] == TEXTS
    assert show_request(request) == path.with_suffix(".request").read_text()


def test_every_dialect_has_recorded_cases() -> None:
    assert {path.parent.name for path in REPLIES} == set(DIALECTS)
    assert {path.parent.name for path in TARGETS} == set(DIALECTS)


def test_every_case_is_complete() -> None:
    for path in FOLDER.glob("*/*.expected"):
        assert path.with_suffix(".http").exists(), path
    for path in FOLDER.glob("*/*.request"):
        assert path.with_suffix(".target").exists(), path
