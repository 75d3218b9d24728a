"""A redirected configuration differs in bases and keys, and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from router_config.sandbox import Sandbox
from router_config.sandbox.redirect import redirect

BASES = {"scaleway": "http://127.0.0.1:1/v1", "ollama": "http://127.0.0.1:2"}
VARIABLES = {"scaleway": "SCW_SECRET_KEY", "ollama": None}

CONFIG = """\
# What operators edit.
model_list:
  - model_name: qwen3-embedding-8b   # the group
    litellm_params: {model: qwen3/scaleway, api_key: os.environ/SCW_SECRET_KEY, order: 1}
    model_info: {id: scaleway-free}
  - model_name: qwen3-embedding-8b
    litellm_params:
      # block style, with a comment
      model: qwen3/scaleway  # same account
      order: 2
      weight: 3
  - model_name: own
    litellm_params:
      api_base: os.environ/OLLAMA_API_BASE
      model: qwen3/ollama
  - model_name: other
    litellm_params: {model: openai/gpt, api_key: os.environ/OPENAI_API_KEY}
  - model_name: not-here
    litellm_params: {model: qwen3/deepinfra, api_key: os.environ/DEEPINFRA_API_KEY}
embedding_router:
  budgets: {scaleway-free: {tokens: 1000000, period: lifetime}}
"""

EXPECTED = """\
# What operators edit.
model_list:
  - model_name: qwen3-embedding-8b   # the group
    litellm_params: {api_base: "http://127.0.0.1:1/v1", model: qwen3/scaleway, \
api_key: os.environ/SCW_SECRET_KEY, order: 1}
    model_info: {id: scaleway-free}
  - model_name: qwen3-embedding-8b
    litellm_params:
      # block style, with a comment
      api_base: "http://127.0.0.1:1/v1"
      api_key: os.environ/SCW_SECRET_KEY
      model: qwen3/scaleway  # same account
      order: 2
      weight: 3
  - model_name: own
    litellm_params:
      api_base: "http://127.0.0.1:2"
      model: qwen3/ollama
  - model_name: other
    litellm_params: {model: openai/gpt, api_key: os.environ/OPENAI_API_KEY}
  - model_name: not-here
    litellm_params: {model: qwen3/deepinfra, api_key: os.environ/DEEPINFRA_API_KEY}
embedding_router:
  budgets: {scaleway-free: {tokens: 1000000, period: lifetime}}
"""


def params(text: str) -> list[dict[str, object]]:
    return [entry["litellm_params"] for entry in yaml.safe_load(text)["model_list"]]


def test_only_bases_and_keys_change() -> None:
    assert redirect(CONFIG, BASES, VARIABLES).text == EXPECTED


def test_a_second_time_changes_nothing() -> None:
    assert redirect(EXPECTED, BASES, VARIABLES).text == EXPECTED


def test_an_account_keeps_its_own_variable() -> None:
    done = redirect(CONFIG.replace("SCW_SECRET_KEY", "SCW_FREE"), BASES, VARIABLES)
    assert done.key_variables == {"SCW_FREE": "scaleway", "SCW_SECRET_KEY": "scaleway"}
    assert [p.get("api_key") for p in params(done.text)][:2] == [
        "os.environ/SCW_FREE",
        "os.environ/SCW_SECRET_KEY",
    ]


@pytest.mark.parametrize(
    "before",
    [
        "api_base: https://api.scaleway.ai/v1\n      model: qwen3/scaleway",
        "model: qwen3/scaleway\n      api_base: 'https://x' # old",
        'api_base:\n      model: "qwen3/scaleway"',
        "api_base: >-\n        https://x\n      model: qwen3/scaleway",
        "api_key: plain\n      model: qwen3/scaleway",
        "model:\n        qwen3/scaleway",
        "<<: {model: qwen3/scaleway, order: 1}",
    ],
)
def test_every_way_to_write_it_ends_up_there(before: str) -> None:
    config = f"model_list:\n  - litellm_params:\n      {before}\n      timeout: 5\nx: 1\n"
    done = redirect(config, BASES, VARIABLES).text
    (got,) = params(done)
    assert got["api_base"] == BASES["scaleway"]
    assert got["api_key"] == "os.environ/SCW_SECRET_KEY"
    assert (got["model"], got["timeout"]) == ("qwen3/scaleway", 5)
    assert yaml.safe_load(done)["x"] == 1


def test_an_anchor_is_edited_once_for_all_who_use_it() -> None:
    config = (
        "base: &scw {model: qwen3/scaleway}\n"
        "model_list:\n"
        "  - litellm_params: *scw\n"
        "  - litellm_params: {<<: *scw, order: 2}\n"
        "  - litellm_params: {<<: *scw, api_base: https://x, order: 3}\n"
    )
    got = params(redirect(config, BASES, VARIABLES).text)
    assert {p["api_base"] for p in got} == {BASES["scaleway"]}
    assert [p.get("order") for p in got] == [None, 2, 3]


def test_the_environment_has_a_valid_key_for_every_account(box: Sandbox, tmp_path: Path) -> None:
    out = box.redirect(CONFIG.replace("SCW_SECRET_KEY", "SCW_FREE"), tmp_path / "config.yaml")
    env = box.env()
    assert params(out.read_text())[0]["api_base"] == box.bases["scaleway"]
    assert env["SCW_SECRET_KEY"] == box.keys["scaleway"]
    assert env["SCW_FREE"] != env["SCW_SECRET_KEY"]
    from tests.sandbox.client import ask

    assert ask(box, "scaleway", "a", key=env["SCW_FREE"]).status_code == 200
    assert box.journal("scaleway")[-1]["account"] == "SCW_FREE"


def test_a_path_is_read_and_left_alone(box: Sandbox, tmp_path: Path) -> None:
    source = tmp_path / "config.yaml"
    source.write_text(CONFIG)
    out = box.redirect(source, tmp_path / "out.yaml")
    assert source.read_text() == CONFIG
    assert box.bases["ollama"] in out.read_text()
