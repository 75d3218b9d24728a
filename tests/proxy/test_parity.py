"""Parity on the real proxy: every fault of a vector space at once, each in a group of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from router_config.cli import main
from router_config.sandbox import Sandbox, vectors
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy, running
from tests.wiring import PLUGINS, wiring

WITHIN_S = 20.0
# Who is sick, with what, and what the log says of it; None is accepted.
FAULTS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "deepinfra": ("other_seed", {"seed": 7}, "parity: wrong space"),
    "nebius": ("prefix_order", {}, "parity: wrong prefix order"),
    "novita": ("missing_end_token", {}, "parity: missing end token"),
    "tei": ("nan_on_import", {}, "parity: NaN"),
    "infinity": ("silent_truncation", {"limit": 2048}, "parity: truncation"),
    "siliconflow": ("noisy", {"cosine": 0.97}, "parity: noisy"),
    "fireworks": ("noisy", {"cosine": 0.995}, None),
}
GOOD = "vllm"
NEVER = "scaleway"  # hangs, so nothing is proven of it
PLAIN_ONE = "llamacpp"  # called by LiteLLM's own client


def config(box: Sandbox, path: Path) -> Path:
    def entry(group: str, provider: str, order: int) -> dict[str, Any]:
        return {
            "model_name": group,
            "litellm_params": {
                "model": f"qwen3/{provider}",
                "api_base": box.bases[provider],
                "api_key": f"os.environ/TEST_{provider.upper()}_KEY",
                "order": order,
            },
            "model_info": {"id": f"{group}--{provider}", "mode": "embedding"},
        }

    models = [e for one in FAULTS for e in (entry(one, one, 1), entry(one, GOOD, 2))]
    models += [entry("proven", NEVER, 1), entry("sampled", "openai", 1)]
    models[-2]["litellm_params"]["timeout"] = 1
    models += [entry("sampled", GOOD, 2)]
    models += [
        {
            "model_name": "plain",
            "litellm_params": {
                "model": "openai/qwen3-embedding-8b",
                "api_base": f"{box.bases[PLAIN_ONE]}",
                "api_key": f"os.environ/TEST_{PLAIN_ONE.upper()}_KEY",
            },
            "model_info": {"id": "plain--litellm", "mode": "embedding"},
        },
        entry("plain", GOOD, 2),
    ]
    data = {
        "model_list": models,
        **wiring(*PLUGINS, "health", "parity"),
        "embedding_router": {
            "parity": {"sample": 1.0},
            "groups": {"proven": {"parity": "required"}},
        },
    }
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(mode="hash") as box:
        for provider, (kind, options, _) in FAULTS.items():
            box.fault(provider, kind, **options)
        box.fault(NEVER, "hang")
        yield box


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="module")
def environ(box: Sandbox, folder: Path) -> dict[str, str]:
    """The variables that the proxy and the commands beside it share."""
    keys = {f"TEST_{one.upper()}_KEY": box.keys.get(one) or "none" for one in box.bases}
    return {**keys, "QWEN3_ROUTER_STATE": str(folder / "state")}


@pytest.fixture(scope="module")
def proxy(box: Sandbox, folder: Path, environ: dict[str, str]) -> Iterator[Proxy]:
    path = config(box, folder / "config.yaml")
    with running(path, folder / "proxy.log", environ=environ) as process:
        yield process


@pytest.fixture
def command(
    folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `qwen3-router parity` beside the proxy, and return its exit code."""
    for name, value in {**environ, "LITELLM_MASTER_KEY": MASTER_KEY}.items():
        monkeypatch.setenv(name, value)

    def parity(*words: str) -> int:
        return main(["parity", *words, "--config", str(folder / "config.yaml")])

    return parity


def until(found: Callable[[], bool], within_s: float = 60.0) -> float:
    """Return the seconds until *found*; the limit is far above what is expected."""
    started = time.monotonic()
    while not found():
        assert time.monotonic() - started < within_s
        time.sleep(0.1)
    return time.monotonic() - started


def ask(proxy: Proxy, group: str) -> httpx.Response:
    # Who serves now is what the tests want to know, not who did.
    quiet = {"cache-control": "no-store"}
    return proxy.post({"model": group, "input": "text"}, headers=quiet)


def said_of(proxy: Proxy, group: str) -> list[str]:
    name = f"{group}--{group}"
    return [line for line in proxy.log().splitlines() if name in line and "endpoint out" in line]


def test_the_first_proof_is_done_soon_after_the_start(proxy: Proxy, box: Sandbox) -> None:
    sick = [one for one, (_, _, said) in FAULTS.items() if said is not None]
    until(lambda: all(said_of(proxy, one) for one in sick))
    until(lambda: "parity: fireworks--fireworks is proven" in proxy.log())


@pytest.mark.parametrize("provider", FAULTS)
def test_a_deployment_with_a_fault_is_out_for_the_right_reason(
    proxy: Proxy, box: Sandbox, provider: str
) -> None:
    test_the_first_proof_is_done_soon_after_the_start(proxy, box)
    said = FAULTS[provider][2]
    reply = ask(proxy, provider)
    assert reply.status_code == 200
    expected = provider if said is None else GOOD
    assert reply.headers["x-router-deployment"] == f"{provider}--{expected}"
    assert reply.headers["x-router-attempts"] == "1"
    made = np.array(reply.json()["data"][0]["embedding"])
    assert made @ vectors(["text"])[0] > 0.99
    lines = said_of(proxy, provider)
    assert len(lines) == (said is not None)
    assert said is None or (said in lines[0] and "quarantined" in lines[0])


