"""`qwen3-router validate` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router_config import SHIPPED_CONFIG
from router_config.catalogue import SHIPPED_CATALOGUE
from router_config.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("cases")
GOOD, BAD = CASES / "valid-empty-sections.yaml", CASES / "many-kinds-in-one-run.yaml"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG_FILE_PATH", "LITELLM_MASTER_KEY", "SCW_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_clean_file_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(GOOD)]) == 0
    assert ": 0 errors, " in capsys.readouterr().out


def test_problems_exit_1_and_are_all_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(BAD)]) == 1
    *lines, summary = capsys.readouterr().out.splitlines()
    assert summary == f"{BAD}: 9 errors, 1 warning"
    assert all(line.startswith(f"{BAD}:") for line in lines)
    kinds = ("unknown provider", "duplicate key", "multiplies wire calls", "credentials inside")
    assert all(any(kind in line for line in lines) for kind in kinds)


def test_warnings_alone_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(CASES / "key-expired.yaml")]) == 1
    assert main(["validate", str(CASES / "calls-ignored-params.yaml")]) == 0
    assert ": warning: " in capsys.readouterr().out


def test_several_files_are_checked_in_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(GOOD), str(BAD), str(CASES / "no.yaml")]) == 1
    captured = capsys.readouterr()
    assert f"{CASES / 'no.yaml'}:1:1: cannot be read" in captured.out
    assert captured.out.splitlines()[-1].startswith("3 files: ")
    assert captured.err == ""


@pytest.mark.parametrize(
    "words",
    [
        ["validate", "--format", "xml"],
        ["validate", "--nothing"],
        ["validat"],
        ["validate", str(GOOD), "--config", str(GOOD)],
    ],
)
def test_wrong_usage_exits_2(words: list[str]) -> None:
    try:
        code = main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2


def test_without_a_file_the_usual_places_are_looked_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["validate"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{SHIPPED_CONFIG}: 0 errors")
    monkeypatch.setenv("CONFIG_FILE_PATH", str(BAD))
    assert main(["validate"]) == 1
    assert main(["validate", "--config", str(GOOD)]) == 0


def test_the_environment_counts_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(GOOD)]) == 0
    assert "is not set" not in capsys.readouterr().out
    assert main(["validate", "--env", str(GOOD)]) == 1
    assert "SCW_SECRET_KEY is not set" in capsys.readouterr().out


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--format", "json", str(BAD)]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["errors"] > 3
    assert captured.err.startswith(f"{BAD}: ")


def test_github_annotates_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--format", "github", str(BAD)]) == 1
    assert capsys.readouterr().out.startswith("::error file=")


def test_a_catalogue_is_checked_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(SHIPPED_CATALOGUE)]) == 0
    broken = tmp_path / "providers.yaml"
    text = SHIPPED_CATALOGUE.read_text(encoding="utf-8")
    broken.write_text(text.replace("    hosted: true", "    hosted: 7", 1), encoding="utf-8")
    assert main(["validate", str(broken)]) == 1
    assert "hosted" in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if f"  {name} " not in out] == []


def test_it_runs_without_litellm_network_and_plugins() -> None:
    code = """
import socket, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"litellm", "plugins", "httpx", "aiohttp", "numpy"}:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Refuse())
def refuse(*args, **kwargs):
    raise OSError("the network is cut")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from router_config.cli import main
sys.exit(main(["validate", sys.argv[1]]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(BAD)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert "unknown provider" in result.stdout


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    command = f'"{sys.executable}" -m router_config validate "{BAD}" | true'
    result = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in result.stderr
