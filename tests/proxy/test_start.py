"""The start: the shipped file as it is, with one key, some or all; and when it must not start.

What a start says about variables is held in `tests/plugins/test_announce.py` and, for `serve`, in
`tests/router_config/test_serve.py`; here real processes do it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from router_config import SHIPPED_CONFIG
from router_config.sandbox import Sandbox
from tests.proxy.answers import calls, refused
from tests.proxy.harness import ROOT, Proxy, clean_environ, command_for, free_port, running

NAME = "qwen3-embedding-8b"
SHIPPED = SHIPPED_CONFIG.read_text()


def is_proven(proxy: Proxy, *deployments: str) -> None:
    """Wait for the first proof of the vector space, so that its probes stand in no test's way."""
    ends = time.monotonic() + 120
    while not all(f"parity: {one} is proven" in proxy.log() for one in deployments):
        assert time.monotonic() < ends
        time.sleep(0.1)


def ask(proxy: Proxy, model: str, key: str | None = None) -> str:
    """Ask *model* for a vector; return the deployment that answered."""
    given = {"key": key} if key is not None else {}
    response = proxy.post(
        {"model": model, "input": "text", "dimensions": 32},
        headers={"cache-control": "no-store"},  # who answered once would answer again
        **given,
    )
    assert response.status_code == 200, response.text
    return response.headers["x-router-deployment"]


# -- the shipped file, unchanged, under plain LiteLLM: one variable