def test_a_group_that_requires_proof_is_not_served_before(proxy: Proxy, box: Sandbox) -> None:
    calls = len(box.journal(NEVER))
    reply = ask(proxy, "proven")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "no_deployment_available")
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.headers["x-router-attempts"] == "0"
    sent = [one["fields"] for one in box.journal(NEVER)[calls:]]
    assert "text" not in str(sent)
    box.clear(NEVER)
    until(lambda: ask(proxy, "proven").status_code == 200)


def test_a_sample_that_does_not_agree_leads_to_the_quarantine_of_the_sick(
    proxy: Proxy, box: Sandbox
) -> None:
    until(lambda: "parity: sampled--openai is proven" in proxy.log())
    box.fault("openai", "other_seed", seed=9)
    reply = ask(proxy, "sampled")
    assert reply.headers["x-router-deployment"] == "sampled--openai"
    until(lambda: ask(proxy, "sampled").headers["x-router-deployment"] == f"sampled--{GOOD}")
    assert "sampled--openai and sampled--vllm answer the same text" in proxy.log()


def test_what_litellm_serves_by_itself_is_out_when_a_proven_one_does_not_agree(
    proxy: Proxy, box: Sandbox
) -> None:
    box.fault(PLAIN_ONE, "other_seed", seed=11)
    # LiteLLM makes one attempt: what is under way when its deployment leaves has no second one.
    until(lambda: ask(proxy, "plain").headers.get("x-router-deployment") == f"plain--{GOOD}")
    out = "endpoint out: deployment=plain--litellm"
    (line,) = [one for one in proxy.log().splitlines() if out in one]
    assert "parity: wrong space: cosine" in line
    assert f"to plain--{GOOD}, which is proven" in line


def test_the_cosines_are_measured(proxy: Proxy, box: Sandbox) -> None:
    found = proxy.get("/router/metrics").text
    (line,) = [
        one
        for one in found.splitlines()
        if one.startswith("qwen3_router_parity_cosine{") and "siliconflow--siliconflow" in one
    ]
    assert float(line.split()[-1]) == pytest.approx(0.97, abs=1e-3)


def test_the_verdicts_stand_on_the_status_page(proxy: Proxy, box: Sandbox) -> None:
    page = httpx.get(f"{proxy.base}/router/?lang=en", auth=("any", MASTER_KEY), **PLAIN).text
    (table,) = re.findall(r'id="live-parity".*?</table>', page, re.DOTALL)
    rows = {row.partition("siliconflow--siliconflow")[1]: row for row in table.split("<tr ")}
    assert "differs" in rows["siliconflow--siliconflow"]
    assert "0.97" in rows["siliconflow--siliconflow"]
    assert "same space" in table


def test_no_text_and_no_key_is_in_the_log(proxy: Proxy, box: Sandbox) -> None:
    log = proxy.log()
    assert "The capital of China" not in log
    assert [key for key in box.keys.values() if key in log] == []


# -- the command beside the running proxy; in this order


def test_the_command_shows_what_the_proxy_found(
    proxy: Proxy, box: Sandbox, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    test_the_first_proof_is_done_soon_after_the_start(proxy, box)
    assert command("show", "--format", "json", *FAULTS) == 1
    rows = json.loads(capsys.readouterr().out)["deployments"]
    states = {id_: row["state"] for row in rows for id_ in row["deployments"]}
    for one, (_, _, said) in FAULTS.items():
        assert states[f"{one}--{one}"] == ("proven" if said is None else said[len("parity: ") :])
        assert states[f"{one}--{GOOD}"] == "proven"


def test_what_the_command_finds_holds_in_the_proxy(
    proxy: Proxy, box: Sandbox, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    box.clear("nebius")
    assert ask(proxy, "nebius").headers["x-router-deployment"] == f"nebius--{GOOD}"
    assert command("run", "--yes", "nebius") == 0
    assert "proven" in capsys.readouterr().out
    until(lambda: ask(proxy, "nebius").headers["x-router-deployment"] == "nebius--nebius")


def test_a_recorded_reference_rules_from_the_reload_on(
    proxy: Proxy,
    box: Sandbox,
    folder: Path,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = {"model": "nebius", "input": "text", "dimensions": 64}
    assert proxy.post(body).headers["x-router-space"] == "qwen3-8b:last:l2:r1:64"
    assert command("record", "--from", f"plain--{GOOD}", "--yes") == 0
    assert "revision 1. Commit it." in capsys.readouterr().out
    word = json.loads((folder / "parity.json").read_text())["space"]
    data = yaml.safe_load((folder / "config.yaml").read_text())
    data["embedding_router"]["parity"]["reference"] = "parity.json"
    (folder / "config.yaml").write_text(yaml.safe_dump(data))
    space = f"qwen3-8b:last:l2:r1-{word}:64"
    until(lambda: proxy.post(body).headers["x-router-space"] == space)
    for pinned, status in ((space, 200), ("qwen3-8b:last:l2:r1:64", 200)):
        assert proxy.post(body, headers={"x-router-space": pinned}).status_code == status
    refused = proxy.post(body, headers={"x-router-space": "qwen3-8b:last:l2:r1-00000000:64"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "space_mismatch")

    def is_judged() -> bool:
        command("show", "--format", "json", "nebius", "siliconflow")
        rows = json.loads(capsys.readouterr().out)["deployments"]
        states = {id_: row["state"] for row in rows for id_ in row["deployments"]}
        found = (states["nebius--nebius"], states["siliconflow--siliconflow"])
        return found == ("proven", "noisy") and all(row["reference_is_recorded"] for row in rows)

    until(is_judged)
