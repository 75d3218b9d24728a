"""YAML text to plain data that remembers where each value was written.

The data is what `yaml.safe_load` would give (LiteLLM reads the same file with it), except that a
float also keeps its text, so that money can be read as a decimal. What `safe_load` lets pass in
silence is a problem here: a duplicate key, a key that is not text, an alias inside its own anchor,
a file or an alias tree out of all proportion. Nothing in a file can exhaust memory or the stack.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

import yaml

from .problems import Finding, Path, Problem, in_file_order, masked, render_path
from .yamlnodes import (
    Alias,
    Mapping,
    Node,
    Notes,
    Number,
    Place,
    Scalar,
    Sequence,
    TooMuch,
    check_limits,
    compose,
)

__all__ = ["Document", "Number", "Place", "parse", "read"]

MAX_FILE_BYTES = 1024 * 1024  # some five thousand deployments


@dataclass(frozen=True)
class Document:
    """One file: its data, the place of each key and item, and what is wrong with its YAML.

    *value* is None for an empty file and for one that could not be read (then there are problems).
    *sha256* is of the bytes of a file that could be parsed, *since* when it came to be what
    and where it is, in nanoseconds since 1970; the last three digits are the content's.
    """

    file: str
    value: Any = None
    sha256: str = ""
    since: int = 0
    problems: tuple[Problem, ...] = ()
    places: dict[Path, Place] = field(default_factory=dict, repr=False)

    def place(self, path: Path) -> Place:
        """Return where *path* is written: its key or item, else the nearest thing around it."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def problem(self, finding: Finding) -> Problem:
        """Return *finding* as a problem of this file, with nothing in it that may be a secret."""
        line, column = self.place(finding.path)
        text = render_path(finding.path)
        what, fix = masked(finding.what), masked(finding.fix)
        return Problem(self.file, line, column, text, what, fix, finding.severity)


def read(path: str | FilePath) -> Document:
    """Return the document in the file *path*; a file that cannot be read becomes a problem."""
    file = str(path)
    try:
        with open(path, "rb") as stream:
            found = os.fstat(stream.fileno())
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return _failed(file, Place(1, 1), f"cannot be read: {reason}", "check the path")
    document = parse(data, file)
    return replace(document, since=_since(found, document.sha256))


def _since(found: os.stat_result, sha256: str) -> int:
    """Return when a file came to be what and where it is, distinct for distinct contents."""
    # The later of the two: a copy may keep the time of its source, and `mv` keeps it always. A time
    # to come would be right for ever.
    changed_ns = min(max(found.st_mtime_ns, found.st_ctime_ns), time.time_ns())
    return changed_ns - changed_ns % 1000 + int(sha256[:8] or "0", 16) % 1000


