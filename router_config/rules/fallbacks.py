"""Rules about fallbacks: they lead somewhere, end, and stay in one vector space and region.

A fallback may name an alias; it is judged by the group behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from ..build import aliases_of
from ..problems import Finding, Path, did_you_mean
from .subject import Rule, Subject

__all__ = ["RULES"]

_LIST: Path = ("router_settings", "fallbacks")
_DEFAULT: Path = ("router_settings", "default_fallbacks")


def _written(subject: Subject) -> Iterator[tuple[str, str, Path]]:
    """Yield source, target and place of each fallback that the file spells out."""
    for index, item in enumerate(subject.router.fallbacks or ()):
        for source, targets in item.items():
            for position, target in enumerate(targets):
                yield source, target, (*_LIST, index, source, position)
    for position, target in enumerate(subject.router.default_fallbacks or ()):
        yield "*", target, (*_DEFAULT, position)


def _edges(subject: Subject) -> Iterator[tuple[str, str, Path]]:
    """Yield the same with the group behind a target that is an alias."""
    aliases = aliases_of(subject.file.router_settings)
    for source, target, path in _written(subject):
        yield source, aliases.get(target, target), path


def known_groups(subject: Subject) -> Iterator[Finding]:
    known = {*subject.models, *aliases_of(subject.file.router_settings)}
    places = [
        ((*_LIST, n, s), s) for n, item in enumerate(subject.router.fallbacks or ()) for s in item
    ]
    places += [(path, target) for _, target, path in _written(subject)]
    for path, name in places:
        if name != "*" and not any(fnmatchcase(name, pattern) for pattern in known):
            guess = did_you_mean(name, known)
            fix = f'did you mean "{guess}"?' if guess else f"known: {', '.join(sorted(known))}"
            yield Finding(path, "a fallback to or from a group without deployments", fix)


def source_is_no_alias(subject: Subject) -> Iterator[Finding]:
    for index, item in enumerate(subject.router.fallbacks or ()):
        for source in item:
            group = subject.config.aliases.get(source)
            if group is not None and source not in subject.models:
                what = f'the list of an alias, which nobody reads: requests are for "{group}"'
                yield Finding((*_LIST, index, source), what, f'write it for "{group}"')


def may_be_tried(subject: Subject) -> Iterator[Finding]:
    # It bounds how deep LiteLLM goes, and all of a list are one step deep: 1 is as good as 10.
    if not any(True for _ in _edges(subject)):
        return
    router, litellm = (("router_settings", "max_fallbacks"), ("litellm_settings", "max_fallbacks"))
    path = router if subject.written(*router) is not None else litellm
    most = subject.written(*path)
    if isinstance(most, int) and most < 1:
        what = "no fallback would ever be tried"
        yield Finding(path, what, "remove it; embedding_router.attempts bounds the calls")


def one_source_per_item(subject: Subject) -> Iterator[Finding]:
    for index, item in enumerate(subject.router.fallbacks or ()):
        for source in list(item)[1:]:
            what = "LiteLLM reads only the first group of an item"
            yield Finding((*_LIST, index, source), what, "start a new item with a - before it")


def one_item_per_source(subject: Subject) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, item in enumerate(subject.router.fallbacks or ()):
        for source in item:
            if source in seen:
                path = (*_LIST, index, source)
                what = f'a second list for "{source}"'
                yield Finding(path, what, "merge the two; LiteLLM reads the first only")
            seen.add(source)


def no_cycle(subject: Subject) -> Iterator[Finding]:
    edges = [edge for edge in _edges(subject) if edge[0] != "*"]
    targets: dict[str, list[str]] = {}
    for source, target, path in edges:
        # Told at the step that closes the circle, once.
        way = _way(targets, target, source)
        if way is not None:
            what = f"a fallback in a circle: {' -> '.join([source, *way])}"
            yield Finding(path, what, "remove one of the steps")
        else:
            targets.setdefault(source, []).append(target)


def _way(targets: dict[str, list[str]], start: str, end: str) -> list[str] | None:
    """Return the groups from *start* to *end*, both included, or None."""
    ways = [[start]]
    seen = {start}
    for way in ways:  # grows while it is walked
        if way[-1] == end:
            return way
        for target in targets.get(way[-1], ()):
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return None


def one_vector_space(subject: Subject) -> Iterator[Finding]:
    ours = subject.config.groups
    for source, target, path in _edges(subject):
        sources = [source] if source != "*" else [name for name in ours if name != target]
        if target in subject.config.foreign_models and any(name in ours for name in sources):
            what = "a fallback to another model: its vectors do not compare"
            yield Finding(path, what, f'take "{target}" out')
        elif target in ours and source in subject.config.foreign_models:
            what = "a fallback from another model to Qwen3-Embedding-8B"
            yield Finding(path, what, f'take "{target}" out')


def one_reference(subject: Subject) -> Iterator[Finding]:
    groups = subject.config.groups
    for source, target, path in _edges(subject):
        for name in groups if source == "*" else [source]:
            if name not in groups or target not in groups[name].fallbacks or target not in groups:
                continue
            if groups[name].parity.reference != groups[target].parity.reference:
                what = f'the vectors of "{name}" are proven against another reference'
                fix = f'give "{target}" the same parity.reference, or take it out'
                yield Finding(path, what, fix)


def one_region(subject: Subject) -> Iterator[Finding]:
    groups = subject.config.groups
    explicit = {source for source, _, path in _edges(subject) if path[1] == _LIST[1]}
    for source, target, path in _edges(subject):
        sources = [source] if source != "*" else [name for name in groups if name not in explicit]
        for name in sources:
            if name not in groups or target not in groups or name == target:
                continue
            region = groups[name].region
            outside = {one.region for one in groups[target].deployments} - {region}
            if region is not None and outside:
                what = f'"{name}" never leaves "{region}", and "{target}" does'
                yield Finding(path, what, "take it out, or name a group of that region")


RULES: tuple[Rule, ...] = (
    known_groups,
    source_is_no_alias,
    may_be_tried,
    one_source_per_item,
    one_item_per_source,
    no_cycle,
    one_vector_space,
    one_reference,
    one_region,
)
