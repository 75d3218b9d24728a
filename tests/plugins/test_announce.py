"""What the start says: who is on, who is off and why; and when it must not start at all."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins._pool import build
from plugins._readiness import StartError, announce
from router_config import SHIPPED_CONFIG, Config, load

SHIPPED: list[dict[str, Any]] = yaml.safe_load(SHIPPED_CONFIG.read_text())["model_list"]
GROUPS = list(dict.fromkeys(entry["model_name"] for entry in SHIPPED))


def variable(entry: dict[str, Any]) -> str:
    """Return the variable that decides about *entry*, as the file has it."""
    params = entry["litellm_params"]
    (name,) = (
        params[key].removeprefix("os.environ/")
        for key in ("api_key", "api_base")
        if str(params.get(key)).startswith("os.environ/")
    )
    return str(name)


VARIABLES = sorted({variable(entry) for entry in SHIPPED})
VALUES = {
    name: "http://127.0.0.1:9/v1" if name.endswith("_API_BASE") else "a-key-of-somebody"
    for name in VARIABLES
}


@pytest.fixture(scope="module")
def shipped() -> Config:
    return load(SHIPPED_CONFIG)


def announced(
    config: Config, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> dict[str, str]:
    """Announce and return what was said, by group; fails the test if a value stands in it."""
    with caplog.at_level(logging.INFO, "qwen3_router"):
        announce(config, build(config, environ))
    assert not [value for value in environ.values() if value in caplog.text]
    said = re.findall(r"group ([^\s,]+?):? (?:has )?(?!off: )(.*)", "\n".join(caplog.messages))
    return dict(said)


@pytest.mark.parametrize("name", VARIABLES)
def test_one_variable_is_enough(
    shipped: Config, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    said = announced(shipped, {name: VALUES[name]}, caplog)
    assert sorted(said) == sorted(GROUPS)
    for group in GROUPS:
        entries = [entry for entry in SHIPPED if entry["model_name"] == group]
        on = [one["model_info"]["id"] for one in entries if variable(one) == name]
        if on:
            assert said[group] == ", ".join(on)
        else:
            answers = said[group].partition(": ")[0]
            usable = {one["model_name"] for one in SHIPPED if variable(one) == name}
            other = next((one for one in shipped.groups[group].fallbacks if one in usable), None)
            assert answers == (
                f"no usable deployment here; its fallback {other} answers"
                if other
                else "no usable deployment and answers 503"
            )
            assert {variable(one) for one in entries} <= set(re.findall(r"[A-Z_]+", said[group]))


def test_what_is_off_is_one_line_for_a_group_with_each_reason_once(
    shipped: Config, caplog: pytest.LogCaptureFixture
) -> None:
    announced(shipped, {"SCW_SECRET_KEY": "a-key"}, caplog)
    for group in GROUPS:
        off = [
            f"{variable(one)} is not set ({one['model_info']['id']})"
            for one in SHIPPED
            if one["model_name"] == group and variable(one) != "SCW_SECRET_KEY"
        ]
        assert f"group {group}, off: {'; '.join(off)}" in caplog.messages
    assert len(caplog.messages) == 2 * len(GROUPS)


def test_deployments_that_are_off_for_one_reason_share_it(
    shipped: Config, caplog: pytest.LogCaptureFixture
) -> None:
    announced(shipped, {"NOVITA_API_KEY": "a-key"}, caplog)
    (line,) = (one for one in caplog.messages if f"{GROUPS[0]}, off: " in one)
    assert line.count("SCW_SECRET_KEY is not set (scaleway-free, scaleway-paid)") == 1
    assert line.count("SCW_SECRET_KEY") == 1


def test_with_all_variables_nobody_is_off(
    shipped: Config, caplog: pytest.LogCaptureFixture
) -> None:
    said = announced(shipped, VALUES, caplog)
    assert not [message for message in caplog.messages if " off" in message or "503" in message]
    assert {group: len(said[group].split(", ")) for group in GROUPS} == {
        group: sum(entry["model_name"] == group for entry in SHIPPED) for group in GROUPS
    }


@pytest.mark.parametrize("environ", [{}, {"SCW_SECRET_KEY": ""}, {"SCW_SECRET_KEY": " "}])
def test_with_no_variable_it_does_not_start(shipped: Config, environ: dict[str, str]) -> None:
    with pytest.raises(StartError) as caught:
        announce(shipped, build(shipped, environ))
    words = str(caught.value)
    assert set(VARIABLES) <= set(re.findall(r"[A-Z_]+", words))
    assert "`make demo`" in words


def _required(tmp_path: Path) -> Config:
    text = SHIPPED_CONFIG.read_text()
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("-eu: {region: eu}", "-eu: {region: eu, required: true}"))
    assert path.read_text() != text
    return load(path)


def test_a_required_group_with_nobody_stops_the_start(tmp_path: Path) -> None:
    config = _required(tmp_path)
    with pytest.raises(StartError) as caught:
        announce(config, build(config, {"NOVITA_API_KEY": "a-key"}))
    words = str(caught.value)
    assert "qwen3-embedding-8b-eu is required" in words
    assert "SCW_SECRET_KEY" in words
    assert "NOVITA_API_KEY" not in words


def test_a_required_group_with_somebody_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "qwen3-embedding-8b-eu" in announced(
        _required(tmp_path), {"SCW_SECRET_KEY": "a-key"}, caplog
    )
