"""What the status page shows, and that nothing from a config or a client can become markup."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from plugins._ledger import Amount, Budget
from plugins._ledger_forecast import Forecast
from plugins._status_html import page
from plugins._status_markup import element
from plugins._status_style import POLICY
from plugins._status_view import BudgetView, DeploymentView, GroupView, PageView, _prices
from plugins._status_words import _TEXTS, LANGUAGES, Words, choose
from router_config import SHIPPED_CONFIG, load
from tests.plugins.status_pages import KEYS, NOW, lively, room

EVIL = """"><script>alert(1)</script><img src=x onerror='x'>&amp;"""


def group(view: PageView, name: str = "qwen3-embedding-8b") -> GroupView:
    return next(one for one in view.groups if one.name == name)


def deployment(view: PageView, id_: str) -> DeploymentView:
    return next(one for g in view.groups for one in (*g.on, *g.off) if one.id == id_)


class Reader(HTMLParser):
    """Notes tags, attributes and texts of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words += data


# -- the view


def test_deployments_stand_in_the_order_in_which_they_are_tried() -> None:
    orders = [(one.order, -one.weight) for one in group(lively()).on]
    assert orders == sorted(orders)


def test_a_deployment_without_its_key_is_off_and_says_which() -> None:
    found = deployment(lively(), "novita")
    assert (found.standing, found.reason) == ("off", "NOVITA_API_KEY is not set")
    assert {one.provider for one in group(lively()).on} == {
        "scaleway", "deepinfra", "siliconflow", "nebius", "vllm",
    }  # fmt: skip
    assert len(KEYS) == 5


def test_standing_reason_and_end_of_an_ejection_are_shown() -> None:
    found = deployment(lively(), "deepinfra")
    assert (found.standing, found.reason, found.until) == ("ejected", "server", NOW + 18)


def test_all_deployments_of_a_sick_endpoint_are_sick() -> None:
    assert deployment(lively(), "cheap-deepinfra").standing == "ejected"


def test_group_counts_who_can_be_used() -> None:
    found = group(lively())
    assert (found.up, len(found.on)) == (5, 6)  # one that returns is used


def test_shares_of_a_group_add_up_to_one() -> None:
    shares = [one.share or 0.0 for one in group(lively()).on]
    assert sum(shares) == pytest.approx(1.0)
    for minute in range(30):
        assert sum(one.spark[minute] or 0.0 for one in group(lively()).on) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("up", "on", "worst"), [(2, 2, "up"), (1, 2, "degraded"), (0, 2, "down"), (0, 0, "down")]
)
def test_worst_group_speaks_for_all(up: int, on: int, worst: str) -> None:
    whole = group(lively())
    assert replace(lively(), groups=(replace(whole, up=up, on=whole.on[:on]),)).worst == worst


def test_old_and_undated_prices_are_marked_and_own_servers_are_not() -> None:
    marked = {one.title: one.stale for one in lively().prices}
    assert marked["DeepInfra"]
    assert marked["Scaleway Generative APIs"]
    assert not marked["vLLM"]


def test_a_price_that_the_config_sets_is_the_one_shown(tmp_path: Path) -> None:
    text = SHIPPED_CONFIG.read_text(encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(
        text.replace("{id: vllm,", "{id: vllm, input_cost_per_token: 0.00000002,").replace(
            "{id: deepinfra,", "{id: deepinfra, input_cost_per_token: 0.00000005,"
        )
    )
    shown = [
        (one.usd, one.set_here, one.stale, one.own)
        for one in _prices(load(path), date(2026, 11, 24))
        if one.title in ("DeepInfra", "vLLM")
    ]
    # What the file sets is never old; the other groups still pay by the catalogue.
    assert sorted(shown) == [
        (Decimal(0), False, False, True),
        (Decimal("0.01"), False, True, False),
        (Decimal("0.02"), True, False, False),
        (Decimal("0.05"), True, False, False),
    ]


def test_a_budget_without_limit_has_no_bar() -> None:
    found = BudgetView("a", "nano_usd", "month", 5, 0, None, None, None)
    assert (found.used, found.held_part) == (1.0, 0.0)
    shown = page(replace(lively(), budgets=(found,)), Words("en"))
    assert shown.count("preserveAspectRatio") == page(
        replace(lively(), budgets=()), Words("en")
    ).count("preserveAspectRatio")


def test_bar_of_a_budget_never_leaves_its_frame() -> None:
    found = BudgetView("a", "tokens", "month", 150, 50, 100, None, None)
    assert (found.used, found.held_part) == (1.0, 0.0)
    assert room(Budget("a", "month", tokens=1), Amount()).fits(Amount(tokens=1))


# -- the document


def test_no_text_of_a_config_or_client_becomes_markup() -> None:
    whole = lively()
    first = group(whole)
    sick = replace(
        first.on[0], id=EVIL, provider=EVIL, region=EVIL, reason=EVIL, standing="ejected"
    )
    evil = replace(
        whole,
        groups=(
            replace(first, name=EVIL, region=EVIL, fallbacks=(EVIL,), on=(sick,), off=(sick,)),
        ),
        budgets=(replace(whole.budgets[0], name=EVIL),),
        failovers=(
            replace(whole.failovers[0], group=EVIL, tried=((EVIL, EVIL),), served_by=(EVIL,)),
        ),
        parity=(replace(whole.parity[0], deployments=(EVIL,), what=EVIL),),
        prices=(replace(whole.prices[0], title=EVIL),),
        config_file=EVIL,
        load_problems=(EVIL,),
        versions=((EVIL, EVIL),),
    )
    for language in LANGUAGES:
        found = Reader(page(evil, Words(language)))
        assert found.tags.count("script") == 1
        assert "img" not in found.tags
        assert not [name for name, _ in found.attributes if name.startswith("on")]
        assert found.words.count(EVIL) >= 15


def test_policy_names_exactly_the_script_and_the_style_of_the_page() -> None:
    shown = page(lively(), Words("en"))
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", shown, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in POLICY
    assert " style=" not in shown
    assert "unsafe" not in POLICY


def test_nothing_is_loaded_from_elsewhere() -> None:
    found = Reader(page(lively(), Words("en")))
    links = [value for name, value in found.attributes if name in ("src", "href", "action")]
    assert set(links) == {"data:,", "#main", "?lang=en", "?lang=ru"}


def test_ids_are_unique_and_do_not_depend_on_what_is_shown_now() -> None:
    found = Reader(page(lively(), Words("en"))).ids
    assert len(found) == len(set(found))
    calm = replace(lively(), failovers=(), parity=(), load_problems=("x",), budgets_up=False)
    assert Reader(page(calm, Words("en"))).ids == found


def test_problems_of_a_changed_file_are_shown() -> None:
    shown = page(replace(lively(), load_problems=("config.yaml:3:1: x",)), Words("en"))
    assert "config.yaml:3:1: x" in shown


def test_void_elements_have_no_end_and_svg_ones_are_closed() -> None:
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("rect", x=1, aria_hidden="true") == '<rect x="1" aria-hidden="true"/>'
    assert element("p", None, "<", class_=None, hidden=True) == '<p hidden="">&lt;</p>'


# -- the words


def test_every_text_has_both_languages_and_the_same_gaps() -> None:
    for name, (english, russian) in _TEXTS.items():
        assert english, name
        assert russian, name
        assert english.count("{}") == russian.count("{}"), name


@pytest.mark.parametrize(
    ("query", "accept", "language"),
    [
        ("", "", "en"),
        ("", "ru-RU,ru;q=0.9,en-US;q=0.8", "ru"),
        ("", "de, en;q=0.5, ru;q=0.6", "ru"),
        ("", "fr", "en"),
        ("lang=ru", "en", "ru"),
        ("lang=en", "ru", "en"),
        ("x=1&lang=ru", "", "ru"),
        ("lang=xx", "ru", "ru"),
        ("", "ru;q=0", "en"),
        ("", "ru;q=" + "9" * 5000, "en"),
    ],
)
def test_language_is_what_the_reader_asked_for(query: str, accept: str, language: str) -> None:
    assert choose(query, accept).language == language


@pytest.mark.parametrize(
    ("nano_usd", "english", "russian"),
    [
        (0, "$0.00", "0,00\u00a0$"),
        (1_800_000_000, "$1.80", "1,80\u00a0$"),
        (1_234_567_000_000_000, "$1,234,567.00", "1\u00a0234\u00a0567,00\u00a0$"),
        (420, "$0", "0\u00a0$"),
        (4_200, "$0.000004", "0,000004\u00a0$"),
    ],
)
def test_money_is_written_as_each_language_does(nano_usd: int, english: str, russian: str) -> None:
    assert Words("en").amount(nano_usd, "nano_usd") == english
    assert Words("ru").amount(nano_usd, "nano_usd") == russian


def test_forecast_is_told_by_how_far_it_is() -> None:
    one = BudgetView("a", "nano_usd", "lifetime", 1, 0, 10, None, None)
    for coming, said in (
        (Forecast(1, empty_at=NOW + 3600), "empty by 15:20:00 UTC at this rate"),
        (Forecast(1, empty_at=NOW + 9 * 86_400), "empty by 2026-12-03 at this rate"),
        (Forecast(1, empty_at=NOW + 900 * 86_400), "lasts over a year at this rate"),
        (Forecast(1, at_end=5_000_000_000), "$5.00 by the end of the period at this rate"),
        (None, "nothing spent lately"),
    ):
        shown = page(replace(lively(), budgets=(replace(one, forecast=coming),)), Words("en"))
        assert said in shown


def test_where_several_share_the_ledger_it_says_whose_traffic_is_shown() -> None:
    for language, said in (("en", "are of this server"), ("ru", "этого сервера")):
        assert said not in page(lively(), Words(language))
        assert said in page(replace(lively(), several=True), Words(language))
