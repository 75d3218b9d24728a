"""`qwen3-router budget`: what people and programs read about money, and how they correct it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from plugins._ledger import Amount, Budget, Finding, Room
from plugins._ledger_forecast import forecast
from plugins._ledger_sqlite import SqliteLedger
from router_config.cli import budget, main
from router_config.cli.money import usd

CONFIG = """\
model_list:
  - model_name: qwen3-embedding-8b
    litellm_params: {model: qwen3/deepinfra, api_key: os.environ/DEEPINFRA_API_KEY}
    model_info: {id: deepinfra, mode: embedding, budget: deepinfra}
  - model_name: qwen3-embedding-8b
    litellm_params: {model: qwen3/scaleway, api_key: os.environ/SCW_SECRET_KEY, order: 2}
    model_info: {id: scaleway, mode: embedding, budget: scaleway-free}
litellm_settings:
  callbacks:
    [plugins.gateway.handler, plugins.budget.handler, plugins.matryoshka.handler,
     plugins.health.handler]
  custom_provider_map: [{provider: qwen3, custom_handler: plugins.provider.handler}]
router_settings: {num_retries: 0, disable_cooldowns: true}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  custom_auth: plugins.keys.handler
embedding_router:
  budgets:
    deepinfra: {usd: 1.80, period: lifetime}
    scaleway-free: {tokens: 1000000, period: month}
"""


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a ledger that does not exist yet, and a config that names it."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    monkeypatch.setenv("CONFIG_FILE_PATH", str(config))
    monkeypatch.setenv("QWEN3_ROUTER_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "ledger.db"


def spend(path: Path, nano_usd: int) -> None:
    async def run() -> None:
        ledger = SqliteLedger(path)
        await ledger.define([Budget("deepinfra", "lifetime", nano_usd=1_800_000_000)])
        amount = Amount(nano_usd, 1000, 1)
        await ledger.settle(await ledger.reserve(["deepinfra"], amount, 30), amount)
        await ledger.reserve(["deepinfra"], Amount(5_000_000, 500, 1), 3600)
        await ledger.close()

    asyncio.run(run())


def test_show_says_what_is_left_of_every_budget(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(ledger, 420_000_000)
    assert main(["budget", "show"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("budget", "period", "limit", "spent", "held", "left", "ends", "(UTC)", "forecast")
    ]
    assert first.split()[:6] == ["deepinfra", "lifetime", "$1.80", "$0.42", "$0.005", "$1.375"]
    assert "used up" in first
    assert second.startswith("scaleway-free  month     1,000,000 tokens  0 tokens")


def test_show_counts_in_whole_numbers_for_programs(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(ledger, 420_000_000)
    assert main(["budget", "show", "deepinfra", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["budgets"]
    assert (row["unit"], row["limit"], row["spent"], row["held"], row["left"]) == (
        "nano_usd",
        1_800_000_000,
        420_000_000,
        5_000_000,
        1_375_000_000,
    )


def test_show_before_the_first_use_makes_no_ledger(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", "show"]) == 0
    assert "$1.80" in capsys.readouterr().out
    assert not ledger.parent.exists()


def test_show_names_a_budget_that_does_not_exist(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", "show", "deepinfa"]) == 2
    assert "deepinfa" in capsys.readouterr().err


def test_adjust_books_a_posting_with_who_and_why(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["budget", "adjust", "deepinfra", "--who", "ann"]
    assert main([*words, "--usd", "0.5", "--reason", "other use of the account"]) == 0
    assert main([*words, "--usd", "-0.25", "--reason", "refund"]) == 0
    assert "$0.25" in capsys.readouterr().out.splitlines()[-1]
    with sqlite3.connect(ledger) as db:
        rows = db.execute("SELECT nano_usd, reason, who FROM postings ORDER BY seq").fetchall()
    assert rows == [
        (500_000_000, "other use of the account", "ann"),
        (-250_000_000, "refund", "ann"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["deepinfra", "--reason", "x"],
        ["deepinfra", "--usd", "-1", "--reason", "more than was spent"],
        ["unknown", "--usd", "1", "--reason", "x"],
    ],
)
def test_adjust_refuses_what_cannot_be(ledger: Path, words: list[str]) -> None:
    assert main(["budget", "adjust", *words]) == 2


def test_adjust_before_the_first_call_makes_the_row_of_a_wildcard(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ledger.parents[1] / "config.yaml"
    config.write_text(CONFIG + "    'key:*': {usd: 5, period: month}\n")
    words = ["--usd", "1.5", "--reason", "spent elsewhere"]
    assert main(["budget", "adjust", "key:*", *words]) == 2
    assert "say whose, such as key:alice" in capsys.readouterr().err
    assert not ledger.exists()
    assert main(["budget", "adjust", "key:alice", *words]) == 0
    capsys.readouterr()
    assert main(["budget", "show", "key:alice"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:6] == [
        *("key:alice", "month", "$5.00", "$1.50", "$0.00", "$3.50")
    ]


def test_commands_with_another_file_change_no_limit(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A draft is newer than what runs, an old copy is older: neither counts."""
    ours = Budget("deepinfra", "lifetime", nano_usd=1_000_000_000, since=1)

    async def run() -> Budget:
        opened = SqliteLedger(ledger)
        await opened.define([ours])
        (room,) = await opened.rooms()
        await opened.close()
        return room.budget

    asyncio.run(run())
    for words in (["show"], ["check"], ["adjust", "deepinfra", "--usd", "0.1", "--reason", "x"]):
        assert main(["budget", *words]) == 0
    assert asyncio.run(run()) == ours


