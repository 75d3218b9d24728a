"""`qwen3-router health`: what people and programs read, and what an operator may say."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from plugins._fleet import PREFIX as STATS
from plugins._pool import build
from plugins._said import Said
from plugins._shared_sqlite import SqliteShared
from plugins._standing import Standing
from plugins._standings import PREFIX
from router_config import SHIPPED_CONFIG, load
from router_config.cli import main

KEYS = {"DEEPINFRA_API_KEY": "a", "NEBIUS_API_KEY": "b"}


def entry(id_: str, provider: str, group: str = "g") -> dict[str, Any]:
    key = f"os.environ/{provider.upper()}_API_KEY"
    return {
        "model_name": group,
        "litellm_params": {"model": f"qwen3/{provider}", "api_key": key},
        "model_info": {"id": id_},
    }


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QWEN3_ROUTER_STATE", str(tmp_path / "state"))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NOVITA_API_KEY", raising=False)
    shipped = yaml.safe_load(SHIPPED_CONFIG.read_text())
    del shipped["embedding_router"]
    made = {
        **shipped,
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "model_list": [
            entry("deepinfra", "deepinfra"),
            entry("nebius", "nebius"),
            entry("off", "novita"),
            entry("twin", "deepinfra", "h"),
        ],
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(made))
    monkeypatch.setenv("CONFIG_FILE_PATH", str(path))
    return path


def key_of(config: Path, id_: str) -> str:
    pool = build(load(config), KEYS)
    return next(one.endpoint.key for group in pool.values() for one in group if one.id == id_)


def noted(config: Path, *notes: tuple[str, bytes | None]) -> dict[str, bytes | None]:
    """Write notes as a proxy would; return all that there are."""

    async def run() -> dict[str, bytes | None]:
        shared = SqliteShared(config.parent / "state" / "ledger-shared.db")
        for name, value in notes:
            await shared.put(name, value)
        _, found = await shared.since(0)
        await shared.close()
        return found

    return asyncio.run(run())


def standing_of(config: Path, id_: str, **changed: Any) -> tuple[str, bytes]:
    key = key_of(config, id_)
    now = time.time()
    made = Standing(key, "ejected", "timeout", now - 90, now + 40, 2, "host.1.abc")
    return PREFIX + key, Said.of(replace(made, stamp=0, **changed)).to_json()


def stats_of(config: Path, name: str, numbers: list[Any], **changed: Any) -> tuple[str, bytes]:
    key = key_of(config, "deepinfra")
    said = {"at": time.time(), "leads": False, "ids": {"off": "a key"}, "keys": {key: numbers}}
    return STATS + name, orjson.dumps({**said, **changed})


Show = Callable[[], dict[str, dict[str, Any]]]


@pytest.fixture
def show(config: Path, capsys: pytest.CaptureFixture[str]) -> Show:
    def run() -> dict[str, dict[str, Any]]:
        capsys.readouterr()
        assert main(["health", "--format", "json"]) == 0
        return {row["id"]: row for row in json.loads(capsys.readouterr().out)["deployments"]}

    return run


def test_before_anything_ran_all_are_fine_or_off_and_nothing_is_made(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["g", "deepinfra", "fine"],
        ["g", "nebius", "fine"],
        ["g", "off", "off"],
        ["h", "twin", "fine"],
    ]
    assert "NOVITA_API_KEY is not set" in lines[3]
    assert lines[-1] == "No process is running on this ledger; above is what was last known."
    assert not (config.parent / "state").exists()


def test_the_table_says_who_is_out_why_and_until_when(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    noted(
        config,
        standing_of(config, "deepinfra"),
        standing_of(config, "nebius", reason="auth", until=None),
        stats_of(config, "host.1.abc", [100, 0.99, 0.2, 0.8, now, now + 7200.5], leads=True),
        stats_of(config, "host.2.abc", [300, 0.97, 0.4, 0.9, now, now + 3]),
        stats_of(config, "host.3.abc", [1, 0.0, 9.0, 9.0, now, None], at=now - 300),
    )
    assert main(["health"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("group", "deployment", "state", "reason", "since", "until", "next", "probe"),
        *("calls", "success", "p50", "p95"),
    ]
    # Two processes together; the third has ended.
    assert lines[1].split("  ", 1)[0] == "g"
    assert "ejected  timeout  2 m ago" in lines[1]
    assert lines[1].endswith("in 2 h      400    97.5%    350 ms  900 ms")
    assert "until mended" in lines[2]
    assert "ejected  timeout" in lines[4]  # twin: the same endpoint
    assert lines[-1] == "As seen by 2: host.1.abc (makes the probes), host.2.abc"


def test_what_time_alone_ended_is_fine(config: Path, show: Show) -> None:
    past = time.time() - 5
    noted(
        config,
        standing_of(config, "deepinfra", kind="returning", until=past),
        standing_of(config, "nebius", kind="drained", by="operator", until=past - 60),
    )
    assert {show()[one]["state"] for one in ("deepinfra", "nebius")} == {"fine"}
    noted(config, standing_of(config, "nebius", kind="drained", by="operator", until=past))
    assert show()["nebius"]["state"] == "returning"  # the slow start after a pause
    noted(config, standing_of(config, "deepinfra", until=past))
    assert show()["deepinfra"]["state"] == "ejected"  # until a trial has shown more


def test_eject_and_uneject_are_notes_to_all_processes(
    config: Path, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", "eject", "deepinfra", "--for", "90m", "--reason", "new price"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("deepinfra (and so twin: the same endpoint) is out within a second, ")
    (value,) = noted(config).values()
    assert value is not None
    made = Said.from_json(value).closed
    assert made is not None
    assert (made.kind, made.reason, made.by) == ("ejected", "new price", "operator")
    assert made.until == pytest.approx(made.since + 5400, abs=0.01)
    assert (show()["twin"]["state"], show()["twin"]["reason"]) == ("ejected", "new price")
    assert main(["health", "uneject", "twin"]) == 0
    assert show()["deepinfra"]["state"] == "returning"
    assert main(["health", "uneject", "twin"]) == 0
    assert capsys.readouterr().out == "twin (and so deepinfra: the same endpoint) is not out\n"


def test_eject_without_a_time_lasts_and_drain_says_that_it_is_meant(
    config: Path, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", "eject", "nebius", "--drain"]) == 0
    assert capsys.readouterr().out.endswith("until qwen3-router health uneject nebius\n")
    assert (show()["nebius"]["state"], show()["nebius"]["until"]) == ("drained", None)


def test_a_quarantine_is_not_made_less_by_an_ejection(
    config: Path, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "parity: another space"
    noted(
        config,
        standing_of(config, "nebius", kind="quarantined", reason=reason, until=None, by="parity"),
    )
    assert main(["health", "eject", "nebius", "--for", "1s"]) == 0
    assert "quarantined: parity: another space" in capsys.readouterr().out
    assert show()["nebius"]["state"] == "quarantined"
    assert main(["health", "uneject", "nebius"]) == 0
    assert show()["nebius"]["state"] == "returning"


def test_an_operator_s_word_holds_though_the_clock_was_set_back(config: Path, show: Show) -> None:
    ahead = time.time() + 3600
    more: dict[str, Any] = {"reason": "parity: noise", "since": ahead, "until": None}
    noted(config, standing_of(config, "nebius", kind="quarantined", by="parity", **more))
    assert main(["health", "uneject", "nebius"]) == 0
    assert show()["nebius"]["state"] == "returning"
    assert main(["health", "eject", "nebius"]) == 0
    assert show()["nebius"]["state"] == "ejected"


def test_an_operator_s_word_stands_beside_what_calls_showed(config: Path, show: Show) -> None:
    noted(config, standing_of(config, "nebius", reason="auth", until=None))
    assert main(["health", "eject", "nebius", "--for", "1h"]) == 0
    assert show()["nebius"]["by"] == "operator"
    (value,) = noted(config).values()
    assert value is not None
    said = Said.from_json(value)
    assert said.calls is not None
    assert said.closed is not None
    assert said.calls.reason == "auth"
    assert said.closed.stamp > said.calls.stamp
    assert main(["health", "uneject", "nebius"]) == 0
    assert show()["nebius"]["state"] == "returning"


def test_an_operator_need_not_have_the_keys_of_a_running_fleet(
    config: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted(config, stats_of(config, "host.1.abc", [1, 1.0, 0.1, 0.1, time.time(), None]))
    assert show()["off"]["state"] == "fine"
    assert main(["health", "eject", "off"]) == 0
    assert show()["off"]["state"] == "ejected"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eject", "deepinfar"], "no deployment 'deepinfar'; did you mean \"deepinfra\"?"),
        (["uneject", "?"], "no deployment '?'; there are: deepinfra, nebius, off, twin"),
        (["eject", "off"], "off is off here (NOVITA_API_KEY is not set), and no running process"),
    ],
)
def test_an_unknown_deployment_is_wrong_usage(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["health", *words]) == 2
    assert said in capsys.readouterr().err
    assert not any(name.startswith(PREFIX) for name in noted(config))


@pytest.mark.parametrize(
    "words",
    [["--for", "1"], ["--for", "0s"], ["--for", "-1h"], ["--for", "9999d"], ["--reason", "a\nb"]],
)
def test_wrong_words_are_wrong_usage(config: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["health", "eject", "nebius", *words])
    assert raised.value.code == 2


def test_options_may_stand_before_or_behind_the_action(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONFIG_FILE_PATH")
    options = ["--config", str(config), "--format", "json"]
    for words in (["eject", "nebius", *options], [*options, "uneject", "nebius"]):
        assert main(["health", *words]) == 0
        assert json.loads(capsys.readouterr().out)["done"]


def test_a_store_that_is_away_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = yaml.safe_load(config.read_text())
    made["embedding_router"] = {"ledger": "redis://127.0.0.1:9/0"}
    config.write_text(yaml.safe_dump(made))
    assert main(["health"]) == 1
    assert "was not read: Redis on 127.0.0.1:9 does not answer" in capsys.readouterr().out
    assert main(["health", "eject", "nebius"]) == 1
    assert "Redis on 127.0.0.1:9 does not answer" in capsys.readouterr().err


def explained(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str | None]]:
    capsys.readouterr()
    assert main(["explain", "g", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    return {row["id"]: (row["health"], row["refused"]) for row in rows}


def test_explain_passes_over_who_is_out(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(capsys)["deepinfra"] == ("fine", None)
    noted(config, standing_of(config, "deepinfra"), standing_of(config, "nebius", kind="returning"))
    found = explained(capsys)
    assert found["deepinfra"] == ("ejected: timeout", "ejected: timeout")
    assert found["nebius"] == ("returning: timeout", None)
    noted(config, standing_of(config, "deepinfra", until=time.time() - 1))
    assert explained(capsys)["deepinfra"] == ("ejected: timeout", None)  # a request may try it
    assert main(["explain", "g"]) == 0
    printed = capsys.readouterr().out
    assert "ready, ejected: timeout" in printed
    assert "ready, returning: timeout" in printed


def test_explain_without_the_store_says_so(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = yaml.safe_load(config.read_text())
    made["embedding_router"] = {"ledger": "redis://127.0.0.1:9/0"}
    config.write_text(yaml.safe_dump(made))
    assert main(["explain", "g"]) == 0
    assert "Who is out was not read: Redis on 127.0.0.1:9" in capsys.readouterr().out
