"""What `simulate` foretells from a request log is what really happened."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from router_config.cli import main
from router_config.sandbox import Sandbox
from tests.proxy.harness import running
from tests.router_config.test_simulate import GROUP, entry, write
from tests.sizes import size

TEXT = "Сколько стоит доставка? " * 8


def test_share_and_cost_of_a_real_run_are_foretold(
    sandbox: Sandbox,
    box: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = size(120, 2000)
    budgets = {
        "free": {"tokens": asked * 12, "period": "lifetime"},
        "small": {"usd": round(asked * 2e-5, 4), "period": "lifetime"},
    }
    entries = [
        entry("free", "scaleway", 1, budget="free"),
        entry("small", "siliconflow", 2, budget="small", input_cost_per_token=1e-6),
        entry("rest", "novita", 3),
    ]
    for one in entries:
        one["litellm_params"]["api_base"] = box.bases[one["litellm_params"]["model"][6:]]
    log = tmp_path / "requests.jsonl"
    # The probes of the start would spend a third of so small a budget, at a moment of chance.
    own = {"parity": "off", "request_log": {"file": str(log)}}
    path = write(tmp_path / "c.yaml", entries, budgets=budgets, **own)
    environ = {
        "FREE_API_KEY": sandbox.keys["scaleway"],
        "SMALL_API_KEY": sandbox.keys["siliconflow"],
        "REST_API_KEY": sandbox.keys["novita"],
    }
    served: Counter[str] = Counter()
    usd = 0.0
    with running(path, tmp_path / "proxy.log", environ=environ) as proxy:
        for i in range(asked):
            body = {"model": GROUP, "input": f"{i} {TEXT}", "dimensions": 32}
            reply = proxy.post(body)
            assert reply.status_code == 200, reply.text
            served[reply.headers["x-router-deployment"]] += 1
            usd += float(reply.headers["x-router-cost-usd"])
        ends = time.monotonic() + 60
        while time.monotonic() < ends and log.read_text().count('"event":"request"') < asked:
            time.sleep(0.05)  # it is written beside the requests
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["simulate", "--config", str(path), "--trace", str(log), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(served) == set(told["deployments"]) == {"free", "small", "rest"}
    for id_, one in told["deployments"].items():
        assert one["share"] == pytest.approx(served[id_] / asked, abs=0.02)
    assert told["usd"] == pytest.approx(usd, rel=0.02)
