"""Point a configuration at the emulators by editing its text, so that all else stays as it is.

Only the values of `api_base` and `api_key` in `litellm_params` of `qwen3/…` deployments change, or
are put in front of `model` where they are missing. Comments, order, anchors and layout stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

__all__ = ["Redirected", "redirect"]

_ENV = "os.environ/"


@dataclass(frozen=True, slots=True)
class Redirected:
    """The new text, and the provider behind each environment variable that it names for a key."""

    text: str
    key_variables: Mapping[str, str]


def redirect(
    text: str, bases: Mapping[str, str], key_variables: Mapping[str, str | None]
) -> Redirected:
    """Return *text* with each `qwen3/<provider>` deployment in *bases* pointed there.

    A key that is already an environment reference keeps its variable, so that two accounts stay
    two accounts; any other key of a provider with a variable in *key_variables* becomes a reference
    to that. Deployments of providers that are not in *bases* stay as they are.

    Raises:
        yaml.YAMLError: *text* is not YAML.
    """
    edits: dict[int, tuple[int, str]] = {}
    inserts: dict[int, tuple[yaml.MappingNode, yaml.Node, dict[str, str]]] = {}
    used: dict[str, str] = {}
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for entry in _items(_find(root, "model_list")):
        params = _find(entry, "litellm_params")
        model = _find(params, "model")
        if not isinstance(model, yaml.ScalarNode) or not model.value.startswith("qwen3/"):
            continue
        provider = model.value.removeprefix("qwen3/")
        if provider not in bases:
            continue
        wanted = {"api_base": json.dumps(bases[provider])}
        variable = _variable(_find(params, "api_key")) or key_variables.get(provider)
        if variable is not None:
            wanted["api_key"] = _ENV + variable
            used[variable] = provider
        owner, key = _owner(params, "model")
        place = key.start_mark.index
        for name, value in wanted.items():
            present = _find(params, name)
            if present is None:
                # Several entries may share this place through an anchor.
                inserts.setdefault(place, (owner, key, {}))[2][name] = value
            else:
                start, end, new = _replacement(text, present, value)
                edits[start] = (end, new)
    for place, (owner, key, missing) in inserts.items():
        edits[place] = (place, _before(owner, key, missing))
    for start in sorted(edits, reverse=True):
        end, new = edits[start]
        text = text[:start] + new + text[end:]
    return Redirected(text, used)


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _find(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """Return the value of *name* in a mapping, merge keys included."""
    found = _pair(node, name)
    return found[2] if found is not None else None


def _owner(node: yaml.Node | None, name: str) -> tuple[yaml.MappingNode, yaml.Node]:
    found = _pair(node, name)
    assert found is not None
    return found[0], found[1]


def _pair(
    node: yaml.Node | None, name: str
) -> tuple[yaml.MappingNode, yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    merged: list[yaml.Node] = []
    for key, value in node.value:
        if key.value == name:
            return node, key, value
        if key.tag == "tag:yaml.org,2002:merge":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
    for other in merged:
        found = _pair(other, name)
        if found is not None:
            return found
    return None


def _variable(key: yaml.Node | None) -> str | None:
    if isinstance(key, yaml.ScalarNode) and key.value.startswith(_ENV):
        return str(key.value.removeprefix(_ENV)) or None
    return None


def _replacement(text: str, node: yaml.Node, value: str) -> tuple[int, int, str]:
    start, end = node.start_mark.index, node.end_mark.index
    if start == end:  # `api_base:` with nothing behind it
        return start, end, f" {value}"
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return start, end, value + "\n" + text[start:end].rpartition("\n")[2]
    return start, end, value


def _before(owner: yaml.MappingNode, key: yaml.Node, members: Mapping[str, str]) -> str:
    between = ", " if owner.flow_style else "\n" + " " * key.start_mark.column
    return "".join(f"{name}: {value}{between}" for name, value in members.items())
