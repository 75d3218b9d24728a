"""OpenAI's SDK for Node works unchanged too; `make install` brings it where there is npm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.harness import MASTER_KEY, Proxy
from tests.proxy.test_clients import QUERY, TEXTS, as_query, close, expected

MODEL = configs.solo("vllm")
MODULES = Path(sys.prefix) / "node" / "node_modules"
HERE = Path(__file__).with_name("node")


@pytest.fixture(scope="module")
def answers(
    proxy: Proxy, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the client printed, after all its calls."""
    node = shutil.which("node")
    if node is None or not (MODULES / "openai").exists():
        pytest.skip("no Node or no openai for it: `make install` adds the package where npm is")
    sandbox.reset()
    folder = tmp_path_factory.mktemp("node")
    shutil.copy2(HERE / "client.mjs", folder)
    (folder / "node_modules").symlink_to(MODULES)
    texts = [QUERY, *TEXTS]
    given = {"BASE": proxy.base, "KEY": MASTER_KEY, "MODEL": MODEL, "TEXTS": json.dumps(texts)}
    done = subprocess.run(
        [node, "client.mjs"],
        env={**os.environ, **given, "NO_PROXY": "127.0.0.1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_it_asks_for_base64_by_itself_and_gets_the_floats(answers: dict[str, Any]) -> None:
    assert answers["asked"] == "base64"
    assert close(answers["plain"], expected([QUERY, *TEXTS]))
    assert np.array_equal(np.float32(answers["plain"]), np.float32(answers["float"]))


def test_it_gets_the_dimensions_it_asks_for(answers: dict[str, Any]) -> None:
    assert close(answers["short"], expected([QUERY, *TEXTS], 1024))


def test_the_model_suffix_makes_a_query(answers: dict[str, Any]) -> None:
    assert close(answers["query"], expected([as_query(QUERY)]))
    assert answers["model"] == f"{MODEL}:query"


def test_it_sees_usage_and_our_headers(answers: dict[str, Any]) -> None:
    assert answers["usage"]["prompt_tokens"] == answers["usage"]["total_tokens"] > 0
    assert answers["deployment"] == f"{MODEL}--vllm"


def test_it_raises_its_own_class_with_our_code_and_asks_once(answers: dict[str, Any]) -> None:
    bad = {"name": "BadRequestError", "status": 400, "requests": 1}
    assert answers["dimensions"] == {**bad, "code": "invalid_dimensions"}
    assert answers["tokens"] == {**bad, "code": "token_input_not_supported"}
    missing = {"name": "NotFoundError", "status": 404, "code": "model_not_found", "requests": 1}
    assert answers["missing"] == missing