@pytest.fixture(scope="module")
def one_server(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Plain LiteLLM on the shipped file itself, with an own server and no key."""
    log = tmp_path_factory.mktemp("one") / "log"
    environ = {"OLLAMA_API_BASE": sandbox.bases["ollama"]}
    sandbox.reset()
    with running(SHIPPED_CONFIG, log, environ=environ, form="litellm") as proxy:
        is_proven(proxy, "bulk-ollama")
        yield proxy


def test_the_shipped_file_serves_from_the_one_deployment_that_is_on(
    one_server: Proxy, box: Sandbox
) -> None:
    assert ask(one_server, NAME) == "ollama"
    assert ask(one_server, f"{NAME}-bulk") == "bulk-ollama"
    assert calls(box) == {"ollama": 2}


def test_a_group_with_nobody_goes_on_to_its_fallback(one_server: Proxy, box: Sandbox) -> None:
    assert ask(one_server, f"{NAME}-cheap") == "ollama"
    assert calls(box) == {"ollama": 1}


def test_a_group_with_nobody_and_no_fallback_is_unavailable(
    one_server: Proxy, box: Sandbox
) -> None:
    response = one_server.post({"model": f"{NAME}-eu", "input": "text"})
    message = refused(response, 503, "no_deployment_available", retry=True)
    assert "litellm" not in message.lower()
    assert "SCW_SECRET_KEY" not in message
    assert calls(box) == {}


def test_the_start_names_what_is_off_and_why(one_server: Proxy) -> None:
    log = one_server.log()
    assert f"group {NAME}: ollama" in log
    assert f"group {NAME}, off: " in log
    assert "DEEPINFRA_API_KEY is not set (deepinfra)" in log
    nobody = re.search(rf"group {NAME}-eu has no usable deployment and answers 503: (.*)", log)
    assert nobody is not None
    assert {"SCW_SECRET_KEY", "EU_VLLM_API_BASE"} <= set(re.findall(r"[A-Z_]+", nobody[1]))


def test_a_health_check_shows_what_is_off_and_costs_nothing(
    one_server: Proxy, box: Sandbox
) -> None:
    report = one_server.get("/health").json()
    healthy = {one["model_id"] for one in report["healthy_endpoints"]}
    assert healthy == {"ollama", "bulk-ollama"}
    errors = {one["model_id"]: one["error"] for one in report["unhealthy_endpoints"]}
    assert "DEEPINFRA_API_KEY is not set" in errors["deepinfra"]
    assert "VLLM_API_BASE is not set" in errors["vllm"]
    assert calls(box) == {}


# -- the shipped file on the emulators, under `serve`: some keys, and a key from `key new`


@pytest.fixture(scope="module")
def some_keys(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Proxy, str]]:
    """`serve` with two of the keys; also the client key that `key new` printed for its config."""
    folder = tmp_path_factory.mktemp("some")
    command = [sys.executable, "-m", "router_config", "key", "new", "--alias", "search"]
    words = subprocess.check_output([*command, "--groups", NAME], text=True, cwd=ROOT)
    (key,) = re.findall(r"^  (sk-\S+)$", words, re.MULTILINE)
    (line,) = re.findall(r"^    (\S.*)$", words, re.MULTILINE)
    pasted = f"{SHIPPED}\n  keys:\n    {line}\n"
    config = sandbox.redirect(pasted, folder / "config.yaml")
    keys = sandbox.env()
    environ = {name: keys[name] for name in ("SCW_SECRET_KEY", "NOVITA_API_KEY")}
    sandbox.reset()
    with running(config, folder / "log", environ=environ) as proxy:
        is_proven(proxy, "scaleway-free", "novita")
        yield proxy, key


def test_the_shipped_order_holds_among_those_that_are_on(
    some_keys: tuple[Proxy, str], box: Sandbox
) -> None:
    proxy, _ = some_keys
    assert ask(proxy, NAME) == "scaleway-free"
    box.fault("scaleway", "status", status=503)
    assert ask(proxy, NAME) == "novita"
    assert ask(proxy, f"{NAME}-cheap") == "cheap-novita"
    assert calls(box) == {"scaleway": 2, "novita": 2}


def test_a_new_key_works_as_its_line_says(some_keys: tuple[Proxy, str], box: Sandbox) -> None:
    proxy, key = some_keys
    assert ask(proxy, NAME, key) == "scaleway-free"
    refused(
        proxy.post({"model": f"{NAME}-bulk", "input": "x"}, key=key),
        *(404, "model_not_found", "model"),
    )
    refused(proxy.post({"model": NAME, "input": "x"}, key=f"{key}x"), 401, "unauthorized")
    assert calls(box) == {"scaleway": 1}


def test_a_good_start_complains_of_nothing_else(some_keys: tuple[Proxy, str]) -> None:
    proxy, key = some_keys
    log = proxy.log()
    ours = [line for line in log.splitlines() if "WARNING qwen3_router:" in line]
    assert [line for line in ours if "has no usable deployment" not in line] == []
    assert "Traceback" not in log
    assert key not in log


# -- what must not start


class Refusals:
    """Processes that end by themselves; all are started at once, each test waits for its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, form: str, config: Path, environ: Mapping[str, str]) -> None:
        with (self._folder / name).open("wb") as out:
            self._running[name] = subprocess.Popen(
                command_for(form, config, free_port()),
                env=clean_environ({"CONFIG_FILE_PATH": str(config), **environ}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )

    def end(self, name: str) -> tuple[int, str]:
        """Return the exit code of the process and what it said."""
        code = self._running[name].wait(timeout=240)
        return code, (self._folder / name).read_text(errors="replace")

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def refusals(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusals]:
    folder = tmp_path_factory.mktemp("refusals")
    found = Refusals(folder)
    key = {"NOVITA_API_KEY": "a-key-of-somebody"}

    wrong = folder / "wrong.yaml"
    wrong.write_text(
        SHIPPED.replace("qwen3/novita", "qwen3/novitta")
        .replace("num_retries: 0", "num_retries: 2")
        .replace("deadline_s: 30\n", "deadline: 30\n")
    )
    required = folder / "required.yaml"
    required.write_text(SHIPPED.replace("-eu: {region: eu}", "-eu: {region: eu, required: true}"))
    stranger = folder / "stranger" / "plugins"
    stranger.mkdir(parents=True)
    (stranger / "__init__.py").write_text('"""Somebody else\'s."""\n')
    banned = folder / "banned"
    (banned / "litellm-1.82.7.dist-info").mkdir(parents=True)
    (banned / "litellm-1.82.7.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: litellm\nVersion: 1.82.7\n"
    )
    first = {
        name: {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
        for name, path in {"stranger": stranger.parent, "banned": banned}.items()
    }
    for form in ("litellm", "serve"):
        found.start(f"no-key-{form}", form, SHIPPED_CONFIG, {})
        found.start(f"wrong-{form}", form, wrong, key)
        found.start(f"stranger-{form}", form, SHIPPED_CONFIG, {**key, **first["stranger"]})
    found.start("required-serve", "serve", required, key)
    found.start("banned-litellm", "litellm", SHIPPED_CONFIG, {**key, **first["banned"]})
    try:
        yield found
    finally:
        found.close()


CODES = {"litellm": 3, "serve": 1}


@pytest.mark.parametrize("form", CODES)
def test_without_any_key_it_says_what_to_set(refusals: Refusals, form: str) -> None:
    code, words = refusals.end(f"no-key-{form}")
    assert code == CODES[form]
    assert {"SCW_SECRET_KEY", "NOVITA_API_KEY", "OLLAMA_API_BASE"} <= set(
        re.findall(r"[A-Z_]+", words)
    )
    assert "`make demo`" in words


@pytest.mark.parametrize("form", CODES)
def test_with_problems_in_the_file_it_says_all_of_them(refusals: Refusals, form: str) -> None:
    code, words = refusals.end(f"wrong-{form}")
    assert code == CODES[form]
    places = re.findall(r"wrong\.yaml:\d+:\d+: (\S+):", words)
    assert {
        "model_list[4].litellm_params.model",
        "router_settings.num_retries",
        "embedding_router.deadline",
    } <= set(places)
    assert "a-key-of-somebody" not in words


def test_a_required_group_with_nobody_stops_the_start(refusals: Refusals) -> None:
    code, words = refusals.end("required-serve")
    assert code != 0
    assert f"group {NAME}-eu is required and has no usable deployment" in words
    assert "SCW_SECRET_KEY is not set" in words
    assert "Uvicorn running" not in words


@pytest.mark.parametrize("form", CODES)
def test_somebody_elses_package_named_plugins_stops_the_start(
    refusals: Refusals, form: str
) -> None:
    code, words = refusals.end(f"stranger-{form}")
    assert code == CODES[form]
    assert "plugins" in words
    assert "Uvicorn running" not in words


def test_serve_says_where_somebody_elses_package_is(refusals: Refusals) -> None:
    _, words = refusals.end("stranger-serve")
    assert f"stranger{os.sep}plugins instead of {ROOT / 'plugins'}" in words


def test_a_compromised_release_of_litellm_does_not_start(refusals: Refusals) -> None:
    code, words = refusals.end("banned-litellm")
    assert code == 3
    assert "LiteLLM 1.82.7 is a compromised release" in words
