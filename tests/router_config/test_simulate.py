"""`qwen3-router simulate`: a traffic against a config on a virtual clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from router_config import SHIPPED_CONFIG
from router_config.cli import main
from router_config.simulation import traffic
from tests.sizes import size

GROUP = "qwen3-embedding-8b"
START = "2026-11-30T22:00:00+00:00"
Simulate = Callable[..., Any]


def entry(id_: str, provider: str, order: int, **info: Any) -> dict[str, Any]:
    weight = info.pop("weight", 1)
    return {
        "model_name": GROUP,
        "litellm_params": {
            "model": f"qwen3/{provider}",
            "api_key": f"os.environ/{id_.upper().replace('-', '_')}_API_KEY",
            "order": order,
            "weight": weight,
        },
        "model_info": {"id": id_, "mode": "embedding", **info},
    }


def write(path: Path, entries: list[dict[str, Any]], **section: Any) -> Path:
    shipped = yaml.safe_load(SHIPPED_CONFIG.read_text())
    config = {
        **shipped,
        "model_list": entries,
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "embedding_router": {"attempts": 3, **section},
    }
    path.write_text(yaml.safe_dump(config))
    return path


ONE_TWO = [entry("one", "deepinfra", 1), entry("two", "nebius", 2)]


@pytest.fixture
def simulate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Simulate:
    def run(path: Path, *options: str, code: int = 0) -> Any:
        given_ = ["--config", str(path), "--all-keys", "--format", "json", *options]
        if "--trace" not in options:
            given_ += ["--start", START]
        assert main(["simulate", *given_]) == code, capsys.readouterr().err
        printed = capsys.readouterr()
        return json.loads(printed.out) if code == 0 else printed.err

    return run


def shares(found: Any) -> dict[str, float]:
    return {id_: one["share"] for id_, one in found["deployments"].items()}


def test_weights_become_shares(tmp_path: Path, simulate: Simulate) -> None:
    entries = [entry("one", "deepinfra", 1, weight=3), entry("two", "nebius", 1, weight=1)]
    found = simulate(write(tmp_path / "c.yaml", entries), "--rate", "10", "--for", "10m")
    assert found["answered"] == found["requests"] > 5000
    assert shares(found)["one"] == pytest.approx(0.75, abs=0.03)


def test_the_same_seed_gives_the_same_figures(tmp_path: Path, simulate: Simulate) -> None:
    path = write(tmp_path / "c.yaml", [entry("one", "deepinfra", 1), entry("two", "nebius", 1)])
    first, again, other = (
        simulate(path, "--rate", "5", "--for", "1m", "--seed", seed) for seed in ("1", "1", "2")
    )
    assert first == again != other


def test_a_free_quota_ends_at_the_last_token_that_fits(tmp_path: Path, simulate: Simulate) -> None:
    budgets = {"free": {"tokens": 10_000, "period": "lifetime"}}
    entries = [entry("one", "deepinfra", 1, budget="free"), entry("two", "nebius", 2)]
    path = write(tmp_path / "c.yaml", entries, budgets=budgets)
    found = simulate(path, "--rate", "1", "--for", "10m", "--tokens", "100")
    # Held is the worst case, a token an input and two per cent more: 99 times 100 and 103 fit.
    assert found["deployments"]["one"]["tokens"] == 9_900
    assert found["errors"] == {}


def test_a_request_that_falls_back_is_paid_by_both_groups(
    tmp_path: Path, simulate: Simulate
) -> None:
    """At a full fallback group the next one is asked; the full group that was asked ends it."""
    behind, last = entry("two", "nebius", 1), entry("three", "novita", 1)
    behind["model_name"], last["model_name"] = "behind", "last"
    budgets = {
        f"group:{GROUP}": {"tokens": 10_000, "period": "lifetime"},
        "group:behind": {"tokens": 2_000, "period": "lifetime"},
        "none": {"tokens": 1, "period": "lifetime"},
    }
    one = entry("one", "deepinfra", 1, budget="none")
    path = write(tmp_path / "c.yaml", [one, behind, last], budgets=budgets)
    config = yaml.safe_load(path.read_text())
    config["router_settings"]["fallbacks"] = [{GROUP: ["behind", "last"]}]
    path.write_text(yaml.safe_dump(config))
    found = simulate(path, "--rate", "1", "--for", "10m", "--tokens", "100")
    tokens = {id_: one["tokens"] for id_, one in found["deployments"].items()}
    assert tokens == {"two": 1_900, "three": 8_000}
    assert set(found["errors"]) == {"budget_exceeded"}


def test_a_budget_starts_again_with_its_month(tmp_path: Path, simulate: Simulate) -> None:
    budgets = {"paid": {"tokens": 1_000, "period": "month"}}
    path = write(
        tmp_path / "c.yaml", [entry("one", "deepinfra", 1, budget="paid")], budgets=budgets
    )
    found = simulate(path, "--rate", "1", "--for", "4h", "--tokens", "97")
    # Two hours of November and two of December: ten times each.
    assert found["deployments"]["one"]["calls"] == 2 * 10
    assert set(found["errors"]) == {"no_deployment_available"}


def test_an_outage_sends_the_traffic_on_and_it_comes_back(
    tmp_path: Path, simulate: Simulate
) -> None:
    path = write(tmp_path / "c.yaml", ONE_TWO)
    found = simulate(path, "--rate", "5", "--for", "40m", "--outage", "one:error@10m+10m")
    assert found["answered"] == found["requests"]
    assert 0.25 <= shares(found)["two"] < 0.45
    # Ejected after a few, then tried now and then: not once for each of the 3,000 requests.
    assert 3 <= found["deployments"]["one"]["failed"]["server"] < 150
    assert found["deployments"]["one"]["ejections"] >= 1


@pytest.mark.parametrize("kind", ["down", "hang", "busy", "rate", "key", "credit"])
def test_no_kind_of_outage_reaches_a_client(tmp_path: Path, simulate: Simulate, kind: str) -> None:
    path = write(tmp_path / "c.yaml", ONE_TWO)
    found = simulate(path, "--rate", "2", "--for", "10m", "--outage", f"deepinfra:{kind}@1m+5m")
    assert found["answered"] == found["requests"]
    assert sum(found["deployments"]["one"]["failed"].values()) < 60


def test_with_everybody_down_the_errors_are_counted(tmp_path: Path, simulate: Simulate) -> None:
    path = write(tmp_path / "c.yaml", ONE_TWO)
    options = ("--outage", "one@1m+5m", "--outage", "two@1m+5m")
    found = simulate(path, "--rate", "2", "--for", "10m", *options)
    lost = found["requests"] - found["answered"]
    assert found["errors"] == {"no_deployment_available": lost}
    assert 0.4 < lost / found["requests"] < 0.6


def test_a_price_changes_what_is_spent_from_then_on(tmp_path: Path, simulate: Simulate) -> None:
    path = write(tmp_path / "c.yaml", ONE_TWO)
    options = ("--rate", "5", "--for", "20m")
    usual = simulate(path, *options, "--price", "one=1")
    later = simulate(path, *options, "--price", "one=1", "--price", "deepinfra=3@10m")
    assert later["usd"] / usual["usd"] == pytest.approx(2, rel=0.05)


def test_two_configs_meet_the_same_traffic(tmp_path: Path, simulate: Simulate) -> None:
    path = write(tmp_path / "c.yaml", ONE_TWO)
    swapped = [entry("one", "deepinfra", 2), entry("two", "nebius", 1)]
    other = write(tmp_path / "d.yaml", swapped)
    one, two = simulate(path, "--against", str(other), "--rate", "5", "--for", "2m")
    assert one["requests"] == two["requests"]
    assert (shares(one), shares(two)) == ({"one": 1.0}, {"two": 1.0})


def test_a_long_span_is_thinned_and_says_so(
    tmp_path: Path, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_config.cli.simulate._MOST", 1_000)
    budgets = {"free": {"tokens": 1_000_000, "period": "lifetime"}}
    entries = [entry("one", "deepinfra", 1, budget="free"), entry("two", "nebius", 2)]
    path = write(tmp_path / "c.yaml", entries, budgets=budgets)
    found = simulate(path, "--rate", "10", "--for", "1h")
    assert found["factor"] == 36
    assert found["requests"] == pytest.approx(36_000, rel=0.15)
    assert found["deployments"]["one"]["tokens"] == pytest.approx(1_000_000, rel=0.02)


def test_the_tables_say_it_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, other = write(tmp_path / "c.yaml", ONE_TWO), write(tmp_path / "d.yaml", ONE_TWO[1:])
    command = ["simulate", "--config", str(path), "--against", str(other), "--all-keys"]
    assert main([*command, "--rate", "1", "--for", "2m"]) == 0
    printed = capsys.readouterr().out
    assert "answered (100.00%)" in printed
    assert "difference" in printed
    assert "100.0% -> 0.0%" in printed


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_chart_is_drawn(tmp_path: Path, simulate: Simulate, suffix: str) -> None:
    path, chart = write(tmp_path / "c.yaml", ONE_TWO), tmp_path / f"chart{suffix}"
    simulate(path, "--against", str(path), "--rate", "1", "--for", "5m", "--plot", str(chart))
    begin = chart.read_bytes()[:200]
    assert begin.startswith(b"\x89PNG") if suffix == ".png" else b"<?xml" in begin


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "0"], "must be positive"),
        (["--rate", "1", "--for", "1 day"], "'1 day' is not a time such as"),
        (["--rate", "1", "--outage", "one"], "write WHO[:"),
        (["--rate", "1", "--outage", "one:fire@1h+1h"], "write WHO[:"),
        (["--rate", "1", "--outage", "noone@1h+1h"], "'noone' is no deployment or provider"),
        (["--rate", "1", "--price", "one=free"], "write WHO=USD"),
        (["--rate", "1", "--latency", "one"], "write WHO=VALUE"),
        (["--rate", "1", "--failing", "one=2"], "not a share"),
        (["--rate", "1", "--plot", "x.pdf"], "name a .png or .svg file"),
        (["other", "--rate", "1"], "no model group 'other'"),
        (["--trace", "/nowhere/log.jsonl"], "No such file"),
    ],
)
def test_options_that_mean_nothing_are_explained(
    tmp_path: Path, simulate: Simulate, options: list[str], said: str
) -> None:
    assert said in simulate(write(tmp_path / "c.yaml", ONE_TWO), *options, code=2)


def test_a_line_that_is_not_of_the_log_is_named(tmp_path: Path, simulate: Simulate) -> None:
    trace = tmp_path / "log.jsonl"
    trace.write_text('{"event": "dropped", "at": "2026-11-24T10:00:00Z"}\n{"at": 1}\n')
    path = write(tmp_path / "c.yaml", ONE_TWO)
    assert "log.jsonl:2: not a line" in simulate(path, "--trace", str(trace), code=2)


@given(
    st.integers(1, 50).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.integers(1, 900), min_size=n, max_size=n))
    )
)
def test_the_counts_of_a_replayed_request_add_up(case: tuple[int, list[int]]) -> None:
    n, tokens = case
    event = {
        "event": "request",
        "at": 1.0,
        "group": GROUP,
        "inputs": n,
        "tokens": sum(tokens),
        "longest": max(tokens),
    }
    (request,) = traffic.replayed([event])
    assert len(request.counts) == n
    assert sum(request.counts) == sum(tokens)
    assert max(request.counts) == max(tokens)


def test_a_whole_day_is_played(tmp_path: Path, simulate: Simulate) -> None:
    path = write(tmp_path / "c.yaml", ONE_TWO)
    found = simulate(path, "--rate", str(size(1, 10)), "--for", "1d" if size(0, 1) else "20m")
    assert found["factor"] == 1
    assert found["answered"] == found["requests"]
