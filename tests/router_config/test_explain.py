"""`qwen3-router explain` as a user reads it: who shares an endpoint, and where attempts end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from router_config import SHIPPED_CONFIG
from router_config.cli import main

END = "-- 2 attempts end here"


def explain(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    deployments: list[tuple[str, str, int]],
    *options: str,
) -> str:
    """Return what is printed for one group of (id, key, order), with two attempts."""
    config: dict[str, Any] = {
        **yaml.safe_load(SHIPPED_CONFIG.read_text()),
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "model_list": [
            {
                "model_name": "group",
                "litellm_params": {
                    "model": "qwen3/novita",
                    "api_key": f"os.environ/{key}",
                    "order": order,
                },
                "model_info": {"id": id_, "mode": "embedding", "budget": f"budget-{id_}"},
            }
            for id_, key, order in deployments
        ],
        "embedding_router": {
            "attempts": 2,
            "budgets": {
                f"budget-{id_}": {"usd": 1, "period": "month"} for id_, _, _ in deployments
            },
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["explain", "group", "--config", str(path), *options]) == 0, capsys.readouterr()
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEY_A", "KEY_B", "KEY_C"):
        monkeypatch.setenv(name, f"value of {name}")


def test_who_shares_an_endpoint_with_an_earlier_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployments = [("free", "KEY_A", 1), ("other", "KEY_B", 2), ("paid", "KEY_A", 3)]
    lines = explain(tmp_path, capsys, deployments).splitlines()
    assert [line.split("  ")[-1] for line in lines[-3:]] == [
        "ready",
        "ready",
        "same endpoint as free",
    ]
    rows = json.loads(explain(tmp_path, capsys, deployments, "--format=json"))
    assert [row["same_endpoint_as"] for row in rows] == [None, None, "free"]


@pytest.mark.parametrize(
    ("deployments", "before"),
    [
        ([("a", "KEY_A", 1), ("b", "KEY_B", 2), ("c", "KEY_C", 3)], "c"),
        # A second deployment of one endpoint takes no attempt of its own.
        ([("a", "KEY_A", 1), ("a-2", "KEY_A", 2), ("b", "KEY_B", 3), ("c", "KEY_C", 4)], "c"),
        # Nor does one that is off.
        ([("a", "KEY_A", 1), ("off", "UNSET", 2), ("b", "KEY_B", 3), ("c", "KEY_C", 4)], "c"),
    ],
)
def test_a_line_stands_where_the_attempts_end(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    deployments: list[tuple[str, str, int]],
    before: str,
) -> None:
    lines = explain(tmp_path, capsys, deployments).splitlines()
    (place,) = (i for i, line in enumerate(lines) if line.startswith(END))
    assert f"  {before}  " in lines[place + 1]


@pytest.mark.parametrize(
    "deployments",
    [
        [("a", "KEY_A", 1), ("b", "KEY_B", 2)],
        # Siblings: any of them may be drawn for the last attempt.
        [("a", "KEY_A", 1), ("b", "KEY_B", 2), ("c", "KEY_C", 2)],
        [("a", "KEY_A", 1), ("b", "KEY_B", 2), ("b-2", "KEY_B", 3)],
    ],
)
def test_no_line_stands_where_every_one_may_be_called(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    deployments: list[tuple[str, str, int]],
) -> None:
    assert END not in explain(tmp_path, capsys, deployments)
