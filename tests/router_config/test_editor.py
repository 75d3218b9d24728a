"""The JSON Schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from router_config import SHIPPED_CONFIG
from router_config.editor import CONFIG_SCHEMA, config_schema

CASES = Path(__file__).with_name("cases")


def _errors(path: Path) -> list[str]:
    schema: Any = json.loads(CONFIG_SCHEMA.read_text(encoding="utf-8"))
    # YAML 1.2, as editors read it; a date is text there, and JSON knows no other.
    data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    data = json.loads(json.dumps(data, default=str))
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(data)]


def test_the_file_is_what_the_models_say() -> None:
    assert CONFIG_SCHEMA.read_text(encoding="utf-8") == config_schema(), (
        f"write it anew: python -m router_config.editor > {CONFIG_SCHEMA.name}"
    )


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(json.loads(config_schema()))


def test_the_shipped_file_passes_in_a_yaml_1_2_reader() -> None:
    assert _errors(SHIPPED_CONFIG) == []


@pytest.mark.parametrize("path", sorted(CASES.glob("valid-*.yaml")), ids=lambda path: path.stem)
def test_a_valid_case_passes(path: Path) -> None:
    assert _errors(path) == []


@pytest.mark.parametrize(
    ("case", "place"),
    [
        ("budget-unknown-key", "$.embedding_router.budgets.a"),
        ("budget-period", "$.embedding_router.budgets.b.period"),
        ("shape-out-of-range", "$.embedding_router.attempts"),
        ("secret-behind-a-reference", "$.model_list[1].litellm_params.api_base"),
    ],
)
def test_an_editor_sees_it_too(case: str, place: str) -> None:
    assert place in _errors(CASES / f"{case}.yaml")
