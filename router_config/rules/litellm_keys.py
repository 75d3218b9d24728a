"""Rules about LiteLLM's own keys: a near miss, or a key in the wrong section, is found.

LiteLLM ignores most keys that it does not know, or passes them on, without a word.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath

from ..problems import Finding, Path, Severity, did_you_mean
from ..schema import File, ModelInfo, ModelListEntry, Params
from ..shape import our_groups
from .subject import Rule, Subject, mapping

__all__ = ["LITELLM_KEYS", "RULES", "litellm_keys"]

LITELLM_KEYS = FilePath(__file__).parents[1] / "litellm_keys.json"

_SETTINGS = ("router_settings", "general_settings", "litellm_settings")
# Ours, and LiteLLM's that its sources read in ways the generator does not see.
_MORE_KEYS: Mapping[str, frozenset[str]] = {
    "top_level": frozenset(File.model_fields),
    "deployment": frozenset(ModelListEntry.model_fields),
    "litellm_params": frozenset(Params.model_fields),
    "model_info": frozenset(ModelInfo.model_fields) | {"disable_background_health_check"},
}


@functools.cache
def litellm_keys() -> Mapping[str, frozenset[str]]:
    """Return the known keys of each section; those of the deployment's parts include ours."""
    sections = json.loads(LITELLM_KEYS.read_text(encoding="utf-8"))["sections"]
    return {name: frozenset(keys) | _MORE_KEYS.get(name, set()) for name, keys in sections.items()}


def known_at_the_top(subject: Subject) -> Iterator[Finding]:
    # x- is where people keep anchors, in every tool that reads YAML.
    written = {name: value for name, value in subject.data.items() if not name.startswith("x-")}
    yield from _judge(written, (), "top_level", _SETTINGS)


def known_in_settings(subject: Subject) -> Iterator[Finding]:
    for section in _SETTINGS:
        others = tuple(name for name in _SETTINGS if name != section)
        # LiteLLM keeps what it does not know of the other two for whoever looks, but not of this.
        unknown: Severity = "error" if section == "router_settings" else "warning"
        written = mapping(subject.written(section))
        yield from _judge(written, (section,), section, others, unknown)


def known_in_deployments(subject: Subject) -> Iterator[Finding]:
    ours = our_groups(subject.data)
    entries = subject.written("model_list")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        written = mapping(entry)
        path: Path = ("model_list", index)
        # Other models have parameters of their providers, which are not ours to know.
        near: Severity = "error" if str(written.get("model_name")) in ours else "warning"
        yield from _judge(written, path, "deployment", (), near=near)
        for part, other in (("litellm_params", "model_info"), ("model_info", "litellm_params")):
            inside = mapping(written.get(part))
            yield from _judge(inside, (*path, part), part, (other,), near=near)


def _judge(
    written: Mapping[str, object],
    path: Path,
    section: str,
    others: tuple[str, ...],
    unknown: Severity = "warning",
    near: Severity = "error",
) -> Iterator[Finding]:
    keys = litellm_keys()
    for name in written:
        if name in keys[section]:
            continue
        home = next((other for other in others if name in keys[other]), None)
        guess = did_you_mean(name, keys[section])
        if home is not None:
            what = "LiteLLM does not read this key here"
            yield Finding((*path, name), what, f"move it to {home}", near)
        elif guess is not None:
            yield Finding((*path, name), "unknown key", f'did you mean "{guess}"?', near)
        else:
            what = "LiteLLM does not know this key"
            yield Finding((*path, name), what, "remove it, unless a plugin reads it", unknown)


RULES: tuple[Rule, ...] = (known_at_the_top, known_in_settings, known_in_deployments)
