"""The GitHub Action: valid by schema, and its steps run as a runner would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.manifests import ROOT

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
CASES = ROOT / "tests" / "router_config" / "cases"


def test_it_fits_the_schema_of_actions() -> None:
    pytest.importorskip("check_jsonschema")
    folder = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "github-actions.json").read_text())
    jsonschema.validate(ACTION, schema)


def test_no_input_gets_into_a_script_as_code() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert "uses" not in step


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runner's folder after the first step, which installs from the lock."""
    folder = tmp_path_factory.mktemp("runner")
    done = step(0, folder, python=sys.executable)
    assert done.returncode == 0, done.stderr
    return folder


def step(index: int, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step in an empty folder, with *inputs* over the action's own."""
    one = ACTION["runs"]["steps"][index]
    given = {name: str(field.get("default", "")) for name, field in ACTION["inputs"].items()}
    values = {f"${{{{ inputs.{name} }}}}": value for name, value in {**given, **inputs}.items()}
    environ = {name: values[value] for name, value in one["env"].items()}
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH",)}
    runner = {"RUNNER_TEMP": str(folder / "temp"), "GITHUB_ACTION_PATH": str(ROOT)}
    (folder / "temp").mkdir(exist_ok=True)
    return subprocess.run(
        [one["shell"], "-e", "-o", "pipefail", "-c", one["run"]],
        env={**kept, **runner, **environ},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_a_good_file_passes(installed: Path) -> None:
    (installed / "router_config").mkdir()
    (installed / "router_config" / "config.yaml").write_text(
        (ROOT / "router_config" / "config.yaml").read_text()
    )
    done = step(1, installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout


def test_a_bad_file_fails_with_annotations_and_every_file_is_looked_at(installed: Path) -> None:
    good, bad = CASES / "valid-empty-sections.yaml", CASES / "budget-unknown-key.yaml"
    done = step(1, installed, files=f"{good} {bad}")
    assert done.returncode == 1
    assert f"::error file={bad},line=" in done.stdout
    assert "2 files: 1 error" in done.stdout


def test_an_input_with_a_command_in_it_is_a_name(installed: Path) -> None:
    done = step(1, installed, files="$(touch owned);touch owned")
    assert done.returncode != 0
    assert not (installed / "owned").exists()
