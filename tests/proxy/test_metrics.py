"""The metrics page of the real proxy: who may read it, and that it tells what happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as read

from plugins._metrics import names
from router_config.sandbox import Sandbox
from tests.deploy.test_monitoring import promql, queries
from tests.proxy import configs
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(proxy: Proxy, path: str = "/router/metrics") -> Samples:
    reply = proxy.get(path, key=configs.METRICS_TOKEN)
    assert reply.status_code == 200, reply.text
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in read(reply.text)
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((f"qwen3_router_{name}", tuple(sorted(labels.items()))), 0.0)


def test_failover_is_counted_by_deployment_and_class(proxy: Proxy, box: Sandbox) -> None:
    group, failing = configs.pair("novita"), f"{configs.pair('novita')}--novita"
    before = scrape(proxy)
    box.fault("novita", "status", status=500)
    reply = proxy.post({"model": group, "input": ["a", "b", "c"]})
    assert reply.status_code == 200
    box.reset()
    after = scrape(proxy)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("requests_total", group=group, status="200", code="ok") == 1
    assert grown("attempts_total", deployment=failing, outcome="server") == 1
    assert grown("attempts_total", deployment=f"{group}--openai", outcome="ok") == 1
    assert grown("failovers_total", group=group) == 1
    assert grown("inputs_total", group=group) == 3
    assert grown("request_seconds_count", group=group) == 1
    assert grown("upstream_seconds_count", deployment=f"{group}--openai") == 1
    assert grown("tokens_total", deployment=f"{group}--openai") > 0
    assert box.journal("openai") == []  # a scrape calls nobody


def test_a_provider_that_counts_otherwise_is_seen(proxy: Proxy, box: Sandbox) -> None:
    group = configs.solo("deepinfra")
    box.fault("deepinfra", "usage_inflated", factor=1.5, times=1)
    before = scrape(proxy)
    assert proxy.post({"model": group, "input": "word " * 100}).status_code == 200
    after = scrape(proxy)
    billed, counted = (
        value(after, name, deployment=f"{group}--deepinfra")
        - value(before, name, deployment=f"{group}--deepinfra")
        for name in ("tokens_total", "counted_tokens_total")
    )
    assert 1.4 * counted < billed < 1.6 * counted


def test_errors_of_clients_are_counted_by_code(proxy: Proxy, box: Sandbox) -> None:
    before = scrape(proxy)
    proxy.post({"model": configs.solo("vllm"), "input": "x", "dimensions": 1})
    proxy.post({"model": "no-such-model", "input": "x"})
    after = scrape(proxy)
    for group, status, code in (
        (configs.solo("vllm"), "400", "invalid_dimensions"),
        ("", "404", "model_not_found"),
    ):
        labels = {"group": group, "status": status, "code": code}
        grown = value(after, "requests_total", **labels) - value(before, "requests_total", **labels)
        assert grown == 1


def test_standing_and_facts_of_every_deployment_are_told(proxy: Proxy, box: Sandbox) -> None:
    found = scrape(proxy)
    assert value(found, "deployment_standing", deployment="nobody--deepinfra", standing="off") == 1
    assert value(found, "deployment_standing", deployment="nobody--deepinfra", standing="fine") == 0
    assert value(found, "config_last_reload_success") == 1
    assert value(found, "ledger_up") == 1
    assert value(found, "workers") == 1


def test_every_series_has_a_name_of_the_table(proxy: Proxy, box: Sandbox) -> None:
    proxy.post({"model": configs.solo("vllm"), "input": "x"})
    assert {name for name, _ in scrape(proxy)} <= names()


# -- what alerts and dashboard ask for

# Of these the shared proxy has no sample: it proves no space and ejects nobody.
NOT_HERE = {"qwen3_router_parity_cosine", "qwen3_router_ejections_total"}


def asked(query: str) -> dict[str, set[str]]:
    """Return every series that *query* reads, and the labels that it looks at."""
    found: dict[str, set[str]] = {}

    def walk(node: Any, below: frozenset[str]) -> None:
        kind = type(node).__name__
        modifier = getattr(node, "modifier", None)
        if kind == "AggregateExpr" and modifier is not None and str(modifier).startswith("by"):
            below = frozenset(modifier.labels)  # what is outside sees these only
        if kind == "MatrixSelector":
            node = node.vector_selector
        if type(node).__name__ == "VectorSelector":
            matchers = {one.name for one in node.matchers.matchers}
            found.setdefault(node.name, set()).update(matchers | below)
            return
        if kind == "BinaryExpr" and modifier is not None and modifier.matching is not None:
            shared = frozenset(modifier.matching.labels)
            brought = frozenset(modifier.group_labels or ())  # by the side of which there is one
            walk(node.lhs, (below - brought) | shared)
            walk(node.rhs, brought | shared)
            return
        for name in ("lhs", "rhs", "expr", "args"):
            value = getattr(node, name, None)
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    walk(one, below)

    walk(promql.parse(query.replace("$__rate_interval", "5m")), frozenset())
    return found


def unknown(queries: Iterable[str], found: Samples) -> list[str]:
    """Return what *queries* ask for and *found*, a scrape, does not have."""
    labels: dict[str, set[str]] = {}
    for name, pairs in found:
        labels.setdefault(name, {"instance", "job"}).update(label for label, _ in pairs)
    missing = []
    for query in queries:
        for name, wanted in asked(query).items():
            if name == "up" or name in NOT_HERE:
                continue
            if name not in labels:
                missing.append(f"{query}: no series {name}")
            elif wanted - labels[name]:
                missing.append(f"{query}: {name} has no {sorted(wanted - labels[name])}")
    return missing


def test_alerts_and_dashboard_ask_for_what_a_real_scrape_has(proxy: Proxy, box: Sandbox) -> None:
    proxy.post({"model": configs.solo("vllm"), "input": "x"})
    found = scrape(proxy)
    assert len(list(queries())) > 20
    assert unknown(queries(), found) == []
    # And it would be found out.
    for wrong in (
        "rate(qwen3_router_requests[5m]) > 0",
        'qwen3_router_ledger_up{worker="1"} == 0',
        "sum by (model) (rate(qwen3_router_attempts_total[5m]))",
        "qwen3_router_ledger_up * on (deployment) group_left (group) qwen3_router_workers",
    ):
        assert unknown([wrong], found) != []


def test_plain_path_tells_the_same_where_litellm_has_none(proxy: Proxy) -> None:
    assert value(scrape(proxy, "/metrics"), "ledger_up") == 1


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer sk-wrong"}, 401),
        ({"authorization": "Basic !!!"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": f"Bearer {configs.KEYS['search']}"}, 401),
        ({"authorization": f"Bearer {MASTER_KEY}"}, 200),
        ({"authorization": f"bearer {configs.METRICS_TOKEN}"}, 200),
    ],
)
def test_only_token_and_master_key_open_it(
    proxy: Proxy, authorization: dict[str, str], status: int
) -> None:
    reply = httpx.get(f"{proxy.base}/router/metrics", headers=authorization, **PLAIN)
    assert reply.status_code == status
    assert ("www-authenticate" in reply.headers) == (status == 401)


def test_password_of_basic_is_a_key_too(proxy: Proxy) -> None:
    reply = httpx.get(
        f"{proxy.base}/router/metrics", auth=("prometheus", configs.METRICS_TOKEN), **PLAIN
    )
    assert reply.status_code == 200


def test_nothing_can_be_written_there(proxy: Proxy) -> None:
    reply = httpx.post(f"{proxy.base}/router/metrics", auth=("any", MASTER_KEY), **PLAIN)
    assert reply.status_code == 405
