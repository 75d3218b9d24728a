"""The JSON Schema of a configuration file, for editors: `config.schema.json`.

Weaker than `check`: it knows keys and kinds, not rules. LiteLLM's keys are listed without their
kinds, so that editors complete them and refuse none.

    python -m router_config.editor > router_config/config.schema.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from .rules.litellm_keys import litellm_keys
from .schema import File

__all__ = ["CONFIG_SCHEMA", "config_schema"]

CONFIG_SCHEMA = Path(__file__).with_name("config.schema.json")

# The definition (None: the file itself) that gets the keys of which section of LiteLLM's.
_SECTIONS = {
    None: "top_level",
    "ModelListEntry": "deployment",
    "Params": "litellm_params",
    "ModelInfo": "model_info",
    "RouterSettings": "router_settings",
    "GeneralSettings": "general_settings",
    "LiteLLMSettings": "litellm_settings",
}


def config_schema() -> str:
    """Return the JSON Schema of a configuration file, as `config.schema.json` holds it."""
    schema = File.model_json_schema(schema_generator=_Generator)
    for definition, section in _SECTIONS.items():
        part = schema if definition is None else schema["$defs"][definition]
        for name in sorted(litellm_keys()[section]):
            part["properties"].setdefault(name, {})
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**head, **schema}, indent=1, ensure_ascii=False) + "\n"


class _Generator(GenerateJsonSchema):
    """Leaves out what pydantic adds and no editor needs, and adds what must be there."""

    def get_title_from_name(self, name: str) -> str:
        return name

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        inner = super().default_schema(schema)
        if inner.get("default", ...) is None:
            del inner["default"]
        return inner

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        # pydantic's `anyOf` with null would make editors point at the whole instead of the fault.
        return _or_null(self.generate_inner(schema["schema"]))

    def model_schema(self, schema: Any) -> dict[str, Any]:
        content = super().model_schema(schema)
        content.pop("title", None)
        needed = sorted(getattr(schema["cls"], "needed", ()))
        content |= {"required": needed} if needed else {}
        return content if schema["cls"] is File else _or_null(content)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return *schema* with null allowed: an empty section is the same as an absent one."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "type" not in schema:
        return schema  # a reference to a definition, which allows null itself
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [*kinds, "null"], **choices}


if __name__ == "__main__":
    sys.stdout.write(config_schema())
