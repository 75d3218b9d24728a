"""The tree that is written in a YAML text, before its aliases and merge keys are followed.

Built from parser events, because libyaml's own composer recurses and hides cycles.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from .problems import Finding

__all__ = [
    "LOADER",
    "Alias",
    "Mapping",
    "Node",
    "Notes",
    "Number",
    "Place",
    "Scalar",
    "Sequence",
    "TooMuch",
    "check_limits",
    "compose",
]

MAX_VALUES = 100_000  # counted with every alias written out
MAX_DEPTH = 50

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml: several times faster


class Place(NamedTuple):
    """A position in a file; both count from 1."""

    line: int
    column: int


class Number(float):
    """A float that keeps the digits it was written with."""

    text: str

    def __new__(cls, value: float, text: str) -> Number:
        number = super().__new__(cls, value)
        number.text = text
        return number

    def __reduce__(self) -> tuple[Any, ...]:
        return (Number, (float(self), self.text))


@dataclass(slots=True)
class Scalar:
    """A single value; *merge* marks the key `<<`."""

    place: Place
    value: Any
    text: str
    merge: bool = False


@dataclass(slots=True)
class Sequence:
    """A list."""

    place: Place
    items: list[Node]


@dataclass(slots=True)
class Mapping:
    """Keys and values in turn: *items* is key, value, key, value …"""

    place: Place
    items: list[Node]


@dataclass(slots=True)
class Alias:
    """A use of an anchor, kept apart from its target so that a cycle stays visible."""

    place: Place
    target: Node


Node = Scalar | Sequence | Mapping | Alias
Notes = list[tuple[Place, Finding]]


def compose(text: str) -> tuple[Node | None, Notes]:
    """Return the node tree of *text* (None when it is empty) and what was noticed on the way.

    Raises: `TooMuch` past the limits, `yaml.YAMLError` for text that is not YAML.
    """
    extra: Notes = []
    anchors: dict[str, Node] = {}
    open_nodes: list[Sequence | Mapping] = []
    root: Node | None = None
    for count, event in enumerate(yaml.parse(text, Loader=LOADER)):
        check_limits(_place(event), count, len(open_nodes))
        node: Node
        if isinstance(event, yaml.AliasEvent):
            target = anchors.get(event.anchor or "")
            node = Alias(_place(event), target) if target else Scalar(_place(event), None, "")
            if target is None:
                what = "an alias without an anchor"
                extra.append((node.place, Finding((), what, "define the anchor above it")))
        elif isinstance(event, yaml.ScalarEvent):
            node = _scalar(event, extra)
        elif isinstance(event, yaml.CollectionStartEvent):
            kind = Sequence if isinstance(event, yaml.SequenceStartEvent) else Mapping
            node = kind(_place(event), [])
            if event.tag not in _COLLECTION_TAGS:
                extra.append((node.place, _bad_tag()))
        elif isinstance(event, yaml.CollectionEndEvent):
            open_nodes.pop()
            continue
        elif isinstance(event, yaml.DocumentStartEvent) and root is not None:
            fix = 'remove the line "---" and what follows it'
            raise TooMuch(_place(event), "a second document", fix)
        else:
            continue
        if not isinstance(node, Alias) and event.anchor:
            anchors[event.anchor] = node
        if open_nodes:
            open_nodes[-1].items.append(node)
        elif root is None:
            root = node
        if isinstance(node, Sequence | Mapping):
            open_nodes.append(node)
    return root, extra


_TAG = "tag:yaml.org,2002:"
_COLLECTION_TAGS = {None, "!", f"{_TAG}map", f"{_TAG}seq"}
_resolver: Any = yaml.resolver.Resolver()
_constructor: Any = yaml.constructor.SafeConstructor()
_READERS: dict[str, Callable[[Any], Any]] = {
    f"{_TAG}str": lambda node: node.value,
    f"{_TAG}merge": lambda node: node.value,
    f"{_TAG}null": lambda node: None,
    f"{_TAG}bool": _constructor.construct_yaml_bool,
    f"{_TAG}int": _constructor.construct_yaml_int,
    f"{_TAG}float": lambda node: Number(_constructor.construct_yaml_float(node), node.value),
    f"{_TAG}timestamp": _constructor.construct_yaml_timestamp,
}
# YAML 1.1 (LiteLLM's parser) and 1.2 (most editors) read these differently.
_READ_TWO_WAYS = {
    f"{_TAG}bool": re.compile(r"(?i)yes|no|on|off|y|n"),
    f"{_TAG}int": re.compile(r"[-+]?0b?[0-7_]+|.*[_:].*"),
    f"{_TAG}float": re.compile(r".*[_:].*"),
}


def _scalar(event: Any, extra: Notes) -> Scalar:
    tag = event.tag
    if tag is None or tag == "!":
        tag = _resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
    place = _place(event)
    if tag not in _READERS:
        extra.append((place, _bad_tag()))
        return Scalar(place, None, event.value)
    two_ways = _READ_TWO_WAYS.get(tag)
    if two_ways and two_ways.fullmatch(event.value):
        what = f"YAML 1.1 (LiteLLM) and YAML 1.2 (editors) read this {_KINDS[tag]} differently"
        plain = "true or false" if tag == f"{_TAG}bool" else "plain digits"
        fix = f"write {plain}, or put it in quotes if it is text"
        extra.append((place, Finding((), what, fix, "warning")))
    try:
        value = _READERS[tag](yaml.ScalarNode(tag, event.value))
    except (ValueError, KeyError, OverflowError, yaml.YAMLError):
        what = f"not a valid {_KINDS[tag]}"
        extra.append((place, Finding((), what, "correct it, or put it in quotes")))
        value = None
    return Scalar(place, value, event.value, merge=tag == f"{_TAG}merge")


_KINDS = {
    f"{_TAG}bool": "boolean",
    f"{_TAG}int": "number",
    f"{_TAG}float": "number",
    f"{_TAG}timestamp": "date",
}


def check_limits(place: Place, values: int, depth: int) -> None:
    """Raise `TooMuch` when *values* or *depth*, reached at *place*, is out of proportion."""
    if values > MAX_VALUES:
        what = f"more than {MAX_VALUES:,} values, with aliases written out"
        raise TooMuch(place, what, "write less, and no aliases of aliases")
    if depth > MAX_DEPTH:
        raise TooMuch(place, f"nested more than {MAX_DEPTH} deep", "use fewer levels")


class TooMuch(Exception):
    """The file stops being read here, so this is its only problem."""

    def __init__(self, place: Place, what: str, fix: str) -> None:
        super().__init__(what)
        self.place, self.what, self.fix = place, what, fix


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _bad_tag() -> Finding:
    return Finding((), "a YAML tag", "remove the tag; plain values need none")
