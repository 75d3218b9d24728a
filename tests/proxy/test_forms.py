"""All ways to start the proxy give the same answers, byte for byte.

Three are compared with `serve`: plain `litellm --config`, here under a root path; the same with two
workers under granian; and the composed application under uvicorn, which also has what operators may
add: LiteLLM's own response cache, and a callback of theirs that refuses requests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from router_config.cli import main
from router_config.sandbox import Sandbox
from tests.proxy import configs, stops
from tests.proxy.answers import calls, refused
from tests.proxy.conftest import let_litellm_look_around
from tests.proxy.harness import MASTER_KEY, ROOT, Proxy, running
from tests.proxy.sockets import exchange, head

VLLM = configs.solo("vllm")
MANY = [f"text number {i}" for i in range(40)]
ROOT_PATH = "/vectors"

# What is asked of both: body, and what else.
QUESTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "floats": ({"model": VLLM, "input": "Привет 🦔"}, {}),
    "base64": ({"model": VLLM, "input": MANY, "encoding_format": "base64"}, {}),
    "cut": ({"model": configs.solo("scaleway"), "input": MANY, "dimensions": 33}, {}),
    "query": ({"model": f"{VLLM}:query", "input": "Где?", "dimensions": 64}, {}),
    "header": (
        {"model": VLLM, "input": "Где?", "dimensions": 64},
        {"headers": {"x-router-input-type": "query"}},
    ),
    "ids": ({"model": "cl100k", "input": [[15339, 1917]], "dimensions": 64}, {}),
    "engines": (
        {"input": "x", "dimensions": 64},
        {"path": f"/engines/{configs.solo('ollama')}/embeddings"},
    ),
    "plain": ({"model": "plain", "input": MANY, "dimensions": 64}, {}),
    "alias": ({"model": "text-embedding-3-large", "input": "x", "dimensions": 64}, {}),
    "foreign": ({"model": "foreign", "input": "x", "encoding_format": "float"}, {}),
    "no-json": (b"{", {}),
    "bad-field": ({"model": VLLM, "input": "x", "dimensions": 1}, {}),
    "unknown": ({"model": "unknown", "input": "x"}, {}),
    "deployment": ({"model": f"{VLLM}--vllm", "input": "x"}, {}),
    "too-long": ({"model": VLLM, "input": "word " * 40_000}, {}),
    "nobody": ({"model": "nobody", "input": "x"}, {}),
    "no-key": ({"model": VLLM, "input": "x"}, {"key": None}),
    "wrong-key": ({"model": VLLM, "input": "x"}, {"key": "sk-wrong"}),
    "other-group": ({"model": "plain", "input": "x"}, {"key": configs.KEYS["search"]}),
}


def _beside_the_package(config: Path) -> Path:
    """Put our package beside the config: LiteLLM then executes each plugin file anew."""
    (config.parent / "plugins").symlink_to(ROOT / "plugins")
    return config


def _as_operators_do(config: Path) -> Path:
    """Add a response cache, a callback that refuses, and LiteLLM's own limits to the config."""
    found = yaml.safe_load(config.read_text())
    settings = found["litellm_settings"]
    settings |= {"cache": True, "cache_params": {"type": "local"}}
    settings["callbacks"].append("refusals.handler")
    config.write_text(yaml.safe_dump(found, sort_keys=False))
    (config.parent / "refusals.py").write_text(_REFUSALS)
    return _beside_the_package(config)


def _with_a_job(config: Path) -> Path:
    """Let a callback add a job to the work beside the requests; it fails every other time."""
    found = yaml.safe_load(config.read_text())
    found["litellm_settings"]["callbacks"].append("job.handler")
    found["embedding_router"]["budgets"] = stops.BUDGETS
    config.write_text(yaml.safe_dump(found, sort_keys=False))
    (config.parent / "job.py").write_text(_JOB)
    return config


_JOB = """
import os
from pathlib import Path
from litellm.integrations.custom_logger import CustomLogger
from plugins import _runtime

done = Path(__file__).with_name(f"{os.getpid()}.done")


async def work():
    with done.open("a") as out:
        out.write(".")
    if done.stat().st_size % 2:
        raise RuntimeError("secret words of an operator")


_runtime.current().background.add("test", 0.1, work)
handler = CustomLogger()
"""
_REFUSALS = '''
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger


class Refusals(CustomLogger):
    """Refuses with the status that stands in the header `x-refuse`."""

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        status = data["proxy_server_request"]["headers"].get("x-refuse", "")
        if status == "crash":
            raise RuntimeError("secret words of an operator")
        if status:
            raise HTTPException(int(status), detail="secret words of an operator")


handler = Refusals()
'''


