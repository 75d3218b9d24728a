"""`qwen3-router demo` as a process, and what it prints as data."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.processes import descendants
from tests.proxy.harness import ROOT, clean_environ

__all__ = ["REAL_KEYS", "Demo", "command", "demo"]

# What somebody may have in the shell when trying the demo. None of it may matter, or get anywhere.
REAL_KEYS = {
    "SCW_SECRET_KEY": "real-scaleway-key",
    "DEEPINFRA_API_KEY": "real-deepinfra-key",
    "OPENAI_API_KEY": "real-openai-key",
    "VLLM_API_BASE": "http://gpu.example.com:8000/v1",
    "LITELLM_MASTER_KEY": "sk-real-master-key",
    "DATABASE_URL": "postgresql://router:real-password@db.example.com/litellm",
    "CONFIG_FILE_PATH": "/nowhere/config.yaml",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "",
}


def command(*arguments: str) -> list[str]:
    """Return the command line of the demo with this interpreter."""
    return [sys.executable, "-m", "router_config", "demo", *arguments]


class Demo:
    """A running demo; *text* grows with what it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, words: str, within_s: float = 120.0) -> None:
        """Wait until *words* were printed; an error with everything printed if they are not."""
        ends = time.monotonic() + within_s
        while words not in self.text and time.monotonic() < ends and self._reader.is_alive():
            time.sleep(0.05)
        assert words in self.text, self.text

    def processes(self) -> set[int]:
        """Return the demo's process and all below it."""
        return {self.process.pid, *descendants(self.process.pid)}

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=30)
        self._reader.join(timeout=30)
        return code

    def after(self, words: str) -> str:
        """Return the rest of the line that starts with *words*, spaces aside."""
        found = re.search(rf"^ *{re.escape(words)}(.*)$", self.text, re.MULTILINE)
        assert found, self.text
        return found[1]

    @property
    def base(self) -> str:
        """The base URL for clients, as printed."""
        found = re.search(r'base_url="([^"]+)"', self.text)
        assert found, self.text
        return found[1]

    @property
    def key(self) -> str:
        """The key for clients, as printed."""
        found = re.search(r'api_key="([^"]+)"', self.text)
        assert found, self.text
        return found[1]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line


@contextlib.contextmanager
def demo(*arguments: str, environ: Mapping[str, str], cwd: Path = ROOT) -> Iterator[Demo]:
    """Start the demo; what still runs of it at the end is ended."""
    process = subprocess.Popen(
        command(*arguments),
        env={**clean_environ({}), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
    )
    one = Demo(process)
    try:
        yield one
    finally:
        for pid in one.processes() if process.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
