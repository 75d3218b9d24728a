"""Both READMEs and the other documents are true: commands run, links lead somewhere, tables agree.

Each command of a ```sh block or a sentence has its runner in RUNNERS. It is run as it stands, or
with nothing changed but ports, keys and providers' addresses. A command without a runner fails.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from router_config import SHIPPED_CONFIG, check, load_catalogue
from router_config.sandbox import Sandbox
from tests.commands import ROOT, environment, make, programs
from tests.proxy.harness import clean_environ, free_port

READMES = ("README.md", "README.ru.md")
DOCS = tuple(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS = (*READMES, "CONTRIBUTING.md", "CHANGELOG.md", *DOCS)
MODEL = "qwen3-embedding-8b"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """Return the fenced blocks of a document in *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(name), re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[str]:
    """Return the commands of a document's sh blocks and sentences, one string each."""
    joined = "".join(blocks(name, "sh")).replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip()]
    return list(dict.fromkeys([*lines, *re.findall(r"`(qwen3-router [^`\n]+)`", text(name))]))


# -- what the commands run in


@dataclass
class Reader:
    """Somebody who follows the README: a shell, and emulators instead of the providers."""

    folder: Path
    box: Sandbox
    environ: dict[str, str]
    config: Path

    def sh(self, command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run *command* to its end in the checkout."""
        return subprocess.run(
            ["sh", "-c", command],
            env={**self.environ, **environ},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    @contextlib.contextmanager
    def serving(self, command: str, cwd: Path, **environ: str) -> Iterator[str]:
        """Start the proxy with *command* on a free port; yield its address once it is ready."""
        port = free_port()
        log = self.folder / "proxy.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {command} --host 127.0.0.1 --port {port}"],
                env={**self.environ, **environ},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        base = f"http://127.0.0.1:{port}"
        try:
            assert _ready(process, base), log.read_text(errors="replace")[-3000:]
            yield base
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=40)


def _ready(process: subprocess.Popen[bytes], base: str) -> bool:
    ends = time.monotonic() + 120
    with httpx.Client(trust_env=False) as client:
        while process.poll() is None and time.monotonic() < ends:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{base}/health/liveliness").is_success:
                    return True
            time.sleep(0.2)
    return False


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    with Sandbox() as box:
        (folder / "router_config").mkdir()
        config = box.redirect(SHIPPED_CONFIG, folder / "router_config" / "config.yaml")
        environ = environment(programs(folder / "bin"), clean_environ({}))
        del environ["LITELLM_MASTER_KEY"]
        one = Reader(folder, box, environ, config)
        for line in commands("README.md"):
            if line.startswith("export "):
                one.environ.update(_exported(one, line))
        yield one


def _exported(reader: Reader, line: str) -> dict[str, str]:
    """Return the variable that an export line sets; `…` stands for a key that the reader has."""
    name = line.removeprefix("export ").partition("=")[0]
    if line.endswith("=…"):
        return {name: reader.box.env()[name]}
    result = reader.sh(f"{line}\nprintenv {name}")
    assert result.returncode == 0, result.stderr
    return {name: result.stdout.strip()}


@pytest.fixture(scope="module")
def served(reader: Reader) -> Iterator[str]:
    """The proxy as `qwen3-router serve` starts it."""
    with reader.serving("qwen3-router serve", ROOT, CONFIG_FILE_PATH=str(reader.config)) as base:
        yield base


def answers(base: str, key: str) -> bool:
    reply = httpx.post(
        f"{base}/v1/embeddings",
        json={"model": MODEL, "input": "Привет, мир"},
        headers={"authorization": f"Bearer {key}"},
        timeout=60,
        trust_env=False,
    )
    return reply.is_success and reply.headers["x-router-deployment"] == "scaleway-free"


# -- one runner per command


def runs_the_demo(reader: Reader, command: str, _: str) -> None:
    # To its end it is run by tests/proxy/test_demo.py, through this same target.
    result = reader.sh(" ".join(make(reader.folder / "bin", "demo", "--help")))
    assert result.returncode == 0, result.stderr
    assert "usage: qwen3-router demo" in result.stdout


def runs_these_tests(reader: Reader, command: str, _: str) -> None:
    collect = "'--collect-only -q tests/test_readme.py'"
    line = " ".join(make(reader.folder / "bin", "test")[:-1])
    result = reader.sh(f"{line} ARGS={collect}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "test_command_of_the_readme" in result.stdout


def finds_all_installed(reader: Reader, command: str, _: str) -> None:
    result = reader.sh(" ".join(make(reader.folder / "bin", "install")))
    assert result.returncode == 0, result.stderr


def activates(reader: Reader, command: str, _: str) -> None:
    script = Path(sys.executable).with_name("activate")
    if not script.exists():
        pytest.skip("these tests do not run in a virtual environment")
    result = reader.sh(f'. "{script}" && echo "$VIRTUAL_ENV/bin" && echo "$PATH"')
    programs_, path = result.stdout.splitlines()
    assert path.startswith(f"{programs_}:")


def is_a_variable_of_the_config(reader: Reader, command: str, _: str) -> None:
    name = command.removeprefix("export ").partition("=")[0]
    assert f"os.environ/{name}" in SHIPPED_CONFIG.read_text()
    assert reader.environ[name]


def serves(reader: Reader, command: str, base: str) -> None:
    assert answers(base, reader.environ["LITELLM_MASTER_KEY"])


def serves_in_plain_litellm(reader: Reader, command: str, _: str) -> None:
    # In a folder with the redirected file at the path that the command names.
    with reader.serving(command, reader.folder) as base:
        assert answers(base, reader.environ["LITELLM_MASTER_KEY"])


def finds_no_errors(reader: Reader, command: str, _: str) -> None:
    result = reader.sh(command)
    assert result.returncode == 0, result.stdout
    assert "0 errors" in result.stdout


def annotates(reader: Reader, command: str, _: str) -> None:
    finds_no_errors(reader, command, _)
    *lines, summary = reader.sh(command).stdout.splitlines()
    assert lines
    assert f"0 errors, {len(lines)} warnings" in summary
    assert all(line.startswith("::warning file=") for line in lines)


def shows_the_order(reader: Reader, command: str, _: str) -> None:
    result = reader.sh(command)
    assert result.returncode == 0, result.stderr
    first = next(line for line in result.stdout.splitlines() if line.startswith("1 "))
    assert "scaleway-free" in first


def installs(reader: Reader, command: str, _: str) -> None:
    # With the build back end that is here and without dependencies: all else is the same.
    options = "--quiet --no-deps --no-build-isolation --python"
    target = reader.folder / "installed"
    line = command.replace("pip install", f'python -m uv pip install {options} "{sys.executable}"')
    result = reader.sh(f'{line} --target "{target}"')
    assert result.returncode == 0, result.stderr
    assert (target / "router_config" / "config.yaml").exists()


def prints_a_key_and_its_line(reader: Reader, command: str, _: str) -> None:
    result = reader.sh(command)
    assert result.returncode == 0, result.stderr
    key = re.search(r"^ *(sk-\S+)$", result.stdout, re.MULTILINE)
    line = re.search(r"^ *(search: .*)$", result.stdout, re.MULTILINE)
    assert key, result.stdout
    assert line, result.stdout
    fields = yaml.safe_load(line[1])["search"]
    assert fields["sha256"] == [hashlib.sha256(key[1].encode()).hexdigest()]
    config = reader.folder / "with-key.yaml"
    config.write_text(f"{SHIPPED_CONFIG.read_text()}\n  keys:\n    {line[1]}\n")
    assert [str(one) for one in check(config) if one.severity == "error"] == []


def shows_what_is_left(reader: Reader, command: str, _: str) -> None:
    result = reader.sh(command)
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0] for line in result.stdout.splitlines()}
    assert set(yaml.safe_load(SHIPPED_CONFIG.read_text())["embedding_router"]["budgets"]) <= rows


def shows_who_is_out(reader: Reader, command: str, _: str) -> None:
    result = reader.sh(command)
    assert result.returncode == 0, result.stderr
    states = {line.split()[1]: line.split()[2] for line in result.stdout.splitlines() if line[0:1]}
    assert states["scaleway-free"] in ("fine", "off")


def reloads(reader: Reader, command: str, _: str) -> None:
    result = reader.sh(command, CONFIG_FILE_PATH=str(reader.config))
    assert "is in force" in result.stdout, result.stdout + result.stderr


def writes_a_config_that_can_be_used(reader: Reader, command: str, _: str) -> None:
    folder = reader.folder / "init"
    folder.mkdir(exist_ok=True)
    result = reader.sh(f'cd "{folder}" && {command}')
    assert result.returncode == 0, result.stderr
    result = reader.sh(f'cd "{folder}" && qwen3-router explain --config mine.yaml {MODEL}')
    assert "scaleway-free" in result.stdout, result.stderr


Runner = Callable[[Reader, str, str], None]
RUNNERS: dict[str, Runner] = {
    "make demo": runs_the_demo,
    "make test": runs_these_tests,
    "make install": finds_all_installed,
    ". .venv/bin/activate": activates,
    "export SCW_SECRET_KEY=…": is_a_variable_of_the_config,
    'export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 16)"': is_a_variable_of_the_config,
    "qwen3-router serve": serves,
    "litellm --config router_config/config.yaml": serves_in_plain_litellm,
    "qwen3-router validate": finds_no_errors,
    f"qwen3-router explain {MODEL}": shows_the_order,
    "pip install .": installs,
    "qwen3-router validate --format github router_config/config.yaml": annotates,
    f"qwen3-router key new --alias search --groups {MODEL} --rpm 600": prints_a_key_and_its_line,
    "qwen3-router budget show": shows_what_is_left,
    "qwen3-router health": shows_who_is_out,
    "qwen3-router reload": reloads,
    "qwen3-router init -o mine.yaml": writes_a_config_that_can_be_used,
}


@pytest.mark.parametrize("command", commands("README.md"))
def test_command_of_the_readme_does_what_it_says(reader: Reader, served: str, command: str) -> None:
    assert command in RUNNERS, "no runner: add one, so that the README stays true"
    RUNNERS[command](reader, command, served)


def test_both_readmes_have_the_same_commands() -> None:
    assert commands("README.ru.md") == commands("README.md")


@pytest.mark.parametrize("name", READMES)
def test_python_of_the_readme_runs(reader: Reader, served: str, name: str) -> None:
    (code,) = blocks(name, "python")
    assert "http://localhost:4000" in code
    code = code.replace("http://localhost:4000", served)
    code += "\nprint(len(documents.data), len(query.data[0].embedding), query.model)"
    result = subprocess.run(
        [sys.executable, "-c", code], env=reader.environ, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == (f"2 1024 {MODEL}:query\n", "")


# -- what the documents say


@pytest.mark.parametrize("name", READMES)
def test_readme_fits_on_two_screens(name: str) -> None:
    assert len(text(name).splitlines()) <= 126


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_of_a_document_lead_to_files(name: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text(name))
    local = [target for target in targets if "://" not in target]
    folder = (ROOT / name).parent
    assert [target for target in local if not (folder / target).exists()] == []


@pytest.mark.parametrize("name", READMES)
def test_prices_of_the_readme_are_those_of_the_catalogue(name: str) -> None:
    catalogue = {one.title.split()[0]: one for one in reversed(load_catalogue().values())}
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text(name).splitlines()]
    shown = [row for row in rows if len(row) == 4 and row[0] in catalogue]
    known = []
    for title, _, free, price in shown:
        one = catalogue[title]
        assert one.model_card is not None
        undated = price.partition("(")[2].rstrip(")")
        assert one.price.as_of or not re.search(r"\d", undated)
        date = one.price.as_of.isoformat() if one.price.as_of else undated
        usd = f"{one.price.usd_per_million_tokens} ({date})"
        known.append([title, str(one.model_card.usd_per_million_tokens), free, usd])
        amount = re.sub(r"\D", "", free.replace("M", "000000"))
        assert amount in re.sub(r"[,.]", "", one.model_card.free or "")
    assert shown == known
    assert len(shown) == 5


@pytest.mark.parametrize("name", READMES)
def test_pre_commit_example_names_a_hook_that_exists(name: str) -> None:
    (example,) = blocks(name, "yaml")
    asked = {hook["id"] for repo in yaml.safe_load(example)["repos"] for hook in repo["hooks"]}
    assert asked == {hook["id"] for hook in yaml.safe_load(text(".pre-commit-hooks.yaml"))}


def test_every_error_code_is_documented() -> None:
    documented = set(re.findall(r"^\| (\d+) \| `(\w+)` \|", text("docs/errors.md"), re.M))
    assert {code for _, code in documented} == _codes()


def _codes() -> set[str]:
    """Return the codes that the plugins' errors are made with, read from their source."""
    found = set()
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in ("ClientError", "Unavailable") and len(node.args) > 1:
                code = node.args[1]
                assert isinstance(code, ast.Constant), f"{path}:{node.lineno}: a code is a literal"
                found.add(str(code.value))
    return found
