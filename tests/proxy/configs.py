"""The config that most proxy tests share: one file with a group for every question asked.

A proxy takes seconds to start, so one process serves all tests of a worker; a test chooses its
situation by the group, not by a config of its own.
"""

from __future__ import annotations

import hashlib
import os
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from router_config.rules.wiring import ADVISED, CALLBACKS
from router_config.sandbox import Sandbox

__all__ = [
    "HEALTHY",
    "KEYS",
    "METRICS_TOKEN",
    "MIXES",
    "MIX_PROVIDERS",
    "PLAIN_KEY",
    "PROVIDERS",
    "REQUEST_LOG",
    "UNSET",
    "environ",
    "pair",
    "solo",
    "write",
]

PROVIDERS = (
    "scaleway",
    "siliconflow",
    "siliconflow-cn",
    "deepinfra",
    "fireworks",
    "openrouter",
    "nebius",
    "novita",
    "ollama",
    "vllm",
    "tei",
    "infinity",
    "llamacpp",
    "openai",
)
# QWEN3_ROUTER_TEST_PATH=litellm runs the same tests over LiteLLM's own path.
FAST_PATH = os.environ.get("QWEN3_ROUTER_TEST_PATH") != "litellm"
HEALTHY = "openai"
REQUEST_LOG = "requests.jsonl"  # beside the config
METRICS_TOKEN = "token-of-the-tests-own-prometheus"
PLAIN_KEY = "sk-plain-key-for-tests-only"
UNSET = "TEST_NEVER_SET_API_KEY"
# Orders of four deployments: the first three are made to fail, the fourth answers.
MIXES = {
    "mix-1111": (1, 1, 1, 1),
    "mix-1112": (1, 1, 1, 2),
    "mix-1122": (1, 1, 2, 2),
    "mix-1123": (1, 1, 2, 3),
    "mix-1223": (1, 2, 2, 3),
    "mix-1234": (1, 2, 3, 4),
}
MIX_PROVIDERS = ("deepinfra", "nebius", "novita", "vllm")
KEYS = {
    "search": "sk-search-key-for-tests-only-1",
    "search-next": "sk-search-key-for-tests-only-2",
    "eu-only": "sk-eu-key-for-tests-only",
    "few": "sk-few-key-for-tests-only",
    "sdk": "sk-sdk-key-for-tests-only",
    "twice": "sk-twice-key-for-tests-only",
    "old": "sk-old-key-for-tests-only",
}


def solo(provider: str) -> str:
    """Return the group with *provider* alone."""
    return f"solo-{provider}"


def pair(provider: str) -> str:
    """Return the group with *provider* first and a healthy deployment behind it."""
    return f"pair-{provider}"


