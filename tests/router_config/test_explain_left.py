"""What `explain` says about budgets: read beside the proxy, and nothing is made by looking."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from plugins._ledger import Amount, Budget, Ledger
from plugins._ledger_redis import RedisLedger
from plugins._ledger_sqlite import SqliteLedger
from router_config import SHIPPED_CONFIG
from router_config.cli import main
from tests.plugins.ledger_stores import redis_server

KEYS = {"DEEPINFRA_API_KEY": "a", "NEBIUS_API_KEY": "b", "NOVITA_API_KEY": "c"}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QWEN3_ROUTER_STATE", str(tmp_path / "state"))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    def entry(provider: str, order: int, budget: str | None) -> dict[str, Any]:
        key = f"os.environ/{provider.upper()}_API_KEY"
        return {
            "model_name": "group",
            "litellm_params": {"model": f"qwen3/{provider}", "api_key": key, "order": order},
            "model_info": {"id": provider, **({"budget": budget} if budget else {})},
        }

    shipped = yaml.safe_load(SHIPPED_CONFIG.read_text())
    made = {
        **shipped,
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "model_list": [
            entry("deepinfra", 1, "tokens"),
            entry("nebius", 2, "dollars"),
            entry("novita", 3, None),
        ],
        "embedding_router": {
            "budgets": {
                "tokens": {"tokens": 1000, "period": "lifetime"},
                "dollars": {"usd": "1.5", "period": "month"},
            }
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def rows(config: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["explain", "group", "--config", str(config), "--format", "json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def spend(tmp_path: Path, store: Ledger | None = None) -> None:
    async def work() -> None:
        ledger = store or SqliteLedger(tmp_path / "state" / "ledger.db")
        await ledger.define(
            [
                Budget("tokens", "lifetime", tokens=1000),
                Budget("dollars", "month", nano_usd=1_500_000_000),
            ]
        )
        held = await ledger.reserve(["tokens"], Amount(tokens=1000), 60)
        await ledger.settle(held, Amount(tokens=999))
        await ledger.reserve(["dollars"], Amount(nano_usd=250_000_000), 60)
        await ledger.close()

    asyncio.run(work())


def test_without_a_ledger_everything_is_left_and_none_is_made(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [row["left"] for row in rows(config, capsys)] == [
        {"tokens": "1,000 tokens"},
        {"dollars": "$1.50"},
        {"deployment:novita": "no limit"},
    ]
    assert not (tmp_path / "state").exists()


def test_what_is_spent_and_held_is_not_left(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(tmp_path)
    found = rows(config, capsys)
    assert [row["left"] for row in found[:2]] == [{"tokens": "1 tokens"}, {"dollars": "$1.25"}]
    assert [row["refused"] for row in found] == ["budget tokens has no room", None, None]


def test_the_budget_of_a_fallback_group_counts_for_its_own_deployments(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that of the group which is asked counts for all."""
    made = yaml.safe_load(config.read_text())
    for entry in made["model_list"][1:]:
        entry["model_name"] = "behind"
    made["router_settings"]["fallbacks"] = [{"group": ["behind"]}]
    both = {f"group:{name}": {"tokens": 100, "period": "month"} for name in ("group", "behind")}
    made["embedding_router"]["budgets"].update(both)
    config.write_text(yaml.safe_dump(made))
    for full, refused in (("group:behind", [1, 2]), ("group:group", [0, 1, 2])):

        async def spend_all(name: str = full) -> None:
            ledger = SqliteLedger(tmp_path / "state" / "ledger.db")
            await ledger.define([Budget(name, "month", tokens=100)])
            await ledger.adjust(name, Amount(tokens=100), "test", "me")
            await ledger.close()

        asyncio.run(spend_all())
        found = rows(config, capsys)
        assert [i for i, row in enumerate(found) if row["refused"]] == refused
        assert f"budget {full} has no room" == found[refused[0]]["refused"]
        assert found[1]["left"]["group:behind"] == "0 tokens"


def test_the_columns_stay_in_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(tmp_path)
    assert main(["explain", "group", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (head,) = [line for line in lines if " left " in line]
    at, state = head.index("left"), head.index("state")
    table = lines[lines.index(head) + 1 :]
    assert [line[at:state].strip() for line in table] == ["1 tokens", "$1.25", "no limit"]
    assert [line[state:] for line in table] == ["budget tokens has no room", "ready", "ready"]


def test_a_ledger_that_cannot_be_read_is_said_and_stops_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.db").write_text("something else")
    assert {text for row in rows(config, capsys) for text in row["left"].values()} == {"unknown"}
    assert main(["explain", "group", "--config", str(config)]) == 0
    assert "What is left of the budgets is unknown: " in capsys.readouterr().out


def test_a_ledger_on_redis_is_read_too_and_nothing_is_made(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = yaml.safe_load(config.read_text())
    with redis_server() as server:
        made["embedding_router"]["ledger"] = server.url
        config.write_text(yaml.safe_dump(made))
        assert next(row["left"] for row in rows(config, capsys)) == {"tokens": "1,000 tokens"}
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0
        spend(tmp_path, RedisLedger(server.url, timeout_s=20))
        found = rows(config, capsys)
        assert [row["left"] for row in found[:2]] == [{"tokens": "1 tokens"}, {"dollars": "$1.25"}]
        assert found[0]["refused"] == "budget tokens has no room"
        assert not (tmp_path / "state").exists()
        server.signal(signal.SIGSTOP)
        started = time.monotonic()
        away = rows(config, capsys)
        server.signal(signal.SIGCONT)
    assert {text for row in away for text in row["left"].values()} == {"unknown"}
    assert time.monotonic() - started < 5
    assert main(["explain", "group", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    assert "What is left of the budgets is unknown: the ledger on 127.0.0.1:" in said


def test_budgets_are_read_without_litellm(config: Path, tmp_path: Path) -> None:
    spend(tmp_path)
    words = ["explain", "group", "--config", str(config)]
    program = (
        "import sys; sys.modules['litellm'] = sys.modules['redis'] = None; "
        f"from router_config.cli import main; sys.exit(main({words!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "$1.25" in done.stdout) == (0, True), done.stderr
