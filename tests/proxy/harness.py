"""A real LiteLLM proxy process on a config of our own, for tests over real HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

__all__ = ["MASTER_KEY", "PLAIN", "ROOT", "Proxy", "free_port", "running"]

ROOT = Path(__file__).resolve().parents[2]
MASTER_KEY = "sk-test-master-key-of-the-suite"
# Without this every request reads the machine's certificates first: a tenth of a second each.
PLAIN: dict[str, Any] = {"verify": False, "trust_env": False}
_READY_WITHIN_S = 120.0
_LITELLM_FORMS: dict[str, list[str]] = {
    "litellm": [],
    "granian-1": ["--run_granian"],
    "granian": ["--run_granian", "--num_workers", "2"],
    # Without it the workers are killed while they still start.
    "uvicorn-2": ["--num_workers", "2", "--timeout_worker_healthcheck", "60"],
}
# What would change a start: keys of the developer's own shell, for one.
_FOREIGN = ("_API_KEY", "_API_BASE", "SCW_SECRET_KEY", "DATABASE_URL", "CONFIG_FILE_PATH")


class Proxy:
    """One running proxy."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self.prefix = ""  # a root path, before every path of a request
        self.folder = log.parent
        self._log = log

    def log(self) -> str:
        """Return everything that the process has printed."""
        return self._log.read_text(errors="replace")

    def post(
        self,
        body: Any,
        *,
        key: str | None = MASTER_KEY,
        headers: Mapping[str, str] | None = None,
        path: str = "/v1/embeddings",
        timeout_s: float = 60.0,
    ) -> httpx.Response:
        """POST *body* (JSON, or bytes as they are) to the embeddings endpoint."""
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("authorization", f"Bearer {key}")
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return httpx.post(
            self.base + self.prefix + path, headers=sent, timeout=timeout_s, **content, **PLAIN
        )

    def get(self, path: str, *, key: str | None = MASTER_KEY) -> httpx.Response:
        """GET *path*."""
        headers = {"authorization": f"Bearer {key}"} if key is not None else {}
        return httpx.get(self.base + self.prefix + path, headers=headers, timeout=60, **PLAIN)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environ(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without provider keys, plus *extra*."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith(_FOREIGN)}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **kept,
        "PYTHONPATH": path,
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # A ledger of this run's own; a test that wants another names it.
        "QWEN3_ROUTER_STATE": tempfile.mkdtemp(prefix="qwen3-router-state-"),
        **extra,
    }


def command_for(form: str, config: Path, port: int) -> list[str]:
    """Return the command of one of the documented ways to start the proxy.

    *form* is "serve", "uvicorn" (the composed application; the config is in CONFIG_FILE_PATH), or
    one of plain LiteLLM's: "litellm", "granian-1", "granian" (two workers), "uvicorn-2" (two).
    """
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    if form == "serve":
        serve = [sys.executable, "-m", "router_config", "serve", "--config", str(config)]
        return [*serve, "--access-log", *listen]  # what it prints is looked through for keys
    if form == "uvicorn":
        return [sys.executable, "-m", "uvicorn", "plugins.gateway:app", *listen]
    workers = _LITELLM_FORMS[form]
    litellm = Path(sys.executable).with_name("litellm")
    return [str(litellm), "--config", str(config), *listen, *workers]


@contextlib.contextmanager
def running(
    config: Path,
    log: Path,
    *,
    environ: Mapping[str, str],
    form: str = "serve",
    python: Path | None = None,
    cwd: Path = ROOT,
) -> Iterator[Proxy]:
    """Start a proxy on *config*, wait until it answers, and end it with all its children.

    *python* is the interpreter of another environment, in the place of this one's.
    """
    port = free_port()
    command = command_for(form, config, port)
    if python is not None:
        command = [str(python), *command[command[0] == sys.executable :]]
    named = {"CONFIG_FILE_PATH": str(config)} if form == "uvicorn" else {}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env=clean_environ({**named, **environ}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,  # one group, so that no worker survives the test
        )
    try:
        _wait(process, port, log)
        yield Proxy(process, port, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(
                f"http://127.0.0.1:{port}/health/liveliness", timeout=5, **PLAIN
            ).is_success:
                return
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
    raise AssertionError(f"the proxy did not start (exit code {process.poll()}):\n{tail}")
