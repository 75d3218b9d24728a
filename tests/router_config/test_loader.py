"""Loading: what a file becomes, and that no file can break it."""

from __future__ import annotations

import copy
import hashlib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router_config import SHIPPED_CONFIG, Config, ConfigError, check, load, load_catalogue
from router_config.config import DEFAULT_INSTRUCT
from router_config.rules import RULES, Subject
from router_config.values import EnvRef

CASES = Path(__file__).with_name("cases")
TODAY = date(2026, 11, 24)


@pytest.fixture(scope="module")
def everything() -> Config:
    return load(CASES / "valid-everything.yaml", today=TODAY)


def write(tmp_path: Path, deployments: str, more: str = "") -> Path:
    """Return a valid file with *deployments* as its list and *more* at its end."""
    text = (CASES / "valid-minimal.yaml").read_text(encoding="utf-8")
    start, end = text.index("  - model_name"), text.index("litellm_settings")
    path = tmp_path / "config.yaml"
    path.write_text(text[:start] + deployments + text[end:] + more, encoding="utf-8")
    return path


def test_the_shipped_file_has_no_errors() -> None:
    assert [str(p) for p in check(SHIPPED_CONFIG) if p.severity == "error"] == []


def test_load_raises_with_all_problems_of_a_bad_file() -> None:
    path = CASES / "many-kinds-in-one-run.yaml"
    with pytest.raises(ConfigError) as raised:
        load(path, today=TODAY)
    assert list(raised.value.problems) == check(path, today=TODAY)
    assert "unknown provider" in str(raised.value)


def test_a_warning_does_not_keep_a_file_from_loading() -> None:
    config = load(CASES / "deployment-old-price.yaml", today=date(2028, 1, 1))
    assert [warning.severity for warning in config.warnings] == ["warning", "warning"]


def test_the_hash_is_of_the_bytes_of_the_file(everything: Config) -> None:
    data = (CASES / "valid-everything.yaml").read_bytes()
    assert everything.sha256 == hashlib.sha256(data).hexdigest()


def test_raw_is_the_plain_data_of_the_file(everything: Config) -> None:
    text = (CASES / "valid-everything.yaml").read_text(encoding="utf-8")
    assert everything.raw == yaml.safe_load(text)


def test_groups_are_ours_and_other_models_are_foreign(everything: Config) -> None:
    assert list(everything.groups) == ["qwen3-embedding-8b", "qwen3-embedding-8b-eu"]
    assert everything.foreign_models == {"text-embedding-3-small"}


def test_a_listed_group_is_ours_without_a_deployment_of_our_provider(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "  - model_name: vectors\n"
        "    litellm_params: {model: openai/Qwen/Qwen3-Embedding-8B}\n"
        "    model_info: {id: a, mode: embedding}\n",
        "embedding_router: {groups: {vectors: {}}}\n",
    )
    (one,) = load(path).groups["vectors"].deployments
    assert one.provider is None
    assert one.wire_model == "Qwen/Qwen3-Embedding-8B"
    assert one.usd_per_million_tokens == 0
    assert one.region == "global"


def test_the_section_gives_a_group_what_it_does_not_say_itself(everything: Config) -> None:
    first, eu = everything.groups.values()
    assert (first.attempts, first.deadline_s, first.required) == (2, 300, True)
    assert (eu.attempts, eu.deadline_s, eu.required) == (4, 12.5, False)
    assert eu.matryoshka.default == 1024
    assert eu.matryoshka.allowed == (512, 1024, 4096)
    assert first.token_inputs == "cl100k_base"
    assert (first.instruct, eu.instruct) == ("Find the answer", DEFAULT_INSTRUCT)


def test_defaults_without_a_section() -> None:
    (group,) = load(CASES / "valid-minimal.yaml", today=TODAY).groups.values()
    assert (group.attempts, group.deadline_s) == (3, 30)
    assert (group.matryoshka.default, group.matryoshka.allowed) == (4096, None)
    assert (group.token_inputs, group.region, group.fallbacks) == (None, None, ())


def test_a_group_whose_name_ends_in_eu_is_bound_to_the_eu(everything: Config) -> None:
    assert everything.groups["qwen3-embedding-8b-eu"].region == "eu"


def test_the_catalogue_fills_in_what_a_deployment_does_not_say(everything: Config) -> None:
    one = everything.groups["qwen3-embedding-8b"].deployments[0]
    provider = load_catalogue()["scaleway"]
    assert one.provider == provider
    assert one.api_base == provider.api_base
    assert one.wire_model == provider.wire_model
    assert one.limits == provider.limits
    assert one.usd_per_million_tokens == provider.price.usd_per_million_tokens
    assert (one.region, one.base64, one.normalised) == (
        (provider.region, provider.base64, provider.normalised)
    )
    assert (one.order, one.weight, one.timeout_s, one.budget) == (1, 2, 5, "scw")


def test_a_deployment_overrides_the_catalogue_in_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "  - model_name: g\n"
        "    litellm_params: {model: qwen3/deepinfra, api_base: 'https://example.com/v1'}\n"
        "    model_info: {id: a, mode: embedding, region: eu, base64: false, normalised: true,\n"
        "      wire_model: Qwen3-Embedding-8B-mine, input_cost_per_token: 0.000000015,\n"
        "      max_inputs: 7, max_input_tokens: 500, max_tokens_per_call: 900, concurrency: 3}\n",
    )
    (one,) = load(path).groups["g"].deployments
    assert one.api_base == "https://example.com/v1"
    assert one.wire_model == "Qwen3-Embedding-8B-mine"
    assert (one.region, one.base64, one.normalised) == ("eu", False, True)
    assert one.usd_per_million_tokens == Decimal("0.015")
    limits = one.limits
    assert (limits.max_inputs, limits.max_tokens_per_input) == (7, 500)
    assert (limits.max_tokens_per_call, limits.concurrency) == (900, 3)


