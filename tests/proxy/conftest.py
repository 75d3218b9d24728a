"""One sandbox and one proxy per worker, and a sandbox without faults for every test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.harness import MASTER_KEY, Proxy, running


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The emulated providers of this worker."""
    with Sandbox(mode="hash") as box:
        yield box


@pytest.fixture(scope="session")
def proxy(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The proxy that most tests share; see `configs` for its groups."""
    folder: Path = tmp_path_factory.mktemp("proxy")
    config = configs.write(sandbox, folder / "config.yaml")
    with running(config, folder / "proxy.log", environ=configs.environ(sandbox)) as process:
        let_litellm_look_around(sandbox)
        yield process
        # Whatever the tests of this worker did: a key in the log fails the last of them.
        printed = process.log()
        secrets = [*sandbox.keys.values(), *configs.KEYS.values(), configs.PLAIN_KEY, MASTER_KEY]
        assert [one for one in secrets if one in printed] == []


def let_litellm_look_around(sandbox: Sandbox) -> None:
    """Wait until LiteLLM has asked its own deployments for their models, which it does at start.

    It does not wait for the answers before it serves, so a first test would count these calls.
    """
    seen, since = 0, time.monotonic()
    ends = since + 20
    while time.monotonic() < ends and (not seen or time.monotonic() - since < 1):
        if (found := len(sandbox.journal("vllm"))) != seen:
            seen, since = found, time.monotonic()
        time.sleep(0.05)


@pytest.fixture
def box(sandbox: Sandbox) -> Sandbox:
    """The sandbox with no faults and empty journals."""
    sandbox.reset()
    return sandbox
