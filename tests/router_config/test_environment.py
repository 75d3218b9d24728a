"""Looking up the variables behind a deployment."""

from __future__ import annotations

from typing import Any

import pytest

from router_config import Deployment, EnvRef, Secret, load_catalogue, resolve


def deployment(provider: str, **changes: Any) -> Deployment:
    entry = load_catalogue()[provider]
    facts: dict[str, Any] = {
        "id": "a",
        "group": "g",
        "index": 0,
        "model": f"qwen3/{provider}",
        "provider": entry,
        "wire_model": entry.wire_model,
        "api_base": entry.api_base,
        "api_key": None,
        "limits": entry.limits,
        "usd_per_million_tokens": entry.price.usd_per_million_tokens,
        "region": entry.region,
        "base64": entry.base64,
        "normalised": entry.normalised,
    }
    return Deployment(**{**facts, **changes})


def test_a_set_variable_gives_the_key() -> None:
    found = resolve(deployment("scaleway", api_key=EnvRef("MY_KEY")), {"MY_KEY": " abc\n"})
    assert found.api_key == Secret("abc")
    assert found.api_base == "https://api.scaleway.ai/v1"
    assert found.off is None


@pytest.mark.parametrize("environ", [{}, {"MY_KEY": ""}, {"MY_KEY": "  "}])
def test_an_unset_variable_turns_the_deployment_off(environ: dict[str, str]) -> None:
    found = resolve(deployment("scaleway", api_key=EnvRef("MY_KEY")), environ)
    assert found.off == "MY_KEY is not set"


def test_without_a_key_the_usual_variable_of_the_provider_counts() -> None:
    one = deployment("scaleway")
    assert resolve(one, {}).off == "SCW_SECRET_KEY is not set"
    assert resolve(one, {"SCW_SECRET_KEY": "abc"}).api_key == Secret("abc")


def test_an_own_server_needs_no_key() -> None:
    found = resolve(deployment("ollama"), {})
    assert (found.api_key, found.off) == (None, None)


def test_an_unset_base_url_turns_an_own_server_off() -> None:
    one = deployment("vllm", api_base=EnvRef("VLLM_API_BASE"))
    assert resolve(one, {}).off == "VLLM_API_BASE is not set"
    found = resolve(one, {"VLLM_API_BASE": "http://gpu:8000/v1/"})
    assert (found.api_base, found.off) == ("http://gpu:8000/v1", None)


def test_all_unset_variables_are_named() -> None:
    one = deployment("openai", api_base=EnvRef("GPU_BASE"), api_key=EnvRef("GPU_KEY"))
    assert resolve(one, {}).off == "GPU_KEY and GPU_BASE are not set"


@pytest.mark.parametrize(
    "value",
    [
        "gpu:8000",
        "ftp://gpu/",
        "http://u:secret@gpu/v1",
        "http://",
        "http://:8000/v1",
        "http://[::1/v1",
        "http://gpu:port/v1",
        "http://gpu:99999/v1",
        "http://gpu/v1?key=secret",
    ],
)
def test_a_base_url_that_is_none_turns_it_off_without_being_shown(value: str) -> None:
    one = deployment("vllm", api_base=EnvRef("VLLM_API_BASE"))
    assert resolve(one, {"VLLM_API_BASE": value}).off == "VLLM_API_BASE is not an http(s) URL"


def test_a_secret_does_not_show() -> None:
    found = resolve(deployment("scaleway"), {"SCW_SECRET_KEY": "very-secret"})
    assert "very-secret" not in f"{found} {found!r} {found.api_key}"
    assert found.api_key is not None
    assert found.api_key.reveal() == "very-secret"
