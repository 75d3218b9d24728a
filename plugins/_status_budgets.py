"""The budgets of the status page: a bar for each, what is left, and what comes of it."""

from __future__ import annotations

from plugins._status_markup import Markup, element
from plugins._status_view import BudgetView, PageView
from plugins._status_words import Words

__all__ = ["budgets"]

_NEAR = 0.8
_YEAR_S = 366 * 86_400


def budgets(view: PageView, words: Words) -> list[Markup]:
    """Return the cards."""
    found: list[Markup] = []
    if not view.budgets_up:
        found.append(element("p", words("budgets_old"), class_="alert"))
    if not view.budgets:
        found.append(element("p", words("no_budgets"), class_="dim"))
    else:
        cards = [_card(one, view.now, words) for one in view.budgets]
        found.append(element("div", cards, class_="grid"))
    return found


def _card(one: BudgetView, now: float, words: Words) -> Markup:
    full = one.limit is not None and one.spent + one.held >= one.limit
    tone = " full" if full else " near" if one.used >= _NEAR else ""
    spent = words.amount(one.spent, one.unit)
    if one.limit is None:
        line = words("spent", spent)
    else:
        line = words("spent_of", spent, words.amount(one.limit, one.unit))
    details = [words(one.period)]
    if one.held:
        details.append(words("held", words.amount(one.held, one.unit)))
    if one.ends is not None:
        details.append(words("resets", words.moment(one.ends, now)))
    return element(
        "div",
        element(
            "div",
            element("h3", one.name),
            element("span", words.percent(one.used), class_="dim") if one.limit else None,
            class_="top",
        ),
        _bar(one) if one.limit is not None else None,
        element("p", line),
        element("p", " · ".join(details), class_="dim small"),
        element("p", _coming(one, full, now, words), class_="dim small"),
        class_=f"card budget{tone}",
    )


def _bar(one: BudgetView) -> Markup:
    spent, held = 100 * one.used, 100 * one.held_part
    return element(
        "svg",
        element("rect", class_="track", width=100, height=10),
        element("rect", class_="spent", width=f"{spent:.2f}", height=10),
        element("rect", class_="held", x=f"{spent:.2f}", width=f"{held:.2f}", height=10),
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _coming(one: BudgetView, full: bool, now: float, words: Words) -> str:
    coming = one.forecast
    if full:
        return words("used_up")
    if coming is None:
        return words("no_rate")
    if coming.empty_at is not None:
        if coming.empty_at - now > _YEAR_S:
            return words("empty_long")
        if coming.empty_at - now < 2 * 86_400:
            return words("empty_at", words.moment(coming.empty_at, now))
        return words("empty_at", words.day(coming.empty_at))
    if coming.at_end is not None:
        return words("at_end", words.amount(coming.at_end, one.unit))
    return words("no_rate")
