"""`serve` says at once what keeps it from starting, before LiteLLM is loaded."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from router_config import SHIPPED_CONFIG
from router_config.cli import main
from router_config.cli.serve import _PERMIT_ANY, _PUBLIC_KEYS, _tell_when_up
from tests.proxy.harness import ROOT, clean_environ

# Tells on its last line whether LiteLLM was loaded, and so whether it went to the network.
CODE = """
import sys
from pathlib import Path
from router_config.cli import main
code = main(["serve", *sys.argv[1:]])
print("litellm" in sys.modules)
sys.exit(code)
"""


def serve(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `serve` where it has to refuse, in a shell with *environ* and no other keys."""
    return subprocess.run(
        [sys.executable, "-c", CODE, *options],
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


def test_an_admin_key_of_another_name_is_asked_for_by_that_name(tmp_path: Path) -> None:
    text = SHIPPED_CONFIG.read_text(encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("os.environ/LITELLM_MASTER_KEY", "os.environ/ADMIN_KEY"))
    keys = {"SCW_SECRET_KEY": "scw-key", "LITELLM_MASTER_KEY": "sk-mine"}
    result = serve(CONFIG_FILE_PATH=str(path), **keys)
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert "ADMIN_KEY is not set" in result.stderr
    assert 'export ADMIN_KEY="sk-$(openssl rand -hex 16)"' in result.stderr


def test_with_an_admin_key_that_everybody_knows_it_says_how_to_choose_one() -> None:
    result = serve(SCW_SECRET_KEY="scw-key", LITELLM_MASTER_KEY="sk-1234")
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert "LITELLM_MASTER_KEY is a publicly known default" in result.stderr
    assert "sk-$(openssl rand -hex 16)" in result.stderr
    assert "sk-1234" not in result.stderr


def test_litellm_refuses_no_other_keys_than_serve() -> None:
    check = pytest.importorskip("litellm.proxy.auth.master_key_boot_check")
    assert check.PUBLICLY_KNOWN_MASTER_KEY_SHA256_DIGESTS == _PUBLIC_KEYS
    assert check.WEAK_OR_UNSET_MASTER_KEY_OVERRIDE_SETTING == _PERMIT_ANY


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = serve("--port", str(port), SCW_SECRET_KEY="scw-key", LITELLM_MASTER_KEY="sk-mine")
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert result.stderr == (
        f"qwen3-router serve: port {port} is in use; choose another with --port\n"
    )


def test_an_address_that_is_none_is_said_in_one_line() -> None:
    keys = {"SCW_SECRET_KEY": "scw-key", "LITELLM_MASTER_KEY": "sk-mine"}
    result = serve("--host", "no such host", **keys)
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert result.stderr.startswith("qwen3-router serve: there is no address for --host")
    assert serve("--port", "65536", **keys).returncode == 2


def test_with_problems_in_the_config_it_prints_them() -> None:
    result = serve(CONFIG_FILE_PATH="nowhere.yaml")
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert "nowhere.yaml" in result.stderr


@pytest.mark.parametrize(
    "words",
    ["serve x.yaml", "explain x.yaml", "budget show x.yaml", "health x.yaml", "reload x.yaml"],
)
def test_a_config_that_stands_by_itself_is_told_its_option(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(words.split())
    except SystemExit as done:
        code = done.code
    assert code == 2
    assert "name a config with --config x.yaml" in capsys.readouterr().err


def test_the_address_is_told_once_somebody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _tell_when_up("127.0.0.1", port)
    assert f"up: http://127.0.0.1:{port}/v1, status page http" in capsys.readouterr().err