def test_options_are_laid_over_those_of_the_catalogue(everything: Config) -> None:
    own = everything.groups["qwen3-embedding-8b"].deployments[1]
    catalogue = load_catalogue()["ollama"].options
    assert own.options == {**catalogue, "num_ctx": 8192, "keep_alive": "5m"}


def test_a_reference_is_kept_as_a_reference(everything: Config) -> None:
    first, own = everything.groups["qwen3-embedding-8b"].deployments
    assert first.api_key == EnvRef("SCW_SECRET_KEY")
    assert own.api_base == EnvRef("OLLAMA_API_BASE")


def test_keys_and_budgets_are_read_by_name(everything: Config) -> None:
    key = everything.keys["search"]
    assert key.sha256 == ("a" * 64, "b" * 64)
    assert key.groups == ("qwen3-embedding-8b", "text-embedding-3-small")
    assert (key.team, key.region, key.rpm, key.not_after) == (
        ("search", "eu", 600, date(2027, 1, 31))
    )
    assert everything.budgets["scw"].tokens == 1_000_000
    assert everything.budgets["key:*"].usd == Decimal("0.50")


def test_money_is_read_as_it_is_written(tmp_path: Path) -> None:
    more = "embedding_router: {budgets: {user:a: {usd: 0.100000001, period: day}}}\n"
    deployment = (
        "  - model_name: g\n    litellm_params: {model: qwen3/scaleway}\n"
        "    model_info: {id: a, mode: embedding}\n"
    )
    budget = load(write(tmp_path, deployment, more)).budgets["user:a"]
    assert budget.usd == Decimal("0.100000001")


@pytest.mark.parametrize(
    ("settings_text", "expected"),
    [
        ("fallbacks: [{a: [b, c]}]", {"a": ("b", "c"), "b": (), "c": ()}),
        ("default_fallbacks: [c]", {"a": ("c",), "b": ("c",), "c": ()}),
        ("fallbacks: [{'*': [b]}]", {"a": ("b",), "b": (), "c": ("b",)}),
        ("fallbacks: [{a: [b]}]\n  default_fallbacks: [c]", {"a": ("b",), "b": ("c",), "c": ()}),
    ],
)
def test_fallbacks_are_those_that_litellm_would_take(
    tmp_path: Path, settings_text: str, expected: dict[str, tuple[str, ...]]
) -> None:
    deployments = "".join(
        f"  - model_name: {name}\n    litellm_params: {{model: qwen3/scaleway}}\n"
        f"    model_info: {{id: {name}, mode: embedding}}\n"
        for name in "abc"
    )
    path = write(tmp_path, deployments)
    text = path.read_text(encoding="utf-8").replace(
        "router_settings: {num_retries: 0, disable_cooldowns: true}",
        f"router_settings:\n  num_retries: 0\n  disable_cooldowns: true\n  {settings_text}",
    )
    path.write_text(text, encoding="utf-8")
    groups = load(path).groups
    assert {name: group.fallbacks for name, group in groups.items()} == expected


def test_nothing_of_a_configuration_can_be_changed(everything: Config) -> None:
    with pytest.raises(ValueError, match="frozen"):
        everything.max_body_mb = 1


def test_no_secret_shows_in_the_repr_of_a_configuration(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "  - model_name: g\n"
        "    litellm_params: {model: qwen3/vllm, api_key: none, api_base: 'http://gpu/v1'}\n"
        "    model_info: {id: a, mode: embedding}\n",
    )
    (one,) = load(path).groups["g"].deployments
    assert "api_key=Secret('***')" in repr(one)


def test_every_rule_has_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    spoke: set[str] = set()

    def listening(rule: Any) -> Any:
        def listen(subject: Subject) -> Any:
            found = list(rule(subject))
            if found:
                spoke.add(f"{rule.__module__}.{rule.__name__}")
            return found

        return listen

    monkeypatch.setattr("router_config.loader.RULES", tuple(map(listening, RULES)))
    for path in CASES.glob("*.yaml"):
        check(path, today=TODAY)
    assert {f"{rule.__module__}.{rule.__name__}" for rule in RULES} - spoke == set()


_BASE: dict[str, Any] = yaml.safe_load(
    (CASES / "valid-everything.yaml").read_text(encoding="utf-8")
)
_SECRET = "sk-proj-0123456789abcdefghij"
_junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.sampled_from(["", "x", "qwen3/scaleway", "os.environ/X", "https://u:p@h/", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        found += _paths(item, (*path, key)) if isinstance(item, dict | list) else [(*path, key)]
    return found


_places = st.sampled_from(_paths(_BASE))


def _put(data: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        if not isinstance(data, dict | list):
            return
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, dict) or (isinstance(data, list) and path[-1] in range(len(data))):
        data[path[-1]] = value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(_places, _junk), min_size=1, max_size=6))
def test_no_file_can_make_the_check_fail(
    tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    data = copy.deepcopy(_BASE)
    for path, value in changes:
        _put(data, path, value)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    problems = check(file, environ={}, today=TODAY)
    assert problems == sorted(problems, key=lambda one: (one.line, one.column))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=_places)
def test_a_secret_in_any_place_is_never_printed(tmp_path: Path, path: tuple[Any, ...]) -> None:
    data = copy.deepcopy(_BASE)
    _put(data, path, _SECRET)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    problems = check(file, environ={}, today=TODAY)
    assert [str(one) for one in problems if _SECRET in str(one)] == []
    assert any(one.severity == "error" for one in problems)
