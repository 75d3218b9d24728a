"""The status page as HTML: a `PageView` in, one document out, in the words of a language.

Pure. Parts that change carry `data-live` and an id; the page's script puts them in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plugins._status_budgets import budgets
from plugins._status_markup import Markup, element, raw
from plugins._status_style import SCRIPT, STYLE
from plugins._status_tables import failovers, groups, parity, prices
from plugins._status_view import PageView
from plugins._status_words import LANGUAGES, Words

__all__ = ["page"]

_TONES = {"up": "", "degraded": " warn", "down": " bad"}
_NAMES = {"en": "English", "ru": "Русский"}


def page(view: PageView, words: Words) -> str:
    """Return the document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", words("title")),
        element("link", rel="icon", href="data:,"),
        # Only where the script below does not run.
        element("noscript", element("meta", http_equiv="refresh", content="2")),
        element("style", raw(STYLE)),
    )
    body = element(
        "body",
        element("a", words("skip"), href="#main", class_="skip"),
        _header(view, words),
        element(
            "main",
            element("p", id="lost", class_="alert", role="alert", data_text=words("lost")),
            _live("problems", _problems(view, words)),
            element("p", words("this_server"), class_="dim small") if view.several else None,
            _section("groups", words("groups"), groups(view, words)),
            _section("budgets", words("budgets"), budgets(view, words)),
            _section("failovers", words("failovers"), failovers(view, words)),
            _section("parity", words("parity"), parity(view, words)),
            _section("prices", words("prices"), prices(view, words)),
            _section("config", words("config"), _config(view, words)),
            id="main",
            class_="wrap",
        ),
        element("script", raw(SCRIPT)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang=words.language)}\n"


def _live(id_: str, *content: object, tag: str = "div") -> Markup:
    return element(tag, *content, id=f"live-{id_}", data_live=True)


def _section(id_: str, title: str, content: Iterable[Markup]) -> Markup:
    return element(
        "section",
        element("h2", title, id=f"title-{id_}"),
        _sections_parts(id_, content),
        aria_labelledby=f"title-{id_}",
    )


def _sections_parts(id_: str, content: Iterable[Markup]) -> Sequence[Markup] | Markup:
    # Groups mark their own parts, so that a list of those that are off stays unfolded.
    found = list(content)
    return found if id_ == "groups" else _live(id_, found)


def _header(view: PageView, words: Words) -> Markup:
    languages = [
        element(
            "a",
            _NAMES[one],
            href=f"?lang={one}",
            lang=one,
            hreflang=one,
            aria_current="true" if one == words.language else None,
        )
        for one in LANGUAGES
    ]
    worst = view.worst
    facts = " · ".join(
        (
            words("as_of", words.moment(view.now, view.now)),
            words("calls_30", words.number(view.calls)),
            words("workers", view.workers),
        )
    )
    return element(
        "header",
        element(
            "div",
            element("h1", words("title")),
            _live(
                "worst",
                element("span", words(worst), class_=f"pill{_TONES[worst]}"),
            ),
            element("div", _live("facts", facts), class_="grow dim small"),
            element("nav", languages, aria_label=words("language")),
            class_="wrap",
        ),
    )


def _problems(view: PageView, words: Words) -> Markup | None:
    if not view.load_problems:
        return None
    lines = [element("li", one, class_="mono") for one in view.load_problems]
    return element("div", words("not_taken"), element("ul", lines), class_="alert")


def _config(view: PageView, words: Words) -> list[Markup]:
    versions = " · ".join(f"{name} {number}" for name, number in view.versions)
    return [
        element(
            "div",
            element(
                "div",
                element("span", view.config_file, class_="mono"),
                element("span", view.config_sha256[:12], class_="mono"),
                element(
                    "span",
                    words("loaded", words.moment(view.config_loaded, view.now)),
                    class_="dim",
                ),
                element("span", versions, class_="dim small"),
                class_="head",
            ),
            class_="card",
        )
    ]
