"""The demo's guard: a config that could reach a provider is found before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from router_config import SHIPPED_CONFIG
from router_config.cli.isolation import harmless, leaks
from router_config.sandbox import Sandbox

SHELL = {
    "PATH": "/usr/bin",
    "LANG": "ru_RU.UTF-8",
    "SCW_SECRET_KEY": "real-key",
    "VLLM_API_BASE": "http://gpu.example.com/v1",
    "DATABASE_URL": "postgresql://db.example.com/litellm",
    "HTTPS_PROXY": "http://proxy.example.com:3128",
    "LITELLM_LOG": "DEBUG",
}


def config(**params: str) -> str:
    entry = {"model_name": "g", "litellm_params": params, "model_info": {"id": "one"}}
    return yaml.safe_dump({"model_list": [entry]})


def test_only_harmless_variables_reach_the_proxy() -> None:
    assert harmless(SHELL) == {"PATH": "/usr/bin", "LANG": "ru_RU.UTF-8"}


def test_redirected_shipped_config_cannot_leave_the_machine(tmp_path: Path) -> None:
    with Sandbox() as box:
        text = box.redirect(SHIPPED_CONFIG, tmp_path / "config.yaml").read_text()
        keys = box.env()
    assert leaks(text, {**harmless(SHELL), **keys}, set(keys.values())) == []


def test_shipped_config_as_it_is_would_leave_the_machine() -> None:
    found = leaks(SHIPPED_CONFIG.read_text(), SHELL, set())
    assert "scaleway-free has no api_base, so it would call its provider" in found
    assert "scaleway-free would send a key that is not an emulator's" in found
    assert "vllm would call gpu.example.com" in found
    assert not any("real-key" in line for line in found)


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:8001/v1", "http://[::1]:8001", "http://localhost"]
)
def test_loopback_is_this_machine(base: str) -> None:
    assert leaks(config(model="qwen3/vllm", api_base=base), {}, set()) == []


@pytest.mark.parametrize(
    "base",
    [
        "https://api.example.com/v1",
        "http://10.0.0.5:8000",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@api.example.com",
        "http://0.0.0.0:8000",
        "127.0.0.1:8000",
        "os.environ/VLLM_API_BASE",
    ],
)
def test_everything_else_is_not(base: str) -> None:
    found = leaks(config(model="openai/any", api_base=base), SHELL, set())
    assert len(found) == 1
    assert found[0].startswith("one would call")


def test_emulators_keys_may_be_sent_and_no_other() -> None:
    base = "http://127.0.0.1:8001"
    environ = {"A_API_KEY": "fake", "B_API_KEY": "real"}
    ok = config(model="qwen3/vllm", api_base=base, api_key="os.environ/A_API_KEY")
    wrong = config(model="qwen3/vllm", api_base=base, api_key="os.environ/B_API_KEY")
    literal = config(model="qwen3/vllm", api_base=base, api_key="real")
    assert leaks(ok, environ, {"fake"}) == []
    assert len(leaks(wrong, environ, {"fake"})) == len(leaks(literal, environ, {"fake"})) == 1
