"""The proxy that the money tests share: one group for every question about budgets."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from router_config.sandbox import Sandbox
from tests.proxy.budgets import Setup, key_of, keys
from tests.proxy.harness import Proxy

__all__ = ["House", "configured"]

# What LiteLLM tells a callback of an operator's.
RECORDER = """
import json, os
from litellm.integrations.custom_logger import CustomLogger


class Recorder(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        payload = kwargs.get("standard_logging_object") or {}
        with open(os.environ["RECORDED"], "a") as out:
            line = {"cost": kwargs.get("response_cost"), "logged": payload.get("response_cost")}
            line["call"] = kwargs.get("litellm_call_id")
            print(json.dumps(line), file=out)


handler = Recorder()
"""


@dataclass
class House:
    """The proxy of this file, its providers, its ledger's folder and what a callback recorded."""

    proxy: Proxy
    box: Sandbox
    state: Path
    recorded: Path

    def ask(
        self, model: str, texts: Any, *, key: str = key_of("anyone"), **more: Any
    ) -> httpx.Response:
        """Ask for short vectors of *texts*, with the key of somebody who has much."""
        return self.proxy.post({"model": model, "input": texts, "dimensions": 32, **more}, key=key)

    def assert_cost(self, reply: httpx.Response, nano_usd: int) -> None:
        """Check that our header, LiteLLM's and what a callback is told are *nano_usd*."""
        assert Decimal(reply.headers["x-router-cost-usd"]) * 10**9 == nano_usd
        assert abs(float(reply.headers["x-litellm-response-cost"]) * 1e9 - nano_usd) < 1
        (told,) = self.recorded_costs(reply.headers["x-litellm-call-id"])
        assert abs(told * 1e9 - nano_usd) < 1

    def recorded_costs(self, call_id: str) -> list[float]:
        """Return what a callback was told about the request, once it was told."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            lines = self.recorded.read_text().splitlines() if self.recorded.exists() else []
            told = [line for line in map(json.loads, lines) if line["call"] == call_id]
            if told:
                assert all(line["cost"] == line["logged"] for line in told)
                return [float(line["cost"]) for line in told]
            time.sleep(0.05)
        return []


def configured(box: Sandbox, folder: Path) -> Setup:
    """Return the config, and put the callback that it names into *folder*."""
    setup = Setup(box, callbacks=("recorder.handler",))
    setup.fallbacks = [
        {"asked": ["behind", "last"]},
        {"plain-asked": ["plain-behind", "last"]},
    ]
    add = setup.add
    # 20 tokens are held as 21. Five such calls fit, and three tokens more.
    add("free-first", "deepinfra", budget="free-tokens")
    add("free-first", "nebius", 2, budget="paid-usd")
    add("free-usd", "siliconflow", budget="free-usd")
    add("free-usd", "vllm", 2)
    add("twins", "deepinfra", id_="twin-free", account="twin", budget="twin-free")
    add("twins", "deepinfra", 2, id_="twin-paid", account="twin", budget="twin-paid")
    add("dear", "nebius", budget="dear")
    add("halves", "siliconflow", budget="half")
    add("halves", "nebius", 2)
    add("half-twins", "siliconflow", id_="half-free", account="half-twin", budget="half-free")
    add("half-twins", "siliconflow", 2, id_="half-paid", account="half-twin")
    add("metered", "deepinfra")
    add("small-group", "vllm")
    add("asked", "deepinfra", budget="asked-first")
    add("behind", "nebius")
    add("plain-asked", "deepinfra", budget="plain-asked-first")
    add("plain-behind", "nebius", plain=True)
    add("last", "vllm")
    add("counted", "deepinfra", rpm=3)
    add("counted", "vllm", 2)
    add("weighed", "deepinfra", tpm=100)
    add("weighed", "vllm", 2)
    add("plain", "nebius", plain=True, budget="plain")
    add("plain-then-ours", "deepinfra", plain=True, budget="plain-first")
    add("plain-then-ours", "vllm", 2)
    add("plain-last", "siliconflow", budget="plain-last-first")
    add("plain-last", "nebius", 2, plain=True)
    add("full-disk", "deepinfra", budget="disk")
    add("own", "vllm")
    add("own-behind", "deepinfra", budget="disk")
    add("own-behind", "vllm", 2)
    life = "lifetime"
    setup.section.update(
        {
            "ledger": "sqlite",
            "budgets": {
                "free-tokens": {"tokens": 5 * 20 + 4, "period": life},
                "paid-usd": {"usd": 1, "period": "month"},
                # Three calls of 50 tokens at $0.04, each held with a margin of 2 tokens.
                "free-usd": {"usd": "0.00000608", "period": life},
                "twin-free": {"tokens": 200, "period": life},
                "twin-paid": {"usd": 1, "period": life},
                "dear": {"usd": "0.0000063", "period": "day"},
                "half": {"tokens": 2 * 32 * 9, "period": life},
                "half-free": {"tokens": 2 * 32 * 9, "period": life},
                "plain": {"tokens": 10_000, "period": life},
                "plain-first": {"tokens": 5 * 20 + 4, "period": life},
                "plain-last-first": {"tokens": 2 * 32 * 9, "period": life},
                "disk": {"usd": 1, "period": life},
                "key:anyone": {"usd": 10, "period": "day"},
                "key:few-dollars": {"usd": "0.0000011", "period": "month"},
                "key:*": {"tokens": 50, "period": "day"},
                "team:crew": {"tokens": 50, "period": life},
                "user:default_user_id": {"tokens": 50, "period": "month"},
                "group:small-group": {"tokens": 50, "period": "month"},
                "asked-first": {"tokens": 25, "period": life},
                "group:asked": {"tokens": 6 * 20 + 4, "period": life},
                "group:behind": {"tokens": 2 * 20 + 4, "period": life},
                "plain-asked-first": {"tokens": 25, "period": life},
                "group:plain-asked": {"tokens": 6 * 20 + 4, "period": life},
                "group:plain-behind": {"tokens": 2 * 20 + 4, "period": life},
            },
            "keys": keys(
                {
                    "anyone": {},
                    "few-dollars": {},
                    "wild-1": {},
                    "wild-2": {},
                    "sdk": {},
                    "mate-1": {"team": "crew"},
                    "mate-2": {"team": "crew"},
                    "light": {"tpm": 30},
                }
            ),
        }
    )
    (folder / "recorder.py").write_text(RECORDER)
    return setup
