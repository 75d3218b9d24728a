"""What `bench` starts and watches: the static upstream, plain LiteLLM and our proxies.

Processor time and memory are those of all processes of a proxy, as Linux counts them; elsewhere
they stay empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from router_config.cli.child import free_port, serving, wait_until_ready

__all__ = ["Proxy", "ours", "plain", "upstream"]

_MB = 1024 * 1024
_KEY_VARIABLE = "BENCH_API_KEY"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One running proxy: where it listens, and the keys that it takes."""

    pid: int
    url: str
    key: str
    admin_key: str
    log: Path

    def cpu_s(self) -> float:
        """Return the processor time that its processes have used."""
        ticks = sum(int(stat[11]) + int(stat[12]) for stat in self._stats())
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Return the memory that its processes take now."""
        return self._memory_mb("VmRSS:")

    def peak_mb(self) -> float:
        """Return the most memory that they took since `forget_peak`."""
        return self._memory_mb("VmHWM:")

    def forget_peak(self) -> None:
        """Start to measure the most memory anew."""
        for pid in self._pids():
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _memory_mb(self, name: str) -> float:
        total = 0
        for pid in self._pids():
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith(name)).split()[1])
        return total * 1024 / _MB

    def _pids(self) -> list[int]:
        """Return its processes: it was started in a session of its own."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getsid(int(path.name)) == self.pid:
                    found.append(int(path.name))
        return found

    def _stats(self) -> Iterator[list[str]]:
        for pid in self._pids():
            with contextlib.suppress(OSError):
                yield Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextlib.contextmanager
def upstream(encoding: str) -> Iterator[str]:
    """Start the static upstream and yield its base URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "router_config.sandbox.static", "--encoding", encoding],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["base"])
        finally:
            process.terminate()


@contextlib.contextmanager
def plain(folder: Path, base: str) -> Iterator[Proxy | None]:
    """Start LiteLLM's own proxy, with nothing of ours; None if it does not start."""
    config = {
        "model_list": [_deployment("plain", "openai/Qwen/Qwen3-Embedding-8B", base)],
        "router_settings": {"num_retries": 0},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
    command = [str(Path(sys.executable).with_name("litellm"))]
    with _proxy(folder / "plain", config, command) as proxy:
        yield proxy


@contextlib.contextmanager
def ours(
    folder: Path, base: str, base64: str, *, health: bool = True, profile: Path | None = None
) -> Iterator[Proxy | None]:
    """Start our proxy with a client key, its ledger and, unless told otherwise, its health."""
    key = "sk-bench-" + secrets.token_hex(16)
    budget = {"budget": "bench", "input_cost_per_token": 0.0001}  # digits in JSON too
    free = {"input_cost_per_token": 0}
    wide = {"mode": "embedding", "concurrency": 64}
    config = {
        "model_list": [
            _deployment("ours-float", "qwen3/openai", base, base64=False, **wide, **budget),
            _deployment("ours-base64", "qwen3/openai", base64, base64=True, **wide, **budget),
            # Whatever has a price is counted, with or without a budget.
            _deployment("ours-unpaid", "qwen3/openai", base64, base64=True, **wide, **free),
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {
            "callbacks": [
                "plugins.gateway.handler",
                "plugins.budget.handler",
                "plugins.matryoshka.handler",
            ],
            "custom_provider_map": [
                {"provider": "qwen3", "custom_handler": "plugins.provider.handler"}
            ],
        },
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
            "custom_auth": "plugins.keys.handler",
        },
        "embedding_router": {
            "ledger": "sqlite",
            "budgets": {"bench": {"usd": 1_000_000, "period": "lifetime"}},
            "keys": {"bench": {"sha256": [sha256(key.encode()).hexdigest()]}},
            "health": {"enabled": health},
            # The upstream's vectors are of no model, and would be found out.
            "parity": "off",
            # One client may have all of a worker.
            "gateway": {"max_inflight": 512, "max_queued": 2000, "max_queued_mb": 1024},
        },
    }
    command = [sys.executable]
    if profile is not None:
        command += ["-m", "cProfile", "-o", str(profile)]
    command += ["-m", "router_config", "serve"]
    name = "ours" if health else "ours-without-health"
    with _proxy(folder / name, config, command, key) as proxy:
        yield proxy


def _deployment(group: str, model: str, base: str, **info: Any) -> dict[str, Any]:
    return {
        "model_name": group,
        "litellm_params": {
            "model": model,
            "api_base": base,
            "api_key": f"os.environ/{_KEY_VARIABLE}",
        },
        "model_info": {"id": group, "mode": "embedding", **info},
    }


@contextlib.contextmanager
def _proxy(
    folder: Path, config: dict[str, Any], command: list[str], key: str | None = None
) -> Iterator[Proxy | None]:
    folder.mkdir()
    admin_key = "sk-bench-admin-" + secrets.token_hex(16)
    path, log = folder / "config.yaml", folder / "proxy.log"
    path.write_text(json.dumps(config))  # JSON is YAML, and nothing here is for people to edit
    port = free_port(0)
    environ = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        _KEY_VARIABLE: "none",
        "QWEN3_ROUTER_STATE": str(folder),
    }
    with serving(path, port, admin_key, environ, log, command) as process:
        if not wait_until_ready(process, port, log):
            yield None
            return
        url = f"http://127.0.0.1:{port}/v1/embeddings"
        yield Proxy(process.pid, url, key or admin_key, admin_key, log)
        if "cProfile" in command:  # its numbers are written when the program ends by itself
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
