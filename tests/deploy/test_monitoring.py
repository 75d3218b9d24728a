"""Alert rules and dashboard: queries that parse, over series that the router has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from plugins._metrics import METRICS, names
from scripts import dashboard
from tests.deploy.manifests import DEPLOY

promql = pytest.importorskip("promql_parser")

RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads(dashboard.DASHBOARD.read_text())
PANELS = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
# What Prometheus itself records of a target.
OF_PROMETHEUS = {"up": {"job", "instance"}}


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    for panel in PANELS:
        yield from (target["expr"] for target in panel["targets"])


def plain(query: str) -> str:
    """Put a time where Grafana puts one."""
    return query.replace("$__rate_interval", "5m")


@pytest.mark.parametrize("query", list(queries()))
def test_query_is_promql_over_our_series_and_their_labels(query: str) -> None:
    assert promql.parse(plain(query)) is not None
    for name, matchers in re.findall(r"\b(qwen3_router_\w+|up\b)(?:\{([^}]*)\})?", query):
        if name in OF_PROMETHEUS:
            allowed = OF_PROMETHEUS[name]
        else:
            assert name in names()
            metric = next(
                one
                for one in METRICS.values()
                if name
                in (one.full_name, *(f"{one.full_name}_{x}" for x in ("bucket", "sum", "count")))
            )
            allowed = {*metric.labels, "instance", "job"}
            assert name.endswith(("_bucket", "_sum", "_count")) == (metric.kind == "histogram")
            if metric.kind == "counter":
                assert re.search(rf"(rate|increase)\(\s*{name}\b", query), "a counter as it is"
        assert set(re.findall(r"(\w+)(?:=|!)", matchers)) <= allowed


def test_alerts_have_all_that_a_reader_needs() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["alert"].startswith("Router")
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert not set(rule) - {"alert", "expr", "for", "labels", "annotations"}
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert label in rule["expr"] or label in ("instance", "job", "deployment", "budget")


def test_prometheus_loads_the_rules() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yaml"]
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] == "/router/metrics"
    assert job["authorization"]["credentials_file"] == "/run/secrets/metrics-token"


def test_dashboard_is_what_the_script_writes() -> None:
    assert dashboard.DASHBOARD.read_text() == dashboard.text(), "run scripts/dashboard.py"


def test_panels_have_ids_and_places_of_their_own() -> None:
    ids = [one["id"] for one in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for one in DASHBOARD["panels"]:
        place = one["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_every_panel_asks_the_chosen_source() -> None:
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${source}"
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert [one["refId"] for one in panel["targets"]] == [
            chr(65 + i) for i in range(len(panel["targets"]))
        ]


def test_grafana_finds_source_and_dashboard() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards" / "router.yaml").read_text())["providers"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    mounted = compose["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounted
    assert (folder / "datasources" / "prometheus.yaml").exists()