def write(box: Sandbox, path: Path) -> Path:
    """Write the shared config for the emulators of *box*."""
    config = _config(box)
    config["embedding_router"]["metrics"] = {"token": "os.environ/TEST_METRICS_TOKEN"}
    # A test asks the same twice and expects two calls; see test_cache.py.
    groups = config["embedding_router"]["groups"]
    for entry in config["model_list"]:
        group = entry["model_name"]
        if group not in ("foreign", "talk") and not group.startswith("cached"):
            groups.setdefault(group, {})["cache"] = False
    config["embedding_router"]["request_log"] = {"file": str(path.with_name(REQUEST_LOG))}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _config(box: Sandbox) -> dict[str, Any]:
    def entry(group: str, provider: str, order: int = 1, **info: Any) -> dict[str, Any]:
        params = {"model": f"qwen3/{provider}", "api_base": box.bases[provider], "order": order}
        params["api_key"] = f"os.environ/{_variable(provider)}"
        return {
            "model_name": group,
            "litellm_params": params,
            "model_info": {"id": f"{group}--{provider}", "mode": "embedding", **info},
        }

    def limited(group: str, provider: str, **params: Any) -> dict[str, Any]:
        made = entry(group, provider)
        made["litellm_params"].update(params)
        return made

    def off(group: str, provider: str) -> dict[str, Any]:
        """Return a deployment whose key variable nobody sets, at a base of its own."""
        made = entry(group, provider)
        made["litellm_params"]["api_key"] = f"os.environ/{UNSET}"
        made["litellm_params"]["api_base"] = "http://127.0.0.1:9/v1"
        return made

    def plain(group: str, id_: str, order: int = 1, **params: Any) -> dict[str, Any]:
        return {
            "model_name": group,
            "litellm_params": {
                "model": "openai/Qwen/Qwen3-Embedding-8B",
                "api_base": box.bases["vllm"],
                "api_key": "os.environ/PLAIN_API_KEY",
                "order": order,
                **params,
            },
            "model_info": {"id": id_, "mode": "embedding"},
        }

    models = [entry(solo(one), one) for one in PROVIDERS]
    for one in PROVIDERS:
        models += [entry(pair(one), one), entry(pair(one), _behind(one), order=2)]
    for group, orders in MIXES.items():
        models += [
            entry(group, one, order=order) for one, order in zip(MIX_PROVIDERS, orders, strict=True)
        ]
    models += [
        # Four deployments and the default of three attempts.
        *(entry("capped", one, order=order) for order, one in enumerate(MIX_PROVIDERS, 1)),
        off("nobody", "deepinfra"),
        entry("with-fallback", "deepinfra"),
        entry("fallback", "vllm"),
        entry("with-fallback-alias", "nebius"),
        limited("impatient", "deepinfra", timeout=1),
        entry("impatient", HEALTHY, order=2),
        limited("nowhere", "deepinfra", api_base="http://nobody.invalid/v1"),
        entry("nowhere", HEALTHY, order=2),
        entry("hurried", "deepinfra"),
        entry("hurried", "nebius", order=2),
        entry("few-dimensions", "vllm"),
        entry("cl100k", "vllm"),
        entry("qwen3-ids", "vllm"),
        entry("regions", "deepinfra", region="us"),
        entry("regions", "nebius", order=2, region="eu"),
        entry("cached", "deepinfra"),
        entry("cached-regions", "deepinfra", region="us"),
        entry("cached-regions", "nebius", order=2, region="eu"),
        entry("small-first", "scaleway"),
        entry("small-first", "vllm", order=2),
        plain("plain", "plain--vllm"),
        plain("hurried-plain", "hurried-plain--vllm"),
        plain("plain-then-ours", "plain-then-ours--plain"),
        entry("plain-then-ours", "deepinfra", order=2),
        # Siblings; the draw takes the first a million times in a row.
        plain("plain-beside-ours", "plain-beside-ours--plain", weight=1e6),
        entry("plain-beside-ours", "deepinfra"),
        plain("impatient-plain", "impatient-plain--plain", timeout=1),
        entry("impatient-plain", "deepinfra", order=2),
        entry("ours-then-plain", "siliconflow"),
        plain("ours-then-plain", "ours-then-plain--plain", order=2),
        plain("foreign", "foreign--vllm"),
        {
            "model_name": "talk",
            "litellm_params": {"model": "openai/talk", "mock_response": "Hello there."},
            "model_info": {"id": "talk"},
        },
    ]
    return {
        "model_list": models,
        "router_settings": {
            "num_retries": 0,
            "disable_cooldowns": True,
            "fallbacks": [
                {"with-fallback": ["fallback"]},
                {"with-fallback-alias": ["hidden-fallback"]},
            ],
            "model_group_alias": {
                "text-embedding-3-large": solo("vllm"),
                "hidden-alias": {"model": solo("tei"), "hidden": True},
                "foreign-alias": "foreign",
                "hidden-fallback": {"model": "fallback", "hidden": True},
            },
        },
        "litellm_settings": {
            "callbacks": [*CALLBACKS, *ADVISED],
            "custom_provider_map": [
                {"provider": "qwen3", "custom_handler": "plugins.provider.handler"}
            ],
        },
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
            "custom_auth": "plugins.keys.handler",
        },
        "embedding_router": {
            "gateway": {"enabled": FAST_PATH},
            # Probes of their own would stand in the journals; tests of them have their own config.
            "parity": "off",
            "budgets": {"group:nobody": {"usd": 1, "period": "month"}},  # for the metrics
            "attempts": 3,
            "max_body_mb": 16,
            # A test befalls a deployment once and expects that it is called; see test_health.py.
            "health": {"enabled": False},
            "groups": {
                **{group: {"attempts": 4} for group in MIXES},
                "hurried": {"deadline_s": 2},
                "few-dimensions": {"matryoshka": {"default": 1024, "allowed": [512, 1024]}},
                "cl100k": {"token_inputs": "cl100k_base"},
                "qwen3-ids": {"token_inputs": "qwen3"},
                "plain": {},
                "plain-then-ours": {},
                "hurried-plain": {"deadline_s": 2},
                "impatient-plain": {},
                "plain-beside-ours": {},
            },
            "keys": {
                "search": {
                    "sha256": [_hash("search"), _hash("search-next")],
                    "team": "search",
                    "groups": [solo("vllm"), solo("openai")],
                },
                "eu-only": {"sha256": [_hash("eu-only")], "region": "eu"},
                "few": {"sha256": [_hash("few")], "rpm": 3},
                "twice": {"sha256": [_hash("twice")], "rpm": 2},
                "sdk": {"sha256": [_hash("sdk")], "rpm": 1},
                "old": {"sha256": [_hash("old")], "not_after": date(2026, 1, 31)},
            },
        },
    }


def environ(box: Sandbox) -> dict[str, str]:
    """Return the key variables that the config names."""
    keys = {_variable(one): box.keys.get(one) or "none" for one in PROVIDERS}
    return {**keys, "PLAIN_API_KEY": PLAIN_KEY, "TEST_METRICS_TOKEN": METRICS_TOKEN}


def _variable(provider: str) -> str:
    return f"TEST_{provider.upper().replace('-', '_')}_API_KEY"


def _behind(provider: str) -> str:
    return "vllm" if provider == HEALTHY else HEALTHY


def _hash(name: str) -> str:
    return hashlib.sha256(KEYS[name].encode()).hexdigest()
