"""The catalogue: every fact has a source and a date, and the file says what it does not know."""

from __future__ import annotations

import json
import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from router_config.catalogue import (
    DIALECTS,
    FACTS,
    SHIPPED_CATALOGUE,
    Limits,
    Price,
    Provider,
    catalogue_schema,
    load_catalogue,
)
from router_config.problems import ConfigError

CATALOGUE = load_catalogue()
HOSTED = {name: entry for name, entry in CATALOGUE.items() if entry.hosted}
OWN = {name: entry for name, entry in CATALOGUE.items() if not entry.hosted}
EVERY = pytest.mark.parametrize("entry", CATALOGUE.values(), ids=list(CATALOGUE))


def test_the_fourteen_entries_are_shipped() -> None:
    assert set(CATALOGUE) == {*DIALECTS, "siliconflow-cn"}


def test_an_entry_knows_its_own_name() -> None:
    assert all(entry.name == name for name, entry in CATALOGUE.items())


def test_prices_are_those_that_the_sources_support() -> None:
    prices = {name: entry.price.usd_per_million_tokens for name, entry in HOSTED.items()}
    assert prices == {
        "scaleway": Decimal("0.11761"),  # 0.10 EUR
        "siliconflow": Decimal("0.04"),
        "siliconflow-cn": Decimal("0.04"),
        "deepinfra": Decimal("0.01"),
        "fireworks": Decimal("0.1"),
        "openrouter": Decimal("0.01"),
        "nebius": Decimal("0.01"),
        "novita": Decimal("0.07"),
        "openai": Decimal("0.12"),
    }


def test_the_model_cards_prices_stand_beside_todays() -> None:
    cards = {name: e.model_card for name, e in HOSTED.items() if e.model_card is not None}
    assert {name: card.usd_per_million_tokens for name, card in cards.items()} == {
        "scaleway": Decimal("0.02"),
        "siliconflow": Decimal("0.02"),
        "deepinfra": Decimal("0.05"),
        "fireworks": Decimal("0.02"),
        "openrouter": Decimal("0.01"),
    }
    assert {card.as_of for card in cards.values()} == {date(2026, 2, 20)}


def test_a_model_card_figure_that_no_longer_holds_says_so() -> None:
    for entry in HOSTED.values():
        card = entry.model_card
        if card and card.usd_per_million_tokens != entry.price.usd_per_million_tokens:
            assert card.note, entry.name


def test_the_model_cards_free_allowances_stand_beside_todays() -> None:
    free = {name: e.free for name, e in CATALOGUE.items() if e.free}
    assert {name: allowance.usd or allowance.tokens for name, allowance in free.items()} == {
        "scaleway": 1_000_000,
        "siliconflow": Decimal("1.0"),
        "deepinfra": Decimal("1.8"),
        "fireworks": Decimal("5.0"),
        "nebius": Decimal("1.0"),
    }


def test_no_free_allowance_is_taken_to_renew_itself() -> None:
    assert {e.free.resets for e in CATALOGUE.values() if e.free} <= {"never", "unknown"}


@EVERY
def test_every_fact_has_exactly_one_source(entry: Provider) -> None:
    for fact in FACTS:
        if fact != "options" or entry.options:
            assert entry.source_of(fact).source


def test_an_unknown_fact_has_no_source() -> None:
    with pytest.raises(KeyError):
        CATALOGUE["scaleway"].source_of("colour")


@EVERY
def test_a_decision_of_ours_says_why_unless_it_is_only_about_timing(entry: Provider) -> None:
    quiet = {"timeouts", "limits.max_tokens_per_call", "limits.concurrency", "normalised"}
    quiet |= {"region", "upstreams", "limits.max_tokens_per_input"} if not entry.hosted else set()
    for source in entry.sources:
        if source.trust == "choice" and not set(source.facts) <= quiet:
            assert source.note, source.facts


@EVERY
def test_base64_and_length_one_are_claimed_only_where_verified(entry: Provider) -> None:
    for fact, claimed in (("base64", entry.base64), ("normalised", entry.normalised)):
        if claimed:
            assert entry.source_of(fact).trust == "vendor"


def test_only_own_servers_are_free_and_local() -> None:
    assert set(OWN) == {"ollama", "vllm", "tei", "infinity", "llamacpp"}
    for entry in OWN.values():
        assert entry.price.usd_per_million_tokens == 0
        assert entry.region == "local"
        assert entry.key_env is None
    assert all(e.price.usd_per_million_tokens > 0 for e in HOSTED.values())


def test_hosted_providers_name_the_variable_of_their_key() -> None:
    names = {name: e.key_env for name, e in HOSTED.items() if name != "openai"}
    assert names == {
        "scaleway": "SCW_SECRET_KEY",
        "siliconflow": "SILICONFLOW_API_KEY",
        "siliconflow-cn": "SILICONFLOW_CN_API_KEY",
        "deepinfra": "DEEPINFRA_API_KEY",
        "fireworks": "FIREWORKS_API_KEY",
        "openrouter": "OPENROUTER_API_KEY",
        "nebius": "NEBIUS_API_KEY",
        "novita": "NOVITA_API_KEY",
    }


