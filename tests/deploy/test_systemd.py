"""The systemd unit: verified by systemd itself where it is, and its command by ours."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from router_config.cli import main
from tests.deploy.manifests import DEPLOY

UNIT = DEPLOY / "systemd" / "qwen3-router.service"
PROGRAM = "/opt/qwen3-router/bin/qwen3-router"


def service() -> dict[str, list[str]]:
    """The keys of the section [Service]; one may stand there several times."""
    section = UNIT.read_text().partition("[Service]")[2].partition("[Install]")[0]
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine: the unit was only read")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    # With a program that is here in the place of ours.
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    done = analyze("verify", str(copy))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_calls_it_well_locked_up() -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposure, done.stdout + done.stderr
    assert float(exposure[1]) <= 1.5  # of 10; a unit without any of it has 9.6


def test_it_can_be_read_without_systemd() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.read(UNIT)
    assert parser["Service"]["DynamicUser"] == "yes"
    assert parser["Service"]["ProtectSystem"] == "strict"
    assert parser["Service"]["NoNewPrivileges"] == "yes"
    assert parser["Install"]["WantedBy"] == "multi-user.target"


def test_its_commands_are_ours_with_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    found = service()
    for line in (*found["ExecStartPre"], *found["ExecStart"], *found["ExecReload"]):
        program, command, *options = shlex.split(line)
        assert program == PROGRAM
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        usage = capsys.readouterr().out
        assert [one for one in options if one.startswith("--") and one not in usage] == []


def test_a_reload_asks_the_service_for_the_file_that_it_was_started_with() -> None:
    found = service()
    (started,), (reloaded,) = found["ExecStart"], found["ExecReload"]
    config = re.search(r"--config \S+", started)
    assert config is not None
    assert reloaded == f"{PROGRAM} reload {config[0]}"


def test_what_it_writes_is_where_the_ledger_looks() -> None:
    (state,) = service()["StateDirectory"]
    assert f"QWEN3_ROUTER_STATE=/var/lib/{state}" in " ".join(service()["Environment"])


def test_a_stop_waits_for_running_requests() -> None:
    assert int(service()["TimeoutStopSec"][0]) > 30


def test_the_example_of_the_environment_holds_no_value() -> None:
    text = (DEPLOY / "systemd" / "environment.example").read_text()
    assert set(re.findall(r"^[A-Z_]+=(.*)$", text, re.MULTILINE)) == {""}
