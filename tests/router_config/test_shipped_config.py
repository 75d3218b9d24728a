"""The shipped configuration: four groups over the catalogue, as the README promises them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ruamel.yaml import YAML

from router_config.catalogue import Provider, load_catalogue
from router_config.loader import check
from router_config.rules.wiring import ADVISED, CALLBACKS

PATH = Path(__file__).parents[2] / "router_config" / "config.yaml"
TEXT = PATH.read_text(encoding="utf-8")
CONFIG: dict[str, Any] = yaml.safe_load(TEXT)
CATALOGUE = load_catalogue()
DEFAULT, BULK, CHEAP, EU = (
    "qwen3-embedding-8b",
    "qwen3-embedding-8b-bulk",
    "qwen3-embedding-8b-cheap",
    "qwen3-embedding-8b-eu",
)


class Row(NamedTuple):
    """One deployment of the file, with what the catalogue knows about it."""

    group: str
    id: str
    provider: Provider
    order: int
    weight: float
    params: dict[str, Any]
    info: dict[str, Any]

    @property
    def price(self) -> Decimal:
        return self.provider.price.usd_per_million_tokens

    @property
    def region(self) -> str:
        return str(self.info.get("region", self.provider.region))


def _rows() -> Iterator[Row]:
    for item in CONFIG["model_list"]:
        params, info = item["litellm_params"], item["model_info"]
        provider = CATALOGUE[params["model"].removeprefix("qwen3/")]
        order, weight = params["order"], params.get("weight", 1)
        yield Row(item["model_name"], info["id"], provider, order, weight, params, info)


ROWS = list(_rows())
EVERY = pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])


def group(name: str) -> list[Row]:
    return sorted((row for row in ROWS if row.group == name), key=lambda row: row.order)


def names_by_order(name: str) -> list[set[str]]:
    orders = sorted({row.order for row in group(name)})
    return [{row.id for row in group(name) if row.order == order} for order in orders]


def test_there_are_four_groups() -> None:
    assert {row.group for row in ROWS} == {DEFAULT, BULK, CHEAP, EU}


def test_every_provider_of_the_catalogue_is_used_but_the_generic_one() -> None:
    assert {row.provider.name for row in group(DEFAULT)} == set(CATALOGUE) - {"openai"}


def test_ids_are_unique_and_tell_the_group() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", row.id)
        short = row.group.removeprefix(DEFAULT).removeprefix("-")
        assert row.id.startswith(f"{short}-" if short else row.provider.name)


@EVERY
def test_a_deployment_is_marked_as_an_embedding_model(row: Row) -> None:
    assert row.info["mode"] == "embedding"


@EVERY
def test_a_hosted_deployment_has_the_providers_key_and_a_budget(row: Row) -> None:
    if row.provider.hosted:
        assert row.params["api_key"] == f"os.environ/{row.provider.key_env}"
        assert row.info["budget"] in CONFIG["embedding_router"]["budgets"]
        assert "api_base" not in row.params


@EVERY
def test_an_own_server_is_switched_on_by_its_base_url(row: Row) -> None:
    if not row.provider.hosted:
        prefix = "EU_" if row.group == EU else ""
        name = f"{prefix}{row.provider.name.upper()}_API_BASE"
        assert row.params["api_base"] == f"os.environ/{name}"
        assert "budget" not in row.info
        assert "api_key" not in row.params


class TestDefaultGroup:
    def test_follows_the_model_card(self) -> None:
        assert names_by_order(DEFAULT) == [
            {"scaleway-free"},
            {"siliconflow", "deepinfra"},
            {"nebius", "novita", "fireworks"},
            {"openrouter", "siliconflow-cn"},
            {"scaleway-paid"},
            {"vllm", "tei", "infinity", "ollama", "llamacpp"},
        ]

    def test_uses_one_account_free_first_and_paid_later(self) -> None:
        free, paid = (row for row in group(DEFAULT) if row.provider.name == "scaleway")
        assert (free.info["budget"], paid.info["budget"]) == ("scaleway-free", "scaleway-paid")
        assert free.params["api_key"] == paid.params["api_key"]

    def test_asks_the_reseller_only_after_the_owners_of_its_machines(self) -> None:
        rows = {row.provider.name: row for row in group(DEFAULT)}
        for owner in CATALOGUE["openrouter"].upstreams:
            assert rows[owner].order < rows["openrouter"].order


class TestBulkGroup:
    def test_takes_own_servers_first(self) -> None:
        hosted = [row.order for row in group(BULK) if row.provider.hosted]
        own = [row.order for row in group(BULK) if not row.provider.hosted]
        assert len(own) == 5
        assert max(own) < min(hosted)

    def test_takes_the_cheapest_next(self) -> None:
        prices = [row.price for row in group(BULK) if row.provider.hosted]
        assert prices == sorted(prices)

    def test_leaves_the_free_tokens_to_interactive_use(self) -> None:
        assert all(row.info.get("budget") != "scaleway-free" for row in group(BULK))

    def test_has_minutes_and_not_seconds(self) -> None:
        assert CONFIG["embedding_router"]["groups"][BULK]["deadline_s"] == 300


class TestCheapGroup:
    def test_ascends_by_price(self) -> None:
        for before, after in pairwise(group(CHEAP)):
            assert before.price <= after.price
            assert (before.order < after.order) == (
                before.price < after.price or "openrouter" in before.id
            )

    def test_starts_with_openrouter(self) -> None:
        assert group(CHEAP)[0].id == "cheap-openrouter"

    def test_ranks_nobody_whose_price_was_only_assumed(self) -> None:
        assert all(row.provider.price.trust != "choice" for row in group(CHEAP))

    def test_the_comment_shows_the_prices_of_the_catalogue(self) -> None:
        prices = [row.price for row in group(CHEAP) if "nebius" not in row.id]
        assert ", ".join(f"{price:.2f}" for price in prices) in TEXT


class TestEuGroup:
    def test_has_nobody_outside_the_eu(self) -> None:
        assert {row.region for row in group(EU)} == {"eu"}

    def test_takes_no_hosted_provider_on_the_files_word(self) -> None:
        for row in group(EU):
            assert row.provider.region == "eu" or not row.provider.hosted

    def test_is_bound_to_the_region(self) -> None:
        assert CONFIG["embedding_router"]["groups"][EU]["region"] == "eu"

    def test_never_falls_back_elsewhere(self) -> None:
        settings = CONFIG["router_settings"]
        assert all(EU not in fallback for fallback in settings["fallbacks"])
        assert "default_fallbacks" not in settings

    def test_goes_on_without_scaleway_when_an_own_server_is_there(self) -> None:
        assert any(not row.provider.hosted for row in group(EU))


def test_every_fallback_has_a_source_and_a_target_in_the_file() -> None:
    pairs = [pair for item in CONFIG["router_settings"]["fallbacks"] for pair in item.items()]
    assert pairs
    for source, targets in pairs:
        assert {source, *targets} <= {DEFAULT, BULK, CHEAP, EU}


def test_fallbacks_end() -> None:
    steps = {k: v for item in CONFIG["router_settings"]["fallbacks"] for k, v in item.items()}
    for source in steps:
        seen, way = {source}, list(steps[source])
        while way:
            step = way.pop()
            assert step not in seen
            seen.add(step)
            way += steps.get(step, [])


def test_litellm_neither_repeats_calls_nor_takes_deployments_out() -> None:
    assert CONFIG["router_settings"]["num_retries"] == 0
    assert CONFIG["router_settings"]["disable_cooldowns"] is True


def test_the_handlers_are_wired() -> None:
    settings = CONFIG["litellm_settings"]
    assert settings["callbacks"] == [*CALLBACKS, *ADVISED]
    assert settings["custom_provider_map"] == [
        {"provider": "qwen3", "custom_handler": "plugins.provider.handler"}
    ]
    assert CONFIG["general_settings"]["custom_auth"] == "plugins.keys.handler"
    assert CONFIG["general_settings"]["master_key"] == "os.environ/LITELLM_MASTER_KEY"


class TestBudgets:
    budgets: dict[str, dict[str, Any]] = CONFIG["embedding_router"]["budgets"]

    def test_each_is_used_and_has_an_amount_and_a_period(self) -> None:
        assert set(self.budgets) == {row.info.get("budget") for row in ROWS} - {None}
        for budget in self.budgets.values():
            assert budget["period"] in ("lifetime", "month", "day", "hour")
            assert (budget.get("usd", 0) > 0) != (budget.get("tokens", 0) > 0)

    def test_free_credits_are_those_of_the_catalogue_and_do_not_renew(self) -> None:
        for name, entry in CATALOGUE.items():
            if entry.free and entry.free.usd:
                assert self.budgets[name] == {"usd": float(entry.free.usd), "period": "lifetime"}
        tokens = CATALOGUE["scaleway"].free
        assert tokens is not None
        assert self.budgets["scaleway-free"] == {"tokens": tokens.tokens, "period": "lifetime"}

    def test_an_account_keeps_its_budget_in_every_group(self) -> None:
        for row in ROWS:
            if row.provider.hosted and row.provider.name != "scaleway":
                assert row.info["budget"] == row.provider.name


def test_validation_finds_old_and_undated_prices_and_nothing_else() -> None:
    problems = check(PATH, today=date(2026, 11, 24))
    assert {problem.severity for problem in problems} == {"warning"}
    named = [re.search(r"the catalogue's price of (\S+) is ", p.what) for p in problems]
    hosted = {row.provider.name for row in ROWS if row.provider.hosted}
    assert sorted(match[1] for match in named if match) == sorted(hosted)
    assert all(named)


def test_every_variable_is_explained_at_the_top() -> None:
    header = TEXT.split("model_list:")[0]
    used = set(re.findall(r"os\.environ/([A-Z0-9_]+)", "\n".join(_code_lines())))
    own = {name for name in used if not name.startswith("EU_")}
    assert {name for name in own if name not in header} == set()
    assert {name.removeprefix("EU_") for name in used - own} <= own
    assert "EU_VLLM_API_BASE" in header


def test_no_secret_stands_in_the_file() -> None:
    for row in ROWS:
        assert str(row.params.get("api_key", "os.environ/")).startswith("os.environ/")


def test_the_commented_examples_are_yaml() -> None:
    for start in ("  # - model_name:", "  # keys:", "    # team:search:"):
        lines = TEXT.splitlines()
        first = next(n for n, line in enumerate(lines) if line.startswith(start))
        block = []
        for line in lines[first:]:
            if not re.match(r"\s+#\s", line):
                break
            block.append(re.sub(r"^\s+#\s", "", line))
        assert yaml.safe_load("\n".join(block))


def test_a_yaml_1_2_reader_sees_the_same() -> None:
    assert YAML(typ="safe", pure=True).load(TEXT) == CONFIG


def _code_lines() -> list[str]:
    return [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
