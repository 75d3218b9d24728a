"""Where each value of a YAML text stands, from its first to behind its last character.

Only for inserting text at the right place: what the values mean is read elsewhere. Aliases are not
followed, so a place is always where something is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from router_config.yamlnodes import LOADER

__all__ = ["Span", "line_end", "line_start", "load", "spans"]


@dataclass(slots=True)
class Span:
    """One value; *flow* tells a list or mapping in brackets.

    A mapping has its keys and values in turn in *items*. *end* of a block list or mapping is behind
    its last value, not behind the comments that follow.
    """

    kind: str  # "scalar", "alias", "sequence" or "mapping"
    start: int
    end: int
    column: int
    flow: bool = False
    text: str = ""
    items: list[Span] = field(default_factory=list)

    def pairs(self) -> Iterator[tuple[Span, Span]]:
        """Yield the keys of a mapping, each with its value."""
        if self.kind == "mapping":
            yield from zip(self.items[::2], self.items[1::2], strict=True)

    def get(self, name: str) -> tuple[Span, Span] | None:
        """Return the key *name* of a mapping with its value, or None."""
        return next((pair for pair in self.pairs() if pair[0].text == name), None)

    @property
    def empty(self) -> bool:
        """True for a value that is not written: nothing behind the colon."""
        return self.kind == "scalar" and self.start == self.end


def load(text: str) -> Any:
    """Return the data of *text*. Raises: `yaml.YAMLError` for text that is not YAML."""
    return yaml.load(text, Loader=LOADER)


def spans(text: str) -> Span | None:
    """Return the tree of *text*, or None if there is nothing in it.

    Raises: `yaml.YAMLError` for text that is not YAML.
    """
    open_: list[Span] = []
    root: Span | None = None
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            one = open_.pop()
            one.end = _index(event.end_mark) if one.flow else one.items[-1].end
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        one = _span(event)
        if open_:
            open_[-1].items.append(one)
        elif root is None:
            root = one
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append(one)
    return root


def _span(event: Any) -> Span:
    kind = "alias" if isinstance(event, yaml.AliasEvent) else "scalar"
    flow = False
    if isinstance(event, yaml.CollectionStartEvent):
        kind = "sequence" if isinstance(event, yaml.SequenceStartEvent) else "mapping"
        flow = bool(event.flow_style)
    mark = event.start_mark
    text = event.value if isinstance(event, yaml.ScalarEvent) else ""
    return Span(kind, _index(mark), _index(event.end_mark), mark.column, flow, text)


def _index(mark: Any) -> int:
    return int(mark.index)


def line_start(text: str, index: int) -> int:
    """Return where the line of *index* begins."""
    return text.rfind("\n", 0, index) + 1


def line_end(text: str, index: int) -> int:
    """Return where the line after the one that ends at or behind *index* begins."""
    if index and text[index - 1] == "\n":
        return index  # a block of text ends with its line
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1
