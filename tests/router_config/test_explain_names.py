"""`qwen3-router explain` takes every name that the proxy serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from router_config.cli import main
from router_config.rules.wiring import ADVISED, CALLBACKS


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-mine")
    config: dict[str, Any] = {
        "model_list": [
            {
                "model_name": group,
                "litellm_params": {"model": f"qwen3/{provider}", "api_key": "os.environ/KEY"},
                "model_info": {"id": provider, "mode": "embedding"},
            }
            for group, provider in [("one", "deepinfra"), ("two", "nebius")]
        ],
        "litellm_settings": {
            "callbacks": [*CALLBACKS, *ADVISED],
            "custom_provider_map": [
                {"provider": "qwen3", "custom_handler": "plugins.provider.handler"}
            ],
        },
        "router_settings": {
            "num_retries": 0,
            "disable_cooldowns": True,
            "model_group_alias": {"large": "one", "next": {"model": "two", "hidden": True}},
            "fallbacks": [{"one": ["next"]}],
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("name", ["one", "large", "one:query", "large:document"])
def test_an_alias_and_an_input_type_lead_to_the_group_that_serves(
    path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", name, "--config", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("one: at most ")
    # The fallback, which the file names by its alias, is there too.
    assert printed.index("deepinfra") < printed.index("nebius")


def test_an_unknown_name_is_answered_with_the_known_ones(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "one:passage", "--config", str(path)]) == 2
    assert "there are: one, two, and the aliases large, next" in capsys.readouterr().err
