"""Write the tables of docs/config.md anew from the schema; a test holds the two together.

python scripts/config_md.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.documented import ROOT, write

DOCUMENT = ROOT / "docs" / "config.md"
# Top-level section, or what stands in each entry of model_list.
TABLES = {
    "embedding_router": "RouterSection",
    "litellm_params": "Params",
    "model_info": "ModelInfo",
    "litellm_settings": "LiteLLMSettings",
    "router_settings": "RouterSettings",
    "general_settings": "GeneralSettings",
}
Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}


def tables() -> dict[str, str]:
    """Return the table of each section, a row for each key that we read."""
    from router_config.editor import config_schema

    definitions: Schema = json.loads(config_schema())["$defs"]
    return {name: _table(name, definitions[one], definitions) for name, one in TABLES.items()}


def _table(name: str, section: Schema, definitions: Schema) -> str:
    rows = ["| key | value | meaning |", "|---|---|---|"]
    for path, field in _fields(name, section, definitions):
        rows.append(f"| `{path}` | {_kind(field, definitions)} | {_meaning(field, definitions)} |")
    return "\n".join(rows) + "\n"


def _fields(path: str, section: Schema, definitions: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield each key with its schema, those of the sections inside it right after it."""
    for name, field in section.get("properties", {}).items():
        if not field:
            continue  # LiteLLM's own, which we do not read
        yield f"{path}.{name}", field
        for inner, steps in _inner(field, definitions):
            yield from _fields(f"{path}.{name}{steps}", inner, definitions)


def _inner(field: Schema, definitions: Schema) -> Iterator[tuple[Schema, str]]:
    """Yield the sections that a value consists of, and the steps to them."""
    named = [field.get("additionalProperties"), *field.get("patternProperties", {}).values()]
    inside = [(each, ".<name>") for each in named]
    for one, steps in ((field, ""), *inside, (field.get("items"), "[]")):
        if isinstance(one, dict) and "$ref" in one:
            yield _section(one, definitions), steps


def _section(field: Schema, definitions: Schema) -> Schema:
    """Return the section behind a reference; of several ways to write it, the one with keys."""
    found: Schema = definitions[field["$ref"].rpartition("/")[2]]
    ways = [one for one in found.get("anyOf", ()) if "properties" in one]
    return ways[0] if ways else found


def _meaning(field: Schema, definitions: Schema) -> str:
    text = field.get("description")
    if text is None and "$ref" in field:
        text = _section(field, definitions).get("description")
    words = " ".join(str(text or "").split()).replace("|", "\\|")
    return words.replace("<", "&lt;")


def _kind(field: Schema, definitions: Schema) -> str:
    """Return what may be written, such as `whole number, 1 to 10`."""
    if "$ref" in field:
        inner = definitions[field["$ref"].rpartition("/")[2]]
        return "section" if "properties" in inner else _kind(inner, definitions)
    if "enum" in field:
        words = [str(one).lower() for one in field["enum"] if one is not None]
        return " or ".join(f"`{one}`" for one in words)
    if "anyOf" in field:
        kinds = [_kind(one, definitions) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    kind = next(one for one in kinds if one != "null")
    if kind == "array":
        return f"list of {_plural(_kind(field.get('items', _TEXT), definitions))}"
    if kind == "object":
        if "properties" in field:
            return "section"
        named = isinstance(field.get("additionalProperties"), dict) or "patternProperties" in field
        return "by name" if named else "mapping"
    name = {"integer": "whole number", "string": "text", "boolean": "true or false"}.get(kind, kind)
    return name + _range(field)


def _plural(kind: str) -> str:
    return {"text": "texts", "section": "sections", "by name": "mappings"}.get(kind, kind)


def _range(field: Schema) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum")
    if low is None and high is None:
        return ""
    above = "above " if "exclusiveMinimum" in field else "from "
    begin = f"{above}{low:,}" if low is not None else ""
    return ", " + " ".join(filter(None, [begin, f"to {high:,}" if high is not None else ""]))


if __name__ == "__main__":
    write(DOCUMENT, tables())
