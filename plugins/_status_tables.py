"""The tables of the status page: deployments by group, failovers, parity, prices.

On a narrow screen a row becomes a block of labelled lines; the roles are written out, since some
browsers drop a table's when its display changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from plugins._status_markup import Markup, element
from plugins._status_view import DeploymentView, GroupView, PageView
from plugins._status_words import Words

__all__ = ["failovers", "groups", "parity", "prices"]

_TONES = {
    "fine": "",
    "returning": " warn",
    "resting": " warn",
    "ejected": " bad",
    "quarantined": " bad",
    "drained": " none",
    "off": " none",
}
_BAR, _GAP, _HIGH = 4, 1, 26


def groups(view: PageView, words: Words) -> list[Markup]:
    """Return a card for each group, those with somebody first."""
    ordered = sorted(enumerate(view.groups), key=lambda pair: not pair[1].on)
    return [_group(number, group, view.now, words) for number, group in ordered]


def _group(number: int, group: GroupView, now: float, words: Words) -> Markup:
    tone = " bad" if not group.up else " warn" if group.up < len(group.on) else ""
    notes = []
    if group.region is not None:
        notes.append(words("region_only", group.region.upper()))
    if group.fallbacks:
        notes.append(words("fallback", ", ".join(group.fallbacks)))
    up = words("up_of", group.up, len(group.on))
    head = [
        element("h3", group.name),
        element("span", up, class_=f"pill{tone if group.on else ' none'}"),
        element("span", " · ".join(notes), class_="dim small") if notes else None,
    ]
    titles = ("deployment", "health", "order", "latency", "success", "price", "traffic")
    numeric = frozenset({"latency", "success", "price", "traffic"})
    rows = [_deployment(one, now, words) for one in group.on]
    off = [
        element("li", element("span", one.id, class_="mono"), f": {one.reason}")
        for one in group.off
    ]
    return element(
        "div",
        element("div", head, id=f"live-group-{number}", class_="head", data_live=True),
        _table(
            [words(one) for one in titles],
            rows,
            [one in numeric for one in titles],
            label=group.name,
            id_=f"live-rows-{number}",
            class_="deployments",
        )
        if rows
        else element("p", words("nobody"), class_="dim"),
        element("details", element("summary", words("off_list", len(off))), element("ul", off))
        if off
        else None,
        class_="card",
    )


def _deployment(one: DeploymentView, now: float, words: Words) -> list[Markup]:
    where = f"{one.provider} · {one.region}"
    state = [element("span", words(one.standing), class_=f"pill{_TONES[one.standing]}")]
    if one.standing != "fine":
        why = [words.reason(one.reason)] if one.reason else []
        if one.until is not None:
            why.append(words("until", words.moment(one.until, now)))
        elif one.standing == "ejected":
            why.append(words("until_probe"))
        state.append(element("div", " · ".join(why), class_="small"))
    weight = words("weight", words.number(one.weight, 2)) if one.weight != 1 else None
    latency = f"{words.ms(one.p50_ms)} / {words.ms(one.p95_ms)}" if one.p50_ms else "–"
    success = "–" if one.success is None else words.percent(one.success)
    usd = words.number(one.usd_per_million, 5)
    void = "" if one.calls else " void"  # nothing to say: left out where room is short
    return [
        _td(
            element("strong", one.id, class_="mono"),
            element("div", where, class_="dim small"),
            class_="first",
        ),
        _td(element("div", state), data_label=words("health")),
        _td(
            element(
                "div",
                one.order,
                element("span", " · ", weight, class_="dim small") if weight else None,
            ),
            data_label=words("order"),
        ),
        _td(latency, class_=f"num{void}", data_label=words("latency")),
        _td(success, class_=f"num{void}", data_label=words("success")),
        _td(usd, class_="num", data_label=words("price")),
        _td(_traffic(one, words), class_="num", data_label=words("traffic")),
    ]


def _traffic(one: DeploymentView, words: Words) -> Markup:
    if not one.calls:
        return element("div", words("no_calls"), class_="dim small")
    share = words.percent(one.share or 0.0)
    bars: list[Markup] = []
    for minute, (part, bad) in enumerate(zip(one.spark, one.bad, strict=True)):
        x = minute * (_BAR + _GAP)
        if not part:
            bars.append(element("rect", class_="none", x=x, y=_HIGH - 1, width=_BAR, height=1))
            continue
        high = max(2.0, part * _HIGH)
        red = high * bad
        bars.append(
            element(
                "rect", class_="good", x=x, y=f"{_HIGH - high:.1f}", width=_BAR,
                height=f"{high - red:.1f}",
            )
        )  # fmt: skip
        if red:
            bars.append(
                element(
                    "rect", class_="bad", x=x, y=f"{_HIGH - red:.1f}", width=_BAR,
                    height=f"{red:.1f}",
                )
            )  # fmt: skip
    picture = element(
        "svg",
        bars,
        class_="spark",
        viewBox=f"0 0 {len(one.spark) * (_BAR + _GAP) - _GAP} {_HIGH}",
        preserveAspectRatio="none",
        role="img",
        aria_label=words("spark", share),
    )
    return element("div", picture, element("span", share), class_="traffic")


def failovers(view: PageView, words: Words) -> list[Markup]:
    """Return the table of requests that did not go through at once."""
    rows = []
    for one in view.failovers:
        failed = [
            element(
                "div", element("span", id_, class_="mono"), " ",
                element("span", words.reason(reason), class_="dim small"),
            )
            for id_, reason in one.tried
        ]  # fmt: skip
        if one.served_by:
            answer: Markup = element("span", ", ".join(one.served_by), class_="mono")
        else:
            answer = element("span", words("nobody_answered", one.status), class_="pill bad")
        rows.append(
            [
                _td(words.moment(one.at, view.now), class_="first"),
                _td(element("span", one.group, class_="mono"), data_label=words("group")),
                _td(element("div", failed), data_label=words("failed")),
                _td(answer, data_label=words("answered")),
            ]
        )
    titles = [words(one) for one in ("time", "group", "failed", "answered")]
    return _card(titles, rows, words("failovers"), words("no_failovers"))


def parity(view: PageView, words: Words) -> list[Markup]:
    """Return the table of endpoints whose vector space was looked at."""
    rows = []
    for one in view.parity:
        verdict = "unknown" if one.passed is None else "same" if one.passed else "other"
        tone = {"unknown": " none", "same": "", "other": " bad"}[verdict]
        names = ", ".join(one.deployments)
        cosine = "–" if one.cosine is None else words.number(one.cosine, 5)
        rows.append(
            [
                _td(element("span", names, class_="mono"), class_="first"),
                _td(
                    element(
                        "div",
                        element("span", words(verdict), class_=f"pill{tone}"),
                        element("div", one.what, class_="small") if one.what else None,
                    ),
                    data_label=words("verdict"),
                ),
                _td(cosine, class_="num", data_label=words("cosine")),
                _td(words.moment(one.at, view.now), class_="num", data_label=words("asked")),
            ]
        )
    titles = [words(one) for one in ("deployment", "verdict", "cosine", "asked")]
    return _card(titles, rows, words("parity"), words("no_parity"), [False, False, True, True])


def prices(view: PageView, words: Words) -> list[Markup]:
    """Return the table of what providers cost."""
    rows = []
    for one in view.prices:
        dated = one.as_of.isoformat() if one.as_of is not None else words("no_date")
        dated = words("set_here") if one.set_here else dated
        mark = element("span", words("old"), class_="pill warn") if one.stale else None
        card = "–" if one.card_usd is None else words.number(one.card_usd, 5)
        usd = words("own") if one.own else words.number(one.usd, 5)
        rows.append(
            [
                _td(one.title, class_="first"),
                _td(usd, class_="num", data_label=words("price")),
                _td(element("div", dated, " ", mark), data_label=words("as_of_date")),
                _td(card, class_="num", data_label=words("card")),
            ]
        )
    titles = [words(one) for one in ("provider", "price", "as_of_date", "card")]
    return _card(titles, rows, words("prices"), "–", [False, True, False, True])


def _td(*content: object, **attributes: object) -> Markup:
    return element("td", *content, role="cell", **attributes)


def _card(
    titles: Sequence[str],
    rows: Sequence[Sequence[Markup]],
    label: str,
    empty: str,
    numeric: Sequence[bool] = (),
) -> list[Markup]:
    if not rows:
        return [element("p", empty, class_="dim")]
    table = _table(titles, rows, numeric or [False] * len(titles), label=label)
    return [element("div", table, class_="card")]


def _table(
    titles: Sequence[str],
    rows: Sequence[Sequence[Markup]],
    numeric: Sequence[bool],
    *,
    label: str,
    id_: str | None = None,
    class_: str | None = None,
) -> Markup:
    heads = [
        element("th", title, scope="col", role="columnheader", class_="num" if right else None)
        for title, right in zip(titles, numeric, strict=True)
    ]
    body = [element("tr", row, role="row") for row in rows]
    return element(
        "table",
        element("thead", element("tr", heads, role="row"), role="rowgroup"),
        element("tbody", body, id=id_, data_live=id_ is not None, role="rowgroup"),
        role="table",
        aria_label=label,
        class_=class_,
    )
