"""Rules about `model_info.options`: each dialect knows its own, and nothing else is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..problems import Finding, did_you_mean
from ..values import kind_of
from .subject import Rule, Subject, mapping, path_of

__all__ = ["OPTIONS", "RULES"]

Kind = str | tuple[str, ...]

# The same table as the dialects' own, which a test compares: this room imports nothing that runs.
# https://github.com/ollama/ollama/blob/main/docs/api.md (2026-08)
# https://openrouter.ai/docs/guides/routing/provider-selection (2026)
OPTIONS: Mapping[str, Mapping[str, Kind]] = {
    "ollama": {"num_ctx": "integer", "num_batch": "integer", "keep_alive": "duration"},
    "openrouter": {
        "allow_fallbacks": "boolean",
        "data_collection": ("allow", "deny"),
        "ignore": "strings",
        "max_price": "numbers",
        "only": "strings",
        "order": "strings",
        "quantizations": "strings",
        "require_parameters": "boolean",
        "sort": ("price", "throughput", "latency"),
        "zdr": "boolean",
    },
}
_FIXES = {
    "integer": "write a whole number of 1 or more",
    "boolean": "write true or false",
    "string": "write text",
    "strings": "write a list of names: [one, two]",
    "duration": "write seconds, or text such as 5m; -1 is for ever",
    "numbers": "write a mapping from name to number",
}


def known_options(subject: Subject) -> Iterator[Finding]:
    for one in subject.deployments:
        written = mapping(subject.written(*path_of(one, "model_info", "options")))
        if one.provider is None:
            continue
        known = OPTIONS.get(one.provider.dialect, {})
        for name, value in written.items():
            path = path_of(one, "model_info", "options", name)
            if name not in known:
                guess = did_you_mean(name, known)
                fix = f"known: {', '.join(known)}" if known else "remove it; it takes none"
                fix = f'did you mean "{guess}"?' if guess else fix
                what = f"no option of {one.provider.name}"
                yield Finding(path, what, fix)
            elif not _fits(value, known[name]):
                kind = known[name]
                choices = f"write one of {', '.join(kind)}"
                fix = _FIXES[kind] if isinstance(kind, str) else choices
                yield Finding(path, f"{kind_of(value)} that does not fit", fix)


def _fits(value: Any, kind: Kind) -> bool:
    if isinstance(kind, tuple):
        return value in kind
    whole = isinstance(value, int) and not isinstance(value, bool)
    match kind:
        case "integer":
            return whole and value >= 1
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str) and bool(value)
        case "strings":
            return (
                isinstance(value, list) and bool(value) and all(_fits(v, "string") for v in value)
            )
        case "duration":
            text = isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?(ms|s|m|h)", value)
            return bool(text) or (whole and value >= -1)
        case "numbers":
            numbers = value.values() if isinstance(value, dict) else [None]
            return all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    return False


RULES: tuple[Rule, ...] = (known_options,)
