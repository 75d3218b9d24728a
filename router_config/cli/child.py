"""A `serve` process of our own, for the commands that show or measure the real proxy."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["free_port", "serving", "wait_until_ready"]

_READY_WITHIN_S = 120


def free_port(wanted: int) -> int:
    """Return *wanted* if nobody listens there, else some free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                print(f"Port {port} is in use; taking another.")
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


@contextlib.contextmanager
def serving(
    config: Path,
    port: int,
    key: str,
    environ: dict[str, str],
    log: Path,
    command: Sequence[str] = (sys.executable, "-m", "router_config", "serve"),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `serve` on *config* with the admin *key*, output in *log*; end it on the way out.

    *command* may be another one with the same options, such as LiteLLM's own.
    """
    listen = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *listen],
            env={**environ, "LITELLM_MASTER_KEY": key},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is for us, who then end it in order
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    """Wait with a progress line until the proxy answers; False, with its words, if it ended."""
    import httpx

    started = time.monotonic()
    url = f"http://127.0.0.1:{port}/health/liveliness"
    progress = _Progress()
    # Straight to loopback, whatever HTTP proxy this shell names.
    with httpx.Client(timeout=2, trust_env=False) as client:
        while (passed_s := time.monotonic() - started) < _READY_WITHIN_S:
            if process.poll() is not None:
                progress.end("")
                print(
                    f"The proxy ended with code {process.returncode}:\n{_tail(log)}",
                    file=sys.stderr,
                )
                return False
            with contextlib.suppress(httpx.HTTPError):
                if client.get(url).is_success:
                    progress.end(f"The proxy is ready after {passed_s:.0f} s.")
                    return True
            progress.show(f"Starting the proxy … {passed_s:.0f} s")
            time.sleep(0.5)
    progress.end("")
    print(f"The proxy was not ready in {_READY_WITHIN_S} s:\n{_tail(log)}", file=sys.stderr)
    return False


class _Progress:
    """One line that counts on a terminal; elsewhere its first words, once."""

    def __init__(self) -> None:
        self._counts = sys.stdout.isatty()
        self._shown = False

    def show(self, line: str) -> None:
        if self._counts:
            print(f"\r{line}", end="", flush=True)
        elif not self._shown:
            print(line.partition("…")[0] + "…", flush=True)
        self._shown = True

    def end(self, line: str) -> None:
        """Leave the line, with *line* in its place."""
        if self._counts and self._shown:
            print(f"\r\x1b[K{line}")
        elif line:
            print(line)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-25:])
