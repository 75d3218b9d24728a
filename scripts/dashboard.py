"""Write deploy/grafana/dashboards/router.json; a test holds the file against this.

    python scripts/dashboard.py

A dashboard is written here as rows of panels, since its JSON is mostly repetition.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "router.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
Query = tuple[str, str]

_I = 'instance=~"$instance"'
_G = f'{_I},group=~"$group"'

# Row by row: title, kind, unit, width of 24, queries with their legends.
ROWS: list[tuple[str, list[tuple[str, str, str, int, list[Query]]]]] = [
    (
        "Now",
        [
            ("Requests per second", "stat", "reqps", 4,
             [(f"sum(rate(qwen3_router_requests_total{{{_G}}}[$__rate_interval]))", "")]),
            ("Answered", "stat", "percentunit", 4,
             [((f'sum(rate(qwen3_router_requests_total{{{_G},code="ok"}}[5m]))'
               f" / sum(rate(qwen3_router_requests_total{{{_G}}}[5m]))"), "")]),
            ("Median latency", "stat", "s", 4,
             [((f"histogram_quantile(0.5, sum by (le)"
               f" (rate(qwen3_router_request_seconds_bucket{{{_G}}}[5m])))"), "")]),
            ("Own share, 95 %", "stat", "s", 4,
             [((f"histogram_quantile(0.95, sum by (le)"
               f" (rate(qwen3_router_overhead_seconds_bucket{{{_G}}}[5m])))"), "")]),
            ("Deployments out", "stat", "short", 4,
             [(('sum(max by (deployment) (qwen3_router_deployment_standing'
               f'{{{_I},standing=~"ejected|resting|quarantined|drained"}}))'), "")]),
            ("Spent today, USD", "stat", "currencyUSD", 4,
             [(f"sum(increase(qwen3_router_cost_usd_total{{{_I}}}[24h]))", "")]),
        ],
    ),
    (
        "Requests",
        [
            ("Requests by code", "timeseries", "reqps", 12,
             [(f"sum by (code) (rate(qwen3_router_requests_total{{{_G}}}[$__rate_interval]))",
               "{{code}}")]),
            ("Latency of answers", "timeseries", "s", 12,
             [((f"histogram_quantile({q}, sum by (le) (rate("
               f"qwen3_router_request_seconds_bucket{{{_G}}}[$__rate_interval])))"), f"p{name}")
              for q, name in ((0.5, 50), (0.95, 95), (0.99, 99))]),
            ("Own share", "timeseries", "s", 12,
             [((f"histogram_quantile({q}, sum by (le) (rate("
               f"qwen3_router_overhead_seconds_bucket{{{_G}}}[$__rate_interval])))"), f"p{name}")
              for q, name in ((0.5, 50), (0.95, 95), (0.99, 99))]),
            ("In flight", "timeseries", "short", 12,
             [(f"sum(qwen3_router_requests_in_flight{{{_I}}})", "requests"),
              (f"sum(qwen3_router_reservations_open{{{_I}}})", "amounts held")]),
        ],
    ),
    (
        "Deployments",
        [
            ("Calls", "timeseries", "cps", 12,
             [((f"sum by (deployment) (rate(qwen3_router_attempts_total{{{_I}}}"
               "[$__rate_interval]))"), "{{deployment}}")]),
            ("Failed calls by class", "timeseries", "cps", 12,
             [(("sum by (deployment, outcome) (rate(qwen3_router_attempts_total"
               f'{{{_I},outcome!="ok"}}[$__rate_interval])) > 0'), "{{deployment}} {{outcome}}")]),
            ("Upstream latency, 95 %", "timeseries", "s", 12,
             [(("histogram_quantile(0.95, sum by (deployment, le) (rate("
               f"qwen3_router_upstream_seconds_bucket{{{_I}}}[$__rate_interval])))"),
               "{{deployment}}")]),
            ("Who is out", "timeseries", "short", 12,
             [(("max by (deployment, standing) (qwen3_router_deployment_standing"
               f'{{{_I},standing=~"ejected|resting|quarantined|drained"}}) > 0'),
               "{{deployment}} {{standing}}")]),
            ("Ejections", "timeseries", "short", 12,
             [(("sum by (deployment, kind) (increase(qwen3_router_ejections_total"
               f"{{{_I}}}[$__rate_interval])) > 0"), "{{deployment}} {{kind}}")]),
            ("Least cosine to the reference", "timeseries", "short", 12,
             [(f"min by (deployment) (qwen3_router_parity_cosine{{{_I}}})", "{{deployment}}")]),
        ],
    ),
    (
        "Money",
        [
            ("Budgets used", "bargauge", "percentunit", 12,
             [((f"max by (budget) (qwen3_router_budget_spent{{{_I}}}"
               " / on (instance, budget, unit) qwen3_router_budget_limit)"), "{{budget}}")]),
            ("US dollars per hour", "timeseries", "currencyUSD", 12,
             [((f"sum by (deployment) (rate(qwen3_router_cost_usd_total{{{_I}}}"
               "[$__rate_interval])) * 3600 > 0"), "{{deployment}}")]),
            ("Tokens per second by consumer", "timeseries", "short", 12,
             [((f"sum by (consumer) (rate(qwen3_router_consumer_tokens_total{{{_I}}}"
               "[$__rate_interval])) > 0"), "{{consumer}}")]),
            ("Texts from the cache", "timeseries", "percentunit", 12,
             [((f"sum(rate(qwen3_router_cache_hits_total{{{_G}}}[$__rate_interval]))"
               f" / (sum(rate(qwen3_router_cache_hits_total{{{_G}}}[$__rate_interval]))"
               f" + sum(rate(qwen3_router_cache_misses_total{{{_G}}}[$__rate_interval])))"),
               "from the cache")]),
        ],
    ),
]  # fmt: skip


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
            }
        )
        y += 1
        x = 0
        for name, kind, unit, width, queries in row:
            high = 4 if kind == "stat" else 8
            if x + width > 24:
                x, y = 0, y + high
            panels.append(_panel(len(panels) + 1, name, kind, unit, queries))
            panels[-1]["gridPos"] = {"x": x, "y": y, "w": width, "h": high}
            x += width
        y += high
    return {
        "uid": "qwen3-router",
        "title": "Qwen3 embedding router",
        "tags": ["qwen3-router"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _panel(id_: int, title: str, kind: str, unit: str, queries: list[Query]) -> dict[str, Any]:
    panel: dict[str, Any] = {
        "id": id_,
        "type": kind,
        "title": title,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": chr(65 + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for i, (expr, legend) in enumerate(queries)
        ],
    }
    if kind == "timeseries":
        panel["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}}
    if kind == "bargauge":
        panel["fieldConfig"]["defaults"] |= {"min": 0, "max": 1}
        panel["options"] = {"orientation": "horizontal", "displayMode": "lcd"}
    return panel


def _variables() -> list[dict[str, Any]]:
    def of(name: str, metric: str) -> dict[str, Any]:
        return {
            "name": name,
            "type": "query",
            "datasource": SOURCE,
            "query": f"label_values({metric}, {name})",
            "refresh": 2,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }

    return [
        {"name": "source", "type": "datasource", "query": "prometheus"},
        of("instance", "qwen3_router_workers"),
        of("group", "qwen3_router_deployment_info"),
    ]


def text() -> str:
    """Return the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    DASHBOARD.write_text(text(), encoding="utf-8")