def test_only_a_provider_whose_own_page_says_so_counts_as_european() -> None:
    european = [name for name, e in CATALOGUE.items() if e.region == "eu"]
    assert european == ["scaleway"]
    assert CATALOGUE["scaleway"].source_of("region").trust == "vendor"


def test_a_reseller_and_its_upstreams_share_owners() -> None:
    for upstream in ("nebius", "deepinfra", "siliconflow", "siliconflow-cn"):
        assert set(CATALOGUE[upstream].upstreams) & set(CATALOGUE["openrouter"].upstreams)


def test_batch_limits_are_the_documented_ones_up_to_256_inputs() -> None:
    assert {name: e.limits.max_inputs for name, e in CATALOGUE.items()} == {
        "scaleway": 256,
        "siliconflow": 32,
        "siliconflow-cn": 32,
        "deepinfra": 256,
        "fireworks": 256,
        "openrouter": 32,
        "nebius": 32,
        "novita": 32,
        "ollama": 32,
        "vllm": 256,
        "tei": 32,
        "infinity": 256,
        "llamacpp": 32,
        "openai": 32,
    }


@EVERY
def test_the_longest_text_always_fits_into_a_call(entry: Provider) -> None:
    limits = entry.limits
    assert limits.max_tokens_per_input >= 32_000
    assert (limits.max_tokens_per_call or limits.max_tokens_per_input) >= 32_000


@EVERY
def test_own_servers_get_more_time_than_hosted_providers(entry: Provider) -> None:
    if entry.hosted:
        assert entry.attempt_timeout_s <= 30
    else:
        assert entry.attempt_timeout_s == 120
    assert entry.timeout_s_per_1k_tokens > 0


def test_ollama_is_told_its_context_length() -> None:
    options = CATALOGUE["ollama"].options
    assert options["num_ctx"] >= CATALOGUE["ollama"].limits.max_tokens_per_input
    assert options["num_batch"] <= options["num_ctx"]


def test_infinity_counts_characters() -> None:
    assert [n for n, e in CATALOGUE.items() if e.usage_counts == "characters"] == ["infinity"]


@EVERY
def test_no_source_is_from_the_future(entry: Provider) -> None:
    dates = [source.as_of for source in entry.sources]
    dates += [quirk.as_of for quirk in entry.quirks]
    dates.append(entry.price.as_of)
    assert all(day is None or day <= date(2026, 11, 24) for day in dates)


class TestPrice:
    def price(self, **more: Any) -> Price:
        given: dict[str, Any] = {"usd_per_million_tokens": "0.04", "source": "page"}
        return Price(**given, **({"as_of": date(2026, 9, 1)} | more))

    def test_is_fresh_for_ninety_days(self) -> None:
        assert not self.price().is_stale(date(2026, 11, 30))
        assert self.price().is_stale(date(2026, 12, 1))

    def test_is_stale_without_a_date(self) -> None:
        assert self.price(as_of=None).is_stale(date(2026, 9, 1))

    def test_is_stale_when_its_exchange_rate_is(self) -> None:
        euros = {"currency": "EUR", "amount": "0.02", "usd_per_unit": "2", "rate_source": "bank"}
        assert self.price(**euros, rate_as_of=date(2026, 1, 1)).is_stale(date(2026, 9, 1))
        assert not self.price(**euros, rate_as_of=date(2026, 9, 1)).is_stale(date(2026, 9, 1))

    def test_of_own_hardware_does_not_age(self) -> None:
        own = Price(
            usd_per_million_tokens=Decimal(0),
            source="own",
            trust="choice",
            as_of=date(2020, 1, 1),
        )
        assert not own.is_stale(date(2026, 9, 1))

    def test_in_another_currency_needs_a_dated_rate(self) -> None:
        with pytest.raises(ValidationError, match="needs amount, usd_per_unit"):
            self.price(currency="EUR", amount="0.04")

    def test_in_another_currency_must_agree_with_its_rate(self) -> None:
        rate = {"usd_per_unit": "1.2", "rate_as_of": date(2026, 9, 1), "rate_source": "bank"}
        with pytest.raises(ValidationError, match="not amount x usd_per_unit"):
            self.price(currency="EUR", amount="0.04", **rate)

    def test_in_dollars_has_no_rate(self) -> None:
        with pytest.raises(ValidationError, match="belong to a price in another currency"):
            self.price(amount="0.04")

    def test_keeps_the_digits_of_the_file(self) -> None:
        assert str(CATALOGUE["deepinfra"].price.usd_per_million_tokens) == "0.01"