@pytest.mark.parametrize("words", ["five", "1.0000000001", "nan"])
def test_adjust_takes_only_dollars_in_digits(ledger: Path, words: str) -> None:
    with pytest.raises(SystemExit) as error:
        main(["budget", "adjust", "deepinfra", "--usd", words, "--reason", "x"])
    assert error.value.code == 2


def test_check_finds_a_lie_and_accepting_sets_it_right(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(ledger, 420_000_000)
    assert main(["budget", "check"]) == 0
    with sqlite3.connect(ledger) as db:
        db.execute("UPDATE counters SET spent_nano_usd = 0")
    assert main(["budget", "check"]) == 1
    assert "420000000 in the journal" in capsys.readouterr().out
    assert main(["budget", "check", "--accept", "--reason", "counted again"]) == 0
    capsys.readouterr()
    assert main(["budget", "check", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"findings": []}


def test_check_says_what_to_do_about_a_ledger_that_is_gone(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(ledger, 1)
    ledger.unlink()
    for command in (["budget", "check"], ["budget", "show"]):
        assert main(command) == 1
        assert "budget check --accept" in capsys.readouterr().err
    assert main(["budget", "check", "--accept", "--reason", "a new disk"]) == 0


class Restless(SqliteLedger):
    """A ledger that somebody changes each time when it was looked at."""

    async def check(self) -> list[Finding]:
        found = await super().check()
        with sqlite3.connect(self.path) as db:
            db.execute("UPDATE counters SET spent_nano_usd = spent_nano_usd + 1")
        return found


def test_what_moved_since_it_was_shown_is_not_accepted(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(ledger, 420_000_000)
    words = Namespace(accept=True, reason="x", who="ann", format="text")

    async def run() -> int:
        opened = Restless(ledger)
        code = await budget._check(words, opened)
        await opened.close()
        return code

    assert asyncio.run(run()) == 1
    assert "nothing was done" in capsys.readouterr().err
    with sqlite3.connect(ledger) as db:
        assert db.execute("SELECT count(*) FROM postings WHERE who != ''").fetchone() == (0,)


def test_a_reason_that_is_not_utf_8_neither_hangs_nor_fails(ledger: Path) -> None:
    spend(ledger, 1)
    words = [sys.executable, "-m", "router_config", "budget", "check", "--accept", "--reason"]
    done = subprocess.run([*map(str.encode, words), b"caf\xe9"], timeout=60, check=False)
    assert done.returncode == 0
    with sqlite3.connect(ledger) as db:
        kept = db.execute("SELECT reason FROM postings WHERE kind = 'acceptance'").fetchone()
    assert kept == ("caf\ufffd",)


def test_accepting_needs_a_reason(ledger: Path) -> None:
    assert main(["budget", "check", "--accept"]) == 2


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (-250_000_000, "-$0.25"),
        (1_800_000_000, "$1.80"),
        (1_234_567_000_000_000, "$1,234,567.00"),
    ],
)
def test_dollars_are_written_to_the_nano(nano_usd: int, text: str) -> None:
    assert usd(nano_usd) == text


def room(spent: int, start: int, end: int | None, now: float) -> Room:
    period = "lifetime" if end is None else "month"
    budget = Budget("b", period, tokens=1000)  # type: ignore[arg-type]
    return Room(budget, start, end, now, Amount(tokens=spent), Amount())


def test_a_forecast_says_when_nothing_will_be_left() -> None:
    now = time.time()
    found = forecast(room(400, 0, None, now), "tokens", 0.5)
    assert found is not None
    assert (found.per_day, found.empty_at, found.at_end) == (43_200, now + 1200, None)


def test_a_forecast_says_what_will_be_spent_if_the_period_ends_before() -> None:
    found = forecast(room(400, 0, 2000, 1000.0), "tokens", 0.1)
    assert found is not None
    assert (found.empty_at, found.at_end) == (None, 500)


def test_without_spending_there_is_no_forecast() -> None:
    assert forecast(room(0, 0, 2000, 1000.0), "tokens", 0.0) is None
