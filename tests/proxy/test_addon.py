"""As an add-on: our wheel beside somebody's LiteLLM, our groups in the config that was there."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uv

from router_config.sandbox import Sandbox
from tests.proxy.harness import MASTER_KEY, PLAIN, ROOT, Proxy, clean_environ, running

THEIRS = """\
model_list:
- model_name: chat   # what they had before
  litellm_params:
    model: openai/gpt-4o-mini
    api_key: os.environ/OPENAI_API_KEY

litellm_settings:
  drop_params: true
  callbacks: [theirs.handler]

general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""
CALLBACK = """
from litellm.integrations.custom_logger import CustomLogger


class Theirs(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        print("THEIRS WAS TOLD", kwargs.get("model"), flush=True)


handler = Theirs()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with LiteLLM in which only our wheel was installed."""
    folder = tmp_path_factory.mktemp("environment")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    for arguments in (
        ["venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
        [
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--offline",
            "--python",
            str(python),
            str(wheel),
        ],
    ):
        subprocess.run([uv.find_uv_bin(), *arguments], check=True)
    # The packages of this environment, without what is installed here in editable form.
    packages = [sysconfig.get_path("purelib"), *site.getsitepackages()]
    (library,) = (folder / "venv" / "lib").glob("python*")
    lines = "".join(f"{one}\n" for one in dict.fromkeys(packages))
    (library / "site-packages" / "theirs.pth").write_text(lines)
    return python


@pytest.fixture(scope="module")
def addon(
    environment: Path, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Plain LiteLLM, started in their folder on their config with our groups in it."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "config.yaml").write_text(THEIRS)
    (folder / "theirs.py").write_text(CALLBACK)
    environ = {**sandbox.env(), "OPENAI_API_KEY": "sk-none", "PYTHONPATH": ""}
    merge = ["init", "--merge", "config.yaml", "-o", "merged.yaml"]
    merged = subprocess.run(
        [str(environment.with_name("qwen3-router")), *merge, "--providers", "deepinfra,scaleway"],
        cwd=folder,
        env=clean_environ(environ),
        capture_output=True,
        text=True,
    )
    assert merged.returncode == 0, merged.stdout + merged.stderr
    config = sandbox.redirect(folder / "merged.yaml", folder / "merged.yaml")
    environ.update(sandbox.env())
    with running(
        config, folder / "log", environ=environ, form="litellm", python=environment, cwd=folder
    ) as proxy:
        yield proxy


def test_the_wheel_is_what_runs_and_not_this_checkout(environment: Path) -> None:
    code = (
        "import importlib.util, plugins, router_config;"
        "assert importlib.util.find_spec('litellm');"
        "print(plugins.__file__, router_config.__file__)"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(environment), "-c", code], env=environ, cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(environment.parents[1])) == 2


def test_their_litellm_answers_for_our_groups(addon: Proxy, box: Sandbox) -> None:
    body = {"model": "qwen3-embedding-8b", "input": "Возврат билета", "dimensions": 64}
    reply = addon.post(body)
    assert reply.status_code == 200, reply.text
    assert len(reply.json()["data"][0]["embedding"]) == 64
    assert reply.headers["x-router-deployment"] == "scaleway-free"
    box.fault("scaleway", "unauthorized")
    assert addon.post({**body, "input": "другой"}).headers["x-router-deployment"] == "deepinfra"


def test_what_they_had_is_still_there(addon: Proxy, box: Sandbox) -> None:
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    reply = httpx.get(f"{addon.base}/v1/models", headers=headers, timeout=30, **PLAIN)
    names = {one["id"] for one in reply.json()["data"]}
    assert {"chat", "qwen3-embedding-8b", "qwen3-embedding-8b-eu"} <= names
    addon.post({"model": "qwen3-embedding-8b", "input": "да", "dimensions": 64})
    ends = time.monotonic() + 60
    while "THEIRS WAS TOLD" not in addon.log() and time.monotonic() < ends:
        time.sleep(0.1)
    assert "THEIRS WAS TOLD" in addon.log()


def test_their_own_keys_rule(addon: Proxy, box: Sandbox) -> None:
    """No custom_auth is put into a config that is somebody else's."""
    body = {"model": "qwen3-embedding-8b", "input": "да", "dimensions": 64}
    assert addon.post(body, key="sk-wrong").status_code == 401
