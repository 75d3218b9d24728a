"""`qwen3-router explain MODEL --against FILE` says what an edit changes before it is live."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router_config import SHIPPED_CONFIG
from router_config.cli import main

GROUP = "qwen3-embedding-8b"
SHIPPED = SHIPPED_CONFIG.read_text()
Compare = Callable[..., dict[str, Any]]


@pytest.fixture
def compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Compare:
    for name in ("SCW_SECRET_KEY", "NEBIUS_API_KEY", "NOVITA_API_KEY"):
        monkeypatch.setenv(name, f"value of {name}")
    monkeypatch.setenv("QWEN3_ROUTER_STATE", str(tmp_path / "state"))

    def run(old: str, new: str, model: str = GROUP) -> dict[str, Any]:
        assert old in SHIPPED
        edited = tmp_path / "edited.yaml"
        edited.write_text(SHIPPED.replace(old, new))
        command = ["explain", model, "--config", str(SHIPPED_CONFIG), "--against", str(edited)]
        assert main([*command, "--format", "json"]) == 0, capsys.readouterr().err
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert main(command) == 0
        found["text"] = capsys.readouterr().out
        return found

    return run


def test_the_same_order_is_said_to_be_the_same(compare: Compare) -> None:
    found = compare("# The configuration of the proxy", "# Our configuration of the proxy")
    assert (found["group"], found["deployments"]) == ({}, [])
    assert "Nothing: the same deployments" in found["text"]


def test_a_weight_changes_the_shares_of_its_order(compare: Compare) -> None:
    novita = "api_key: os.environ/NOVITA_API_KEY, order: 3, weight: 1}"
    found = compare(novita, novita.replace("weight: 1", "weight: 9"))
    changed = {one["id"]: one for one in found["deployments"]}
    assert set(changed) == {"novita", "nebius"}
    assert changed["novita"]["weight"] == [1.0, 9.0]
    assert changed["novita"]["share"][0] < changed["novita"]["share"][1]
    assert "~ novita: weight 1 -> 9, share" in found["text"]


def test_an_order_changes_the_places(compare: Compare) -> None:
    line = "os.environ/SCW_SECRET_KEY, order: 1}\n    model_info: {id: scaleway-free"
    found = compare(line, line.replace("order: 1", "order: 9"))
    (free,) = [one for one in found["deployments"] if one["id"] == "scaleway-free"]
    assert free["order"] == [1, 9]
    assert free["place"] == [1, 4]
    assert "order 1 -> 9" in found["text"]


def test_who_is_added_and_removed_is_told(compare: Compare) -> None:
    found = compare("id: novita, mode", "id: novita-two, mode")
    assert {one["id"]: one["change"] for one in found["deployments"]} == {
        "novita": "removed",
        "novita-two": "added",
    }
    assert "- novita: " in found["text"]
    assert "+ novita-two: " in found["text"]


def test_settings_of_the_group_are_told(compare: Compare) -> None:
    found = compare("  attempts: 3\n", "  attempts: 2\n")
    assert found["group"] == {"attempts": [3, 2]}
    assert "attempts: 3 -> 2" in found["text"]


def test_a_group_that_only_the_edit_has_is_told(compare: Compare) -> None:
    found = compare("qwen3-embedding-8b-cheap", "other", "other")
    assert found["group"] == {"exists": [False, True]}
    assert {one["change"] for one in found["deployments"]} == {"added"}


def test_an_edit_with_problems_ends_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = tmp_path / "edited.yaml"
    edited.write_text(SHIPPED.replace("  attempts: 3\n", "  atempts: 3\n"))
    assert main(["explain", GROUP, "--against", str(edited)]) == 1
    assert "edited.yaml" in capsys.readouterr().err
