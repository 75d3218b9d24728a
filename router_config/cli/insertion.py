"""Text inserted into a YAML file at the right places, with its data kept in step.

What is put into a block is written as a block, what is put into brackets in flow style. In the end
the text is read again and must say what the data says; else nothing comes out.
"""

from __future__ import annotations

import copy
import json
import textwrap
from collections.abc import Sequence
from typing import Any

import yaml

from router_config.cli.spans import Span, line_end, line_start, load, spans

__all__ = ["Insertions", "MergeError"]

Path = tuple[str, ...]
_UNUSUAL = (
    "the file is written in a way that nothing can be put into without changing it (an alias, or "
    "an unusual layout): write its sections as plain blocks"
)


class MergeError(Exception):
    """The file is written in a way that nothing can be put into; the text says what to do."""


class Insertions:
    """A YAML *text* and its *data*, and how both grow.

    Raises: `MergeError` if the text is not a mapping, `yaml.YAMLError` if it is not YAML.
    """

    def __init__(self, text: str) -> None:
        self._mark = "\ufeff" if text.startswith("\ufeff") else ""  # libyaml counts without it
        text = text.removeprefix(self._mark)
        data = load(text)
        if not isinstance(data, dict | None):
            raise MergeError("the file is not a mapping at its top level")
        self.data: dict[str, Any] = copy.deepcopy(data or {})
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def get(self, path: Path) -> Any:
        """Return what is at *path*, None if nothing is.

        Raises: `MergeError` where something else stands in the way.
        """
        value: Any = self.data
        for count, name in enumerate(path):
            if value is None:
                return None
            if not isinstance(value, dict):
                raise MergeError(f"{'.'.join(path[:count])} is not a mapping")
            value = value.get(name)
        return value

    def put(self, path: Path, value: Any, lines: str) -> None:
        """Set the key at the end of *path*, which has no value yet; *lines* is its block."""
        *around, name = path
        parent = self.get(tuple(around))
        if around and not parent:
            block = f"{around[-1]}:\n{_at_column(lines, 2)}"
            return self.put(tuple(around), {name: value}, block)
        found = self._find(tuple(around))
        written = found.get(name) if found is not None else None
        if written is not None:
            self._fill(written[1], value, lines, written[0].column)
        elif found is None or not found.flow:
            self._insert_below(found, lines if around else f"\n{lines}")
        else:
            self._insert_in_brackets(found, f"{name}: {_flow(value)}")
        parent[name] = copy.deepcopy(value)
        return None

    def extend(self, path: Path, items: Sequence[Any], lines: str) -> None:
        """Add *items* to the list at *path*; *lines* is their block."""
        present = self.get(path)
        if not present:
            return self.put(path, list(items), f"{path[-1]}:\n{_at_column(lines, 2)}")
        if not isinstance(present, list):
            raise MergeError(f"{'.'.join(path)} is not a list")
        found = self._find(path)
        assert found is not None
        if found.flow:
            self._insert_in_brackets(found, ", ".join(map(_flow, items)))
        else:
            self._insert_below(found, lines)
        present.extend(copy.deepcopy(list(items)))
        return None

    def result(self) -> str:
        """Return the text. Raises `MergeError` if it does not say what it should."""
        try:
            same = (load(self._text) or {}) == self.data
        except yaml.YAMLError:
            same = False
        if not same:
            raise MergeError(_UNUSUAL)
        return self._mark + self._text

    # -- where and how

    def _find(self, path: Path) -> Span | None:
        value = spans(self._text)
        for name in path:
            found = value.get(name) if value is not None else None
            value = found[1] if found is not None else None
        return value

    def _fill(self, nothing: Span, value: Any, lines: str, column: int) -> None:
        """Give a key that is written without a value, or with empty brackets, its *value*."""
        if nothing.flow:
            self._insert_in_brackets(nothing, _flow(value)[1:-1])
        elif not nothing.empty:
            self._insert(nothing.start, "")  # null, spelt out: `result` refuses
        elif body := lines.partition("\n")[2]:
            self._insert_lines(line_end(self._text, nothing.end), body, column + 2)
        else:
            self._insert(nothing.end, f" {_flow(value)}")

    def _insert_below(self, block: Span | None, lines: str) -> None:
        if block is None:  # an empty file
            self._insert_lines(len(self._text), lines, 0)
            return
        if not block.items:
            raise MergeError(_UNUSUAL)
        first = block.items[0]
        column = first.column
        if block.kind == "sequence":
            dash = self._text.rfind("-", 0, first.start)
            column = dash - line_start(self._text, dash)
        self._insert_lines(line_end(self._text, block.end), lines, column)

    def _insert_in_brackets(self, found: Span, words: str) -> None:
        if found.items:
            self._insert(found.items[-1].end, f", {words}")
        else:
            self._insert(found.start + 1, words)

    def _insert_lines(self, index: int, lines: str, column: int) -> None:
        words = _at_column(lines, column).replace("\n", self._newline)
        if index == len(self._text) and self._text and not self._text.endswith("\n"):
            words = self._newline + words
        self._insert(index, words)

    def _insert(self, index: int, words: str) -> None:
        self._text = self._text[:index] + words + self._text[index:]


def _at_column(lines: str, column: int) -> str:
    return textwrap.indent(textwrap.dedent(lines), " " * column)


def _flow(value: Any) -> str:
    """Return *value* in flow style on one line: JSON, which YAML reads too."""
    return json.dumps(value, ensure_ascii=False, default=str)
