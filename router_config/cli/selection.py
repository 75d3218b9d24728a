"""The shipped config cut down to chosen deployments: what is left stays as it is written.

A paragraph is the lines between two blank ones. The words in front of deployments go when any of
those goes, since they speak of the whole; the words in front of a group go with its last member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from router_config.cli.spans import Span, line_end, line_start, load, spans

__all__ = ["chunks", "members", "section", "select", "variables"]

Entry = Mapping[str, Any]
_VARIABLE = "os.environ/"


def variables(entry: Entry) -> list[str]:
    """Return the environment variables that a deployment of the file needs."""
    params = entry["litellm_params"]
    named = [str(params.get(name, "")) for name in ("api_key", "api_base")]
    return [one.removeprefix(_VARIABLE) for one in named if one.startswith(_VARIABLE)]


def select(text: str, keep: Callable[[Entry], bool]) -> str:
    """Return the shipped *text* with the deployments that *keep* admits, and what belongs to them.

    Budgets, settings of groups and fallbacks that nobody uses any more go too.
    """
    entries: list[Entry] = load(text)["model_list"]
    kept = [entry for entry in entries if keep(entry)]
    text = _without_entries(text, [entry in kept for entry in entries])
    groups = {entry["model_name"] for entry in kept}
    budgets = {entry["model_info"].get("budget") for entry in kept}
    text = _without_fallbacks(text, groups)
    router = "embedding_router"
    for name in set(chunks(text, (router, "groups"))) - groups:
        text = text.replace(chunks(text, (router, "groups"))[name], "")
    for name in set(chunks(text, (router, "budgets"))) - budgets:
        text = text.replace(chunks(text, (router, "budgets"))[name], "")
    return text


def members(text: str) -> str:
    """Return the deployments of the file, with the comments between them."""
    key, value = _at(text, ("model_list",))
    return text[line_end(text, key.end) : line_end(text, value.end)].strip("\n") + "\n"


def section(text: str, name: str) -> str:
    """Return the top-level section *name*, which is the last of the file."""
    return text[line_start(text, _at(text, (name,))[0].start) :]


def chunks(text: str, path: tuple[str, ...]) -> dict[str, str]:
    """Return the keys of a block mapping, each as the lines that it takes with those above it."""
    _, mapping = _at(text, path)
    found = {}
    for key, value in mapping.pairs():
        start = _with_comment(text, line_start(text, key.start))
        found[key.text] = text[start : line_end(text, value.end)]
    return found


def _at(text: str, path: Iterable[str]) -> tuple[Span, Span]:
    root = spans(text)
    assert root is not None
    key = value = root
    for name in path:
        found = value.get(name)
        assert found is not None, f"{name} is not in the file"
        key, value = found
    return key, value


def _with_comment(text: str, start: int) -> int:
    """Return where the comment right above the line at *start* begins."""
    while start:
        above = line_start(text, start - 1)
        if not text[above:start].lstrip().startswith("#"):
            return start
        start = above
    return start


def _without_entries(text: str, kept: list[bool]) -> str:
    key, sequence = _at(text, ("model_list",))
    begin = line_end(text, key.end)
    end = line_end(text, sequence.end)
    lines_of = [(line_start(text, one.start), line_end(text, one.end)) for one in sequence.items]
    # Each with whether it has deployments left; None for mere words.
    paragraphs: list[tuple[str, bool | None]] = []
    for match in re.finditer(r"(?:[^\n]*\S[^\n]*\n)+", text[begin:end]):
        first, last = begin + match.start(), begin + match.end()
        inside = [
            (span, ok) for span, ok in zip(lines_of, kept, strict=True) if first <= span[0] < last
        ]
        left = [text[a:b] for (a, b), ok in inside if ok]
        if len(left) == len(inside):  # whole, or mere words
            paragraphs.append((match[0], True if inside else None))
        else:
            paragraphs.append(("".join(left), bool(left)))
    body = []
    for index, (words, stays) in enumerate(paragraphs):
        if stays is None:  # in front of a group
            following = [one for _, one in paragraphs[index + 1 :]]
            until = following.index(None) if None in following else len(following)
            stays = any(following[:until])
        if stays:
            body.append(words)
    return text[:begin] + "\n" + "\n".join(body) + text[end:]


def _without_fallbacks(text: str, groups: set[str]) -> str:
    key, sequence = _at(text, ("router_settings", "fallbacks"))
    items: list[dict[str, list[str]]] = load(text)["router_settings"]["fallbacks"]
    usable = [groups.issuperset({name, *targets}) for one in items for name, targets in one.items()]
    if not any(usable):
        start = _with_comment(text, line_start(text, key.start))
        return text[:start] + text[line_end(text, sequence.end) :]
    for span, ok in reversed(list(zip(sequence.items, usable, strict=True))):
        if not ok:
            text = text[: line_start(text, span.start)] + text[line_end(text, span.end) :]
    return text
