"""A real browser, Debian's Chromium without a window, on the status page: `make test-browser`.

Not part of `make test`, since it needs a package of the system: without the variable below nothing
here is collected.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.harness import Proxy, running

VARIABLE = "QWEN3_ROUTER_TEST_BROWSER"
collect_ignore_glob = [] if os.environ.get(VARIABLE) else ["test_*.py"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser; a test takes a page of its own from it."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "no chromium: scripts/browser installs it on Debian"
    with sync_playwright() as playwright:
        # Its sandbox needs rights that a container's root has not; it loads nothing but our page.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The emulated providers."""
    with Sandbox(mode="hash") as box:
        yield box


@pytest.fixture(scope="session")
def proxy(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with many groups."""
    folder: Path = tmp_path_factory.mktemp("proxy")
    config = configs.write(sandbox, folder / "config.yaml")
    written = yaml.safe_load(config.read_text())
    written["embedding_router"]["health"] = {}  # here somebody is to be ejected
    config.write_text(yaml.safe_dump(written, sort_keys=False))
    with running(config, folder / "proxy.log", environ=configs.environ(sandbox)) as process:
        yield process
