"""The data files that have to stay in step with code they must not import."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from plugins._dialects.options import OPTIONS as DIALECT_OPTIONS
from router_config.rules.litellm_keys import LITELLM_KEYS
from router_config.rules.options import OPTIONS

GENERATOR = Path(__file__).parents[2] / "scripts" / "litellm_keys.py"


@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed")
def test_litellms_keys_are_those_of_the_installed_release() -> None:
    result = subprocess.run(
        [sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed")
def test_the_file_names_the_release_it_was_made_from() -> None:
    content = json.loads(LITELLM_KEYS.read_text(encoding="utf-8"))
    assert content["litellm"] == importlib.metadata.version("litellm")


def test_the_options_of_the_rules_are_those_of_the_dialects() -> None:
    assert OPTIONS == DIALECT_OPTIONS
