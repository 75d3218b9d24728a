"""`qwen3-router doctor` against the emulators: what it finds, what it spends, when it asks."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import yaml

from router_config import SHIPPED_CONFIG
from router_config.cli import main
from router_config.sandbox import Sandbox
from tests.commands import ROOT

PROVIDERS = ("deepinfra", "siliconflow", "openrouter", "fireworks", "vllm")
SECRET = "sk-a-key-that-nobody-may-see"


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(mode="hash", providers=PROVIDERS) as box:
        yield box


@pytest.fixture
def box(running: Sandbox) -> Sandbox:
    running.reset()
    return running


@pytest.fixture
def config(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QWEN3_ROUTER_STATE", str(tmp_path / "state"))
    shipped = yaml.safe_load(SHIPPED_CONFIG.read_text())
    models = []
    for order, provider in enumerate(PROVIDERS, 1):
        variable = f"DOCTOR_{provider.upper()}_KEY"
        monkeypatch.setenv(variable, box.keys.get(provider) or "none")
        params = {"model": f"qwen3/{provider}", "api_base": box.bases[provider], "order": order}
        info: dict[str, Any] = {"id": provider}
        if provider != "vllm":
            info["budget"] = "account"
        params["api_key"] = f"os.environ/{variable}"
        models.append({"model_name": "g", "litellm_params": params, "model_info": info})
    off = {"model": "qwen3/nebius", "api_key": "os.environ/DOCTOR_UNSET_KEY"}
    models.append({"model_name": "g", "litellm_params": off, "model_info": {"id": "off"}})
    made = {
        **shipped,
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "model_list": models,
        "embedding_router": {"budgets": {"account": {"usd": 1, "period": "lifetime"}}},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(made))
    monkeypatch.setenv("CONFIG_FILE_PATH", str(path))
    return path


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code, and the findings by what they are of."""
    capsys.readouterr()
    code = main(["doctor", *words, "--format", "json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return code, {f"{one['what']} {one['whom']}": one for one in findings}


def posts(box: Sandbox) -> dict[str, int]:
    found = {
        provider: sum(entry["method"] == "POST" for entry in box.journal(provider))
        for provider in PROVIDERS
    }
    return {provider: number for provider, number in found.items() if number}


def test_where_all_is_well_nothing_is_to_be_mended_and_nothing_is_spent(
    config: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = doctor(capsys)
    assert code == 0
    assert {name: one["state"] for name, one in found.items() if one["what"] == "endpoint"} == {
        "endpoint deepinfra": "ok",
        "endpoint siliconflow": "ok",
        "endpoint openrouter": "ok",
        "endpoint fireworks": "skip",  # it has no free request
        "endpoint vllm": "ok",
    }
    assert found["key off"]["detail"] == "DOCTOR_UNSET_KEY is not set"
    assert found["key off"]["state"] == "off"
    assert found["litellm 1.108.7"]["state"] == "ok"
    assert {one["state"] for name, one in found.items() if name.startswith("ledger")} == {"ok"}
    for what in ("vector", "parity"):
        (left_out,) = [one for one in found.values() if one["what"] == what]
        assert (left_out["state"], left_out["fix"]) == ("skip", "say --yes")
    assert posts(box) == {}
    assert not (config.parent / "state").exists()  # nothing is made by looking


def test_balances_are_read_in_each_providers_own_form(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = doctor(capsys)
    assert found["balance deepinfra"]["detail"] == "12.5 USD, as the provider says"
    assert found["balance siliconflow"]["detail"] == "88.88 USD, as the provider says"
    # null: no limit, so there is no number.
    assert found["balance openrouter"]["state"] == "skip"
    assert "balance vllm" not in found


def test_vectors_are_asked_for_with_yes_and_booked(
    config: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = doctor(capsys, "--yes")
    assert code == 0
    for what in ("vector", "parity"):
        assert {found[f"{what} {one}"]["state"] for one in PROVIDERS} == {"ok"}, what
    assert main(["budget", "show", "account", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["budgets"]
    assert row["spent"] > 0
    assert row["held"] == 0


def test_what_is_to_be_mended_is_named_with_what_to_do(
    config: Path,
    box: Sandbox,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCTOR_DEEPINFRA_KEY", SECRET)
    monkeypatch.setenv("DOCTOR_OPENROUTER_KEY", SECRET + " with blanks\nand lines")
    box.down("vllm")
    box.fault("fireworks", "payment")
    box.fault("siliconflow", "nan_null")
    code, found = doctor(capsys, "--yes")
    assert code == 1
    assert found["endpoint deepinfra"]["state"] == "fail"
    assert found["endpoint deepinfra"]["detail"].startswith("HTTP 401: auth")
    assert found["endpoint deepinfra"]["fix"] == "look at the key"
    assert found["key openrouter"]["state"] == "fail"
    assert found["endpoint vllm"]["detail"].startswith("connect: cannot connect")
    assert (found["vector fireworks"]["state"], found["vector fireworks"]["fix"]) == ("fail", "pay")
    assert found["vector siliconflow"]["detail"].startswith("HTTP 200: corrupt")
    assert SECRET not in json.dumps(found)
    box.clear()


def test_a_budget_without_room_is_respected(
    config: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    made = yaml.safe_load(config.read_text())
    made["embedding_router"]["budgets"]["account"] = {"tokens": 1, "period": "lifetime"}
    config.write_text(yaml.safe_dump(made))
    code, found = doctor(capsys, "--yes")
    assert code == 0
    assert set(posts(box)) == {"vllm"}
    assert found["vector deepinfra"]["detail"] == "budget account has no room"


def test_a_clock_that_is_off_is_seen(
    config: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    for ahead_s, state in ((0.0, "ok"), (3600.0, "warn")):
        box.clear()
        for provider in ("deepinfra", "siliconflow", "openrouter", "vllm"):
            headers = {"date": formatdate(time.time() + ahead_s, usegmt=True)}
            box.fault(provider, "status", status=200, headers=headers, where="probes")
        assert doctor(capsys)[1]["clock this machine"]["state"] == state


def test_offline_asks_nobody(
    config: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = doctor(capsys, "--offline")
    assert code == 0
    assert not any(one["what"] in ("endpoint", "balance", "vector") for one in found.values())
    assert [box.journal(provider) for provider in PROVIDERS] == [[]] * len(PROVIDERS)
    assert main(["doctor", "--offline", "--yes"]) == 2


def test_a_config_with_errors_is_all_that_is_looked_at(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text().replace("num_retries: 0", "num_retries: x"))
    code, found = doctor(capsys)
    assert code == 1
    assert {one["what"] for one in found.values()} == {"config"}


def test_a_ledger_that_cannot_be_used_is_to_be_mended(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = yaml.safe_load(config.read_text())
    made["embedding_router"]["ledger"] = "redis://127.0.0.1:9/0"
    config.write_text(yaml.safe_dump(made))
    code, found = doctor(capsys)
    assert code == 1
    assert found["ledger Redis"]["state"] == "fail"
    assert found["notes Redis"]["state"] == "warn"


@pytest.mark.parametrize(("answer", "asks"), [("y", True), ("n", False), ("", False)])
def test_on_a_terminal_it_asks_before_anything_that_costs(
    config: Path, box: Sandbox, answer: str, asks: bool
) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "router_config", "doctor"],
            cwd=ROOT,
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.close(theirs)
        asked = b""
        while b"[y/N]" not in asked:
            asked += os.read(ours, 1024)
        os.write(ours, f"{answer}\n".encode())
        printed, _ = process.communicate(timeout=60)
    finally:
        os.close(ours)
    assert re.search(rb"Ask 5 endpoints for .*, some [\d,]+ tokens each, \$0\.00\d+ in all", asked)
    assert process.returncode == 0
    assert (sum(posts(box).values()) >= len(PROVIDERS)) == asks
    assert "0 to mend" in printed


def test_without_any_key_it_says_what_to_set(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for provider in PROVIDERS:
        monkeypatch.delenv(f"DOCTOR_{provider.upper()}_KEY")
    code, found = doctor(capsys)
    assert code == 1
    assert found["key "]["detail"] == "no deployment is on"
    assert found["key vllm"]["detail"] == "DOCTOR_VLLM_KEY is not set"


def test_an_account_that_is_empty_or_suspended_is_seen(
    config: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"stripe_balance": 3.5, "suspended": False, "suspend_reason": None}
    box.fault("deepinfra", "status", status=200, body=body, where="probes")
    assert doctor(capsys)[1]["balance deepinfra"]["state"] == "warn"
    box.clear()
    body = {"stripe_balance": -3.5, "suspended": True, "suspend_reason": "overdue-invoices"}
    box.fault("deepinfra", "status", status=200, body=body, where="probes")
    code, found = doctor(capsys)
    assert (code, found["balance deepinfra"]["detail"]) == (1, "the account is suspended")
