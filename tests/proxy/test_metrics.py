"""The metrics page of the real proxy: who may read it, and that it tells what happened."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as read

from plugins._metrics import names
from router_config.sandbox import Sandbox
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
