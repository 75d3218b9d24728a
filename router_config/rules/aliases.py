"""Rules about names: an alias leads to a group, and no name reads as another with an input type."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from ..build import aliases_of
from ..problems import Finding, Path, did_you_mean
from .subject import Rule, Subject, mapping

__all__ = ["RULES"]

_ALIASES: Path = ("router_settings", "model_group_alias")
_INPUT_TYPES = (":query", ":document")


def names_a_group(subject: Subject) -> Iterator[Finding]:
    aliases = aliases_of(subject.file.router_settings)
    written = mapping(subject.written(*_ALIASES))
    for alias in written:
        target = aliases.get(str(alias))
        path = (*_ALIASES, alias)
        if target is None:
            fix = f"write {alias}: group, or {alias}: {{model: group, hidden: true}}"
            yield Finding(path, "an alias of nothing", fix)
        elif target in aliases and target not in subject.models:
            what = f'"{target}" is an alias too, and LiteLLM follows one step'
            yield Finding(path, what, f'write "{aliases[target]}"')
        elif not any(fnmatchcase(target, pattern) for pattern in subject.models):
            guess = did_you_mean(target, subject.models)
            fix = f'did you mean "{guess}"?' if guess else "name a model_name of model_list"
            yield Finding(path, f'no group "{target}"', fix)


def hides_no_group(subject: Subject) -> Iterator[Finding]:
    ours = subject.config.groups
    for alias, target in aliases_of(subject.file.router_settings).items():
        if alias in subject.models and (alias in ours or target in ours):
            what = f'a group has this name, and its requests would be served by "{target}"'
            yield Finding((*_ALIASES, alias), what, "give the alias another name")


def tells_no_input_type(subject: Subject) -> Iterator[Finding]:
    ours = {*subject.config.groups, *subject.config.aliases}
    places: dict[str, Path] = {alias: (*_ALIASES, alias) for alias in subject.config.aliases}
    for index, entry in enumerate(subject.file.model_list or ()):
        if entry.model_name is not None:
            places.setdefault(entry.model_name, ("model_list", index, "model_name"))
    for name, path in places.items():
        for ending in _INPUT_TYPES:
            stem = name.removesuffix(ending)
            if stem != name and (name in ours or stem in ours):
                what = f'reads as "{stem}" with the input type {ending[1:]}'
                yield Finding(path, what, f"end the name otherwise than in {ending}")


RULES: tuple[Rule, ...] = (names_a_group, hides_no_group, tells_no_input_type)
