"""Data held against the schema: all that does not fit, and a `File` of all that does.

A value that does not fit is left out, and the rest is judged further, so that one mistake never
hides another. Nothing is said about the inside of a deployment that LiteLLM serves by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from .problems import Finding, Path, did_you_mean
from .schema import File
from .sections import Section
from .values import Unfit, kind_of

__all__ = ["OWN_PREFIX", "Shaped", "our_groups", "shape"]

OWN_PREFIX = "qwen3/"  # models that our provider serves


@dataclass(frozen=True)
class Shaped:
    """*file* is what could be read; *dropped* are the paths that could not."""

    file: File
    findings: tuple[Finding, ...]
    dropped: frozenset[Path]

    def covers(self, path: Path) -> bool:
        """Return True if something was already said about *path* or what is around it."""
        return any(path[:length] in self.dropped for length in range(1, len(path) + 1))


def shape(data: dict[str, Any]) -> Shaped:
    """Return what of *data* has the shape of a configuration file, and a finding for the rest."""
    foreign = set(_foreign_entries(data))
    found: list[Finding] = []
    dropped: set[Path] = set()
    copied = False
    while True:
        try:
            file = File.model_validate(data)
            break
        except ValidationError as error:
            if not copied:
                data, copied = copy.deepcopy(data), True
            for item in error.errors(include_url=False):
                path = tuple(step for step in item["loc"] if step != "[key]")
                _drop(data, path[:-1] if path in dropped else path)
                if path not in dropped:
                    found.append(_finding(path, item))
                dropped.add(path)
    shaped = Shaped(file, (), frozenset(dropped))
    found += [one for path, one in _missing(file, ()) if not shaped.covers(path)]
    kept = [one for one in found if not _is_inside(one.path, foreign)]
    reported = {path for path in dropped if not _is_inside(path, foreign)}
    return Shaped(file, tuple(kept), frozenset(reported))


def our_groups(data: dict[str, Any]) -> set[str]:
    """Return the names of our model groups: those with a `qwen3/` deployment, and those listed."""
    section = data.get("embedding_router")
    listed = section.get("groups") if isinstance(section, dict) else None
    ours = {str(name) for name in listed} if isinstance(listed, dict) else set()
    for _, name, model in _entries(data):
        if isinstance(model, str) and model.startswith(OWN_PREFIX):
            ours.add(str(name))
    return ours


def _foreign_entries(data: dict[str, Any]) -> Iterator[Path]:
    ours = our_groups(data)
    for index, name, _ in _entries(data):
        if name is not None and str(name) not in ours:
            yield ("model_list", index)


def _entries(data: dict[str, Any]) -> Iterator[tuple[int, Any, Any]]:
    """Yield index, model_name and model of each deployment, however broken."""
    entries = data.get("model_list")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            params = entry.get("litellm_params")
            model = params.get("model") if isinstance(params, dict) else None
            yield index, entry.get("model_name"), model


def _is_inside(path: Path, entries: set[Path]) -> bool:
    return len(path) > 2 and path[:2] in entries and path[2] != "model_name"


def _drop(data: Any, path: Path) -> None:
    """Take *path* out of *data*; an item of a list becomes empty, so that the others stay put."""
    for step in path[:-1]:
        try:
            data = data[step]
        except (KeyError, TypeError):
            return  # went with something around it
    if isinstance(data, list):
        data[int(path[-1])] = {}
    else:
        data.pop(path[-1], None)


def _missing(section: BaseModel, path: Path) -> Iterator[tuple[Path, Finding]]:
    """Yield the path of each needed key that is absent, and the finding about it."""
    if isinstance(section, Section):
        for name, fix in section.needed.items():
            if getattr(section, name) is None:
                yield (*path, name), Finding(path, f"{name} is missing", fix)
    for name in type(section).model_fields:
        value = getattr(section, name)
        items: Iterable[tuple[Path, Any]] = [((name,), value)]
        if isinstance(value, list):
            items = [((name, index), item) for index, item in enumerate(value)]
        elif isinstance(value, dict):
            items = [((name, key), item) for key, item in value.items()]
        for step, item in items:
            if isinstance(item, BaseModel):
                yield from _missing(item, path + step)


_EXPECTED = {
    "string_type": ("text", "put it in quotes"),
    "int_type": ("a whole number", "write digits without quotes"),
    "int_from_float": ("a whole number", "write digits without a point"),
    "float_type": ("a number", "write digits without quotes"),
    "bool_type": ("true or false", "write true or false"),
    "list_type": ("a list", "write [one, two], or a line with - for each"),
    "dict_type": ("a mapping", "write key: value"),
    "model_type": ("a mapping", "write key: value"),
}
_RANGES = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
}


def _finding(path: Path, error: Any) -> Finding:
    kind, context = error["type"], error.get("ctx", {})
    reason = context.get("error")
    if isinstance(reason, Unfit):
        return Finding(path, reason.what, reason.fix)
    if kind == "extra_forbidden":
        known = _keys_at(path[:-1])
        guess = did_you_mean(str(path[-1]), known)
        fix = f'did you mean "{guess}"?' if guess else f"known here: {', '.join(known)}"
        return Finding(path, "unknown key", fix)
    if kind in _EXPECTED:
        expected, fix = _EXPECTED[kind]
        return Finding(path, f"expected {expected}, found {kind_of(error['input'])}", fix)
    if kind in _RANGES:
        bound, words = _RANGES[kind]
        return Finding(path, "out of range", f"write {words} {context[bound]:g}")
    if kind == "literal_error":
        choices = [
            word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")
        ]
        guess = did_you_mean(str(error["input"]), choices)
        fix = f'did you mean "{guess}"?' if guess else "choose one of these"
        return Finding(path, f"not one of {', '.join(choices)}", fix)
    if kind == "finite_number":
        return Finding(path, "not a finite number", "write digits")
    if kind == "string_pattern_mismatch":
        return Finding(path, "not a name", "use letters, digits, -, _ and ., at most 64 of them")
    if kind == "too_short":
        return Finding(path, "an empty list", "fill it in, or remove the key")
    what = str(error["msg"])
    return Finding(path, what[:1].lower() + what[1:], "see config.schema.json")


def _keys_at(path: Path) -> list[str]:
    """Return the keys that the mapping at *path* can have."""
    kind: Any = File
    for step in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(step)].annotation
        else:
            kind = get_args(kind)[-1]
        kind = _inner(kind)
    return sorted(getattr(kind, "model_fields", ()))


def _inner(kind: Any) -> Any:
    """Return *kind* without `| None` and `Annotated`."""
    while get_origin(kind) not in (None, list, dict):
        kind = get_args(kind)[0]
    return kind