@pytest.fixture(scope="module")
def plain(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Plain LiteLLM under a root path."""
    folder = tmp_path_factory.mktemp("litellm")
    config = _with_a_job(configs.write(sandbox, folder / "config.yaml"))
    environ = {**configs.environ(sandbox), "SERVER_ROOT_PATH": ROOT_PATH}
    with running(config, folder / "proxy.log", environ=environ, form="litellm") as process:
        process.prefix = ROOT_PATH
        yield process


@pytest.fixture(scope="module")
def workers(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Plain LiteLLM with two workers, which execute our files anew beside the config."""
    folder = tmp_path_factory.mktemp("granian")
    config = _with_a_job(configs.write(sandbox, folder / "config.yaml"))
    config = _beside_the_package(config)
    log = folder / "proxy.log"
    environ = {**configs.environ(sandbox), "QWEN3_ROUTER_STATE": str(folder / "state")}
    with running(config, log, environ=environ, form="granian") as process:
        yield process


@pytest.fixture(scope="module")
def operated(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The composed application, with what operators may add; two doors stand one in the other."""
    folder = tmp_path_factory.mktemp("uvicorn")
    config = _with_a_job(configs.write(sandbox, folder / "config.yaml"))
    config = _as_operators_do(config)
    log = folder / "proxy.log"
    environ = {**configs.environ(sandbox), "QWEN3_ROUTER_STATE": str(folder / "state")}
    with running(config, log, environ=environ, form="uvicorn") as process:
        yield process


PROCESSES = {"plain": 1, "workers": 2, "operated": 1}


@pytest.fixture(params=PROCESSES, scope="module")
def form(request: pytest.FixtureRequest, sandbox: Sandbox) -> Proxy:
    """A proxy started in another way."""
    found: Proxy = request.getfixturevalue(request.param)
    let_litellm_look_around(sandbox)
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_same_question_gets_the_same_answer(
    proxy: Proxy, form: Proxy, box: Sandbox, question: str
) -> None:
    body, more = QUESTIONS[question]
    ours = proxy.post(body, **more)
    asked = {name: state["calls"] for name, state in box.state()["providers"].items()}
    box.reset()
    theirs = form.post(body, **more)
    assert theirs.status_code == ours.status_code
    assert theirs.content == ours.content
    assert {name: state["calls"] for name, state in box.state()["providers"].items()} == asked
    assert _told(theirs) == _told(ours)


def _told(response: httpx.Response) -> dict[str, str]:
    """Return the headers that say something of the answer; request ids differ by nature."""
    return {
        name: value
        for name, value in response.headers.items()
        if name.startswith("x-router") or name in ("content-type", "retry-after", "x-should-retry")
        if name != "x-router-request-id"
    }


def test_the_door_is_there_once(form: Proxy, box: Sandbox) -> None:
    response = form.post({"model": VLLM, "input": "x", "dimensions": 32})
    assert len(response.headers.get_list("x-router-request-id")) == 1
    assert len(response.headers.get_list("x-router-deployment")) == 1
    assert calls(box) == {"vllm": 1}


def test_the_fast_path_serves_in_every_form(
    form: Proxy, box: Sandbox, request: pytest.FixtureRequest
) -> None:
    def serves(key: str, headers: dict[str, str]) -> str:
        body = {"model": VLLM, "input": "x", "dimensions": 32}
        reply = form.post(body, key=key, headers=headers)
        assert reply.status_code == 200
        # Only LiteLLM's own path runs its callbacks, and says how long they took.
        return "litellm" if "x-litellm-callback-duration-ms" in reply.headers else "fast"

    # With an operator's callback that may refuse a request, and a cache, LiteLLM serves them all.
    steps_aside = request.node.callspec.params["form"] == "operated" or not configs.FAST_PATH
    usual = "litellm" if steps_aside else "fast"
    long_way = {"x-router-path": "litellm"}
    for _ in range(4):  # whichever worker is asked
        assert serves(MASTER_KEY, {}) == serves(configs.KEYS["search"], long_way) == usual
        assert serves(MASTER_KEY, long_way) == "litellm"


def test_the_body_limit_holds(form: Proxy, box: Sandbox) -> None:
    path = f"{form.prefix}/v1/embeddings"
    answer = exchange(form, [head({"content-length": "20000000"}, path=path)])
    refused(answer, 413, "request_too_large")
    assert calls(box) == {}


def test_a_health_check_costs_nothing(form: Proxy, box: Sandbox) -> None:
    assert form.get("/health").json()["unhealthy_count"] == 1
    assert calls(box) == {}


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_works_beside_the_requests(request: pytest.FixtureRequest, name: str) -> None:
    form: Proxy = request.getfixturevalue(name)

    def done() -> list[int]:
        return [path.stat().st_size for path in form.folder.glob("*.done")]

    ends = time.monotonic() + 60
    while (len(done()) < PROCESSES[name] or min(done()) < 5) and time.monotonic() < ends:
        time.sleep(0.05)
    assert len(done()) == PROCESSES[name]
    assert min(done()) >= 5  # it goes on after each failure
    failed = [line for line in form.log().splitlines() if "background job test failed" in line]
    # Once a minute each, though they have failed far more often.
    assert PROCESSES[name] <= len(failed) <= 10 * PROCESSES[name]
    assert all("(RuntimeError at job:" in line for line in failed)
    assert "secret words" not in form.log()


def test_workers_share_what_they_know_and_one_makes_the_probes(
    workers: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QWEN3_ROUTER_STATE", str(workers.folder / "state"))
    monkeypatch.setenv("CONFIG_FILE_PATH", str(workers.folder / "config.yaml"))

    def health(*words: str) -> Any:
        assert main(["health", *words, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    ends = time.monotonic() + 60
    while sorted((found := health()["processes"]).values()) != [False, True]:
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert len(found) == 2
    id_ = f"{VLLM}--vllm"
    health("eject", id_, "--drain")
    while workers.log().count("state=drained") < 2:
        assert time.monotonic() < ends
        time.sleep(0.05)
    health("uneject", id_)
    while workers.log().count("endpoint back:") < 2:
        assert time.monotonic() < ends
        time.sleep(0.05)


# -- what operators may add (the composed application has it)


def test_litellms_response_cache_never_takes_part(operated: Proxy, box: Sandbox) -> None:
    body = {"model": VLLM, "input": MANY, "dimensions": 64}
    answers = [operated.post(body) for _ in range(3)]
    assert {one.status_code for one in answers} == {200}
    assert len({one.content for one in answers}) == 1
    other = operated.post({**body, "dimensions": 128})
    assert len(other.json()["data"][0]["embedding"]) == 128
    assert calls(box) == {"vllm": 4}


def test_litellms_response_cache_serves_its_own_models(operated: Proxy, box: Sandbox) -> None:
    body = {"model": "foreign", "input": "cached", "encoding_format": "float"}
    first, second = operated.post(body), operated.post(body)
    assert first.json()["data"] == second.json()["data"]
    assert calls(box) == {"vllm": 1}


@pytest.mark.parametrize(
    ("asked", "status", "code", "retry"),
    [
        ("400", 400, "invalid_input", False),
        ("422", 400, "invalid_input", False),
        ("403", 404, "model_not_found", False),
        ("429", 429, "rate_limited", True),
        ("500", 503, "no_deployment_available", True),
        ("crash", 503, "no_deployment_available", True),
    ],
)
def test_a_refusal_by_another_callback_comes_in_our_shape(
    operated: Proxy, box: Sandbox, asked: str, status: int, code: str, retry: bool
) -> None:
    response = operated.post({"model": VLLM, "input": "x"}, headers={"x-refuse": asked})
    param = "model" if code == "model_not_found" else None
    refused(response, status, code, param, retry=retry)
    assert "secret words" not in response.text
    assert calls(box) == {}


def test_a_key_of_the_file_works_under_a_root_path(plain: Proxy, box: Sandbox) -> None:
    key = configs.KEYS["search"]
    for route in ("/v1/embeddings", f"/engines/{VLLM}/embeddings"):
        assert plain.post({"model": VLLM, "input": "x"}, key=key, path=route).status_code == 200
    assert plain.get("/v1/models", key=key).status_code == 200
    assert plain.get("/key/list", key=key).status_code == 403
    assert calls(box) == {"vllm": 2}


def test_whichever_worker_is_asked_counts_for_all(workers: Proxy) -> None:
    def asked() -> tuple[float, float]:
        # A connection of its own each time, so that the workers take turns.
        reply = workers.get("/router/metrics", key=configs.METRICS_TOKEN)
        found = dict(line.rsplit(" ", 1) for line in reply.text.splitlines() if line[0] != "#")
        name = f'qwen3_router_inputs_total{{group="{VLLM}"}}'
        return float(found.get(name, 0)), float(found["qwen3_router_workers"])

    counts = [asked()[0]]
    for _ in range(20):
        assert workers.post({"model": VLLM, "input": "x", "dimensions": 64}).is_success
        counts.append(asked()[0])
    # Its own are in the answer at once, the other's within half a second.
    assert counts == sorted(counts)
    ends = time.monotonic() + 60
    while (last := asked()) != (counts[0] + 20, 2):
        assert time.monotonic() < ends, last
        time.sleep(0.1)


# -- the end; `serve` and others: test_stop.py


@pytest.mark.parametrize("name", ["workers", "operated"])
def test_a_stop_answers_all_requests_in_flight(
    request: pytest.FixtureRequest, box: Sandbox, name: str
) -> None:
    ended: Proxy = request.getfixturevalue(name)
    stops.assert_a_good_stop(ended, box, ended.folder / "state")