def test_a_call_limit_below_the_input_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="smaller than max_tokens_per_input"):
        Limits(max_inputs=1, max_tokens_per_input=100, max_tokens_per_call=99, concurrency=1)


class TestBadFile:
    """What a wrong catalogue file is answered: every problem, with its place."""

    def problems(self, tmp_path: Path, old: str, new: str) -> list[str]:
        text = SHIPPED_CATALOGUE.read_text(encoding="utf-8")
        assert text.count(old) >= 1
        path = tmp_path / "providers.yaml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_catalogue(path)
        return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]

    def test_a_fact_without_a_source(self, tmp_path: Path) -> None:
        found = self.problems(tmp_path, "[key_env, base64, usage_counts]", "[key_env, base64]")
        assert len(found) == 1
        assert ": providers.scaleway: no source for usage_counts; " in found[0]

    def test_a_fact_with_two_sources(self, tmp_path: Path) -> None:
        found = self.problems(tmp_path, "for: [limits.concurrency]", "for: [timeouts]")
        assert "no source for limits.concurrency" in found[0]
        found = self.problems(tmp_path, "[key_env, base64,", "[key_env, api_base, base64,")
        assert "more than one source for api_base" in found[0]

    def test_a_fact_that_does_not_exist(self, tmp_path: Path) -> None:
        found = self.problems(tmp_path, "for: [limits.concurrency]", "for: [limits.colour]")
        assert "not a fact: limits.colour; known: api_base, " in found[0]

    def test_an_unknown_key_has_its_line(self, tmp_path: Path) -> None:
        lines = SHIPPED_CATALOGUE.read_text(encoding="utf-8").splitlines()
        line = lines.index("    region: eu") + 1
        found = self.problems(tmp_path, "    region: eu\n", "    regoin: eu\n    region: eu\n")
        assert found[0].startswith(f"providers.yaml:{line}:5: providers.scaleway.regoin: unknown")

    def test_a_hosted_provider_at_price_zero(self, tmp_path: Path) -> None:
        found = self.problems(tmp_path, "_tokens: 0.04", "_tokens: 0")
        assert "0 is possible for own servers only" in found[0]

    def test_base64_that_nobody_verified(self, tmp_path: Path) -> None:
        source = "trust: vendor\n        for: [api_base, base64]"  # DeepInfra's
        found = self.problems(tmp_path, source, source.replace("vendor", "report"))
        assert "base64: true needs a source with trust: vendor" in found[0]

    def test_a_duplicate_key(self, tmp_path: Path) -> None:
        found = self.problems(tmp_path, "    region: eu\n", "    region: eu\n    region: us\n")
        assert "region" in found[0]

    def test_several_at_once(self, tmp_path: Path) -> None:
        text = "    hosted: true\n    # To bill"
        found = self.problems(tmp_path, text, "    hosted: maybe\n    colour: red\n    # To bill")
        assert len(found) == 2

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            load_catalogue(tmp_path / "none.yaml")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "providers.yaml"
    shutil.copy(SHIPPED_CATALOGUE, path)
    before = load_catalogue(path)["deepinfra"].limits.concurrency
    text = path.read_text(encoding="utf-8").replace(f"concurrency: {before}", "concurrency: 7")
    path.write_text(text, encoding="utf-8")
    assert load_catalogue(path)["deepinfra"].limits.concurrency == 7


def test_the_catalogue_cannot_be_changed_by_a_caller() -> None:
    load_catalogue().clear()
    assert load_catalogue()
    with pytest.raises(ValidationError):
        CATALOGUE["scaleway"].region = "us"


class TestSchema:
    """What editors check while an operator types."""

    schema = json.loads(SHIPPED_CATALOGUE.with_name("providers.schema.json").read_text("utf-8"))

    def read_as_yaml_1_2(self, text: str) -> Any:
        plain = YAML(typ="safe", pure=True).load(text)
        return json.loads(json.dumps(plain, default=str))  # editors see a date as text

    def test_is_in_step_with_the_models(self) -> None:
        shipped = SHIPPED_CATALOGUE.with_name("providers.schema.json").read_text("utf-8")
        assert shipped == catalogue_schema(), (
            "write it anew: python -c 'from router_config.catalogue import catalogue_schema; "
            'print(catalogue_schema(), end="")\' > router_config/providers.schema.json'
        )

    def test_accepts_the_shipped_file(self) -> None:
        text = SHIPPED_CATALOGUE.read_text(encoding="utf-8")
        jsonschema.Draft202012Validator.check_schema(self.schema)
        jsonschema.Draft202012Validator(self.schema).validate(self.read_as_yaml_1_2(text))

    def test_refuses_an_unknown_key(self) -> None:
        text = SHIPPED_CATALOGUE.read_text(encoding="utf-8").replace("title:", "titel:", 1)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(self.schema).validate(self.read_as_yaml_1_2(text))
