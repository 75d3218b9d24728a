"""HTML by construction: elements are made, never pasted, so that every text in them is escaped."""

from __future__ import annotations

from html import escape

__all__ = ["Markup", "element", "raw"]

_VOID = frozenset({"meta", "link", "rect", "br"})


class Markup(str):
    """HTML that is ready; any other text is escaped where it is put into an element."""

    __slots__ = ()


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """Return `<tag …>content</tag>`.

    Names of *attributes* lose a trailing underscore and get hyphens for the others; one that is
    None or False is left out, and True stands for an empty value. Content that is None is left out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{"" if value is True else escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    inside = "".join(_text(one) for one in content if one is not None)
    if tag in _VOID and not inside:
        return Markup(f"<{tag}{written}>" if tag != "rect" else f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{inside}</{tag}>")


def raw(text: str) -> Markup:
    """Return *text* as it is: for our own style sheet and script, which no data is part of."""
    return Markup(text)


def _text(value: object) -> str:
    if isinstance(value, Markup):
        return value
    if isinstance(value, list | tuple):
        return "".join(_text(one) for one in value if one is not None)
    return escape(str(value))
