"""`serve` says at once what keeps it from starting, before LiteLLM is loaded."""

from __future__ import annotations

import subprocess
import sys

from tests.proxy.harness import ROOT, clean_environ

# Tells on its last line whether LiteLLM was loaded, and so whether it went to the network.
CODE = """
import sys
from router_config.cli import main
code = main(["serve"])
print("litellm" in sys.modules)
sys.exit(code)
"""


def serve(**environ: str) -> subprocess.CompletedProcess[str]:
    """Run `serve` where it has to refuse, in a shell with *environ* and no other keys."""
    return subprocess.run(
        [sys.executable, "-c", CODE],
        env={k: v for k, v in {**clean_environ({}), **environ}.items() if v},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_any_key_it_names_the_variables_and_the_demo() -> None:
    result = serve()
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert "SCW_SECRET_KEY is not set" in result.stderr
    assert "OLLAMA_API_BASE is not set" in result.stderr
    assert "`make demo`" in result.stderr


def test_without_an_admin_key_it_says_how_to_choose_one() -> None:
    result = serve(SCW_SECRET_KEY="scw-key", LITELLM_MASTER_KEY="")
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert "LITELLM_MASTER_KEY" in result.stderr
    assert "scw-key" not in result.stderr


def test_with_problems_in_the_config_it_prints_them() -> None:
    result = serve(CONFIG_FILE_PATH="nowhere.yaml")
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert "nowhere.yaml" in result.stderr