def parse(data: bytes | str, file: str = "<text>") -> Document:
    """Return the document in *data*; *file* is the name that problems will carry."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_FILE_BYTES:
        what = f"larger than {MAX_FILE_BYTES // 1024} KiB"
        return _failed(file, Place(1, 1), what, "a configuration is text that people can read")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place_of(raw[: error.start].decode("utf-8"))
        return _failed(file, place, "not valid UTF-8", "save the file as UTF-8")
    try:
        root, extra = compose(text)
    except TooMuch as limit:
        return _failed(file, limit.place, limit.what, limit.fix)
    except yaml.reader.ReaderError as error:
        position = int(error.position)
        place = _place_of(text[:position])
        return _failed(file, place, "a control character", "remove it")
    except yaml.MarkedYAMLError as error:
        return _syntax_error(file, text, error)
    document = _Expansion(file).run(root, extra) if root is not None else Document(file)
    return replace(document, sha256=hashlib.sha256(raw).hexdigest())


class _Expansion:
    """Nodes to plain data, with aliases and merge keys written out, within the limits."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path, Place] = {}
        self.findings: Notes = []
        self.values = 0
        self.inside: set[int] = set()  # nodes being expanded: meeting one again is a cycle

    def run(self, root: Node, extra: Notes) -> Document:
        try:
            value = self.expand(root, ())
        except TooMuch as limit:
            return _failed(self.file, limit.place, limit.what, limit.fix)
        problems = [
            Problem(self.file, *place, render_path(one.path), one.what, one.fix, one.severity)
            for place, one in self.findings + self.named(extra)
        ]
        ordered = tuple(in_file_order(problems))
        return Document(self.file, value, problems=ordered, places=self.places)

    def named(self, extra: Notes) -> Notes:
        """Give each finding of the first pass the path of the nearest key at or before it."""
        if not extra:
            return []
        paths = sorted(self.places.items(), key=lambda pair: pair[1])
        named: Notes = []
        for place, finding in extra:
            index = bisect.bisect_right(paths, place, key=lambda pair: pair[1])
            path = paths[index - 1][0] if index else ()
            named.append((place, Finding(path, finding.what, finding.fix, finding.severity)))
        return named

    def expand(self, node: Node, path: Path) -> Any:
        self.count(node, len(path))
        place = node.place
        while isinstance(node, Alias):
            node = node.target
        if isinstance(node, Scalar):
            return node.value
        if id(node) in self.inside:
            what = "an alias inside its own anchor"
            self.findings.append((place, Finding(path, what, "write the value out")))
            return None
        self.inside.add(id(node))
        try:
            if isinstance(node, Sequence):
                return [self.item(item, (*path, index)) for index, item in enumerate(node.items)]
            return self.mapping(node, path)
        finally:
            self.inside.discard(id(node))

    def item(self, node: Node, path: Path) -> Any:
        self.places[path] = node.place
        return self.expand(node, path)

    def mapping(self, node: Mapping, path: Path) -> dict[str, Any]:
        merged: dict[str, tuple[Place, Node]] = {}
        own: dict[str, tuple[Place, Node]] = {}
        for key, place, value in self.pairs(node, path):
            if key is None:
                merged |= self.merged(value, (*path, "<<"), place)
                key, value = "<<", Scalar(place, None, "")
            if key in own:
                what = f"duplicate key; the first is in line {own[key][0].line}"
                self.findings.append((place, Finding((*path, key), what, "keep one of them")))
            own[key] = (place, value)
        own.pop("<<", None)
        result = {}
        for key, (place, value) in {**merged, **own}.items():
            self.places[*path, key] = place
            result[key] = self.expand(value, (*path, key))
        return result

    def pairs(self, node: Mapping, path: Path) -> Iterator[tuple[str | None, Place, Node]]:
        """Yield key, its place and the value node; a merge key is None."""
        for key, value in zip(node.items[::2], node.items[1::2], strict=True):
            place = key.place
            while isinstance(key, Alias):
                key = key.target
            if not isinstance(key, Scalar):
                finding = Finding(path, "a key that is a list or a mapping", "use text as a key")
                self.findings.append((place, finding))
            elif key.merge:
                yield None, place, value
            else:
                if not isinstance(key.value, str):
                    what = "a key that is not text"
                    finding = Finding((*path, key.text), what, "put it in quotes")
                    self.findings.append((place, finding))
                yield key.text, place, value

    def merged(self, node: Node, path: Path, place: Place) -> dict[str, tuple[Place, Node]]:
        """Return what a merge key brings in.

        Only one plain mapping: releases of PyYAML disagree about lists and merges of merges.
        """
        self.count(node, len(path))
        while isinstance(node, Alias):
            node = node.target
        pairs = list(self.pairs(node, path)) if isinstance(node, Mapping) else []
        if not isinstance(node, Mapping) or any(key is None for key, _, _ in pairs):
            what = "not one plain mapping to merge"
            self.findings.append((place, Finding(path, what, "write the keys out")))
        return {key: (at, value) for key, at, value in pairs if key is not None}

    def count(self, node: Node, depth: int) -> None:
        self.values += 1
        check_limits(node.place, self.values, depth)


def _syntax_error(file: str, text: str, error: yaml.MarkedYAMLError) -> Document:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if line[: place.column].lstrip(" ").startswith("\t") or line[place.column - 1 :][:1] == "\t":
        return _failed(file, place, "a tab", "indent with spaces")
    # Only the parser's own words: its excerpt of the line might show a secret.
    what = re.sub(r"'[^']{4,}'", "…", error.problem or "broken")
    return _failed(file, place, f"not valid YAML: {what}", "check indentation, quotes and brackets")


def _failed(file: str, place: Place, what: str, fix: str) -> Document:
    return Document(file, problems=(Problem(file, *place, "", what, fix),))


def _place_of(before: str) -> Place:
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
