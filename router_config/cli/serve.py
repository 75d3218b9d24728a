"""`qwen3-router serve`: LiteLLM's proxy with our config, composed with the front door."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from router_config.cli.common import add_config, config_path

__all__ = ["HELP", "add_arguments", "run"]

HELP = "run the proxy with our config"

# LiteLLM reads these while it is imported. Each keeps it from fetching lists over the network at
# start, which costs seconds and fails behind a firewall; the operator's own value wins.
_DEFAULTS = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "true",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "true",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "true",
}
# uvicorn's parent kills a worker that is silent for this long; importing LiteLLM takes 10 to 14 s
# on two busy cores, and with the default of 5 s the workers restart for ever.
_WORKER_HEALTHCHECK_S = 60
_DRAIN_S = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `serve`."""
    add_config(parser)
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")
    parser.add_argument("--port", type=int, default=4000, help="port to listen on (default: 4000)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; 1 if the config does not allow a start, 2 for wrong usage."""
    path = config_path(args)
    if args.workers < 1:
        print("qwen3-router serve: --workers must be at least 1", file=sys.stderr)
        return 2
    reason = _why_not(path)
    if reason is not None:
        print(f"qwen3-router serve: {reason}", file=sys.stderr)
        return 1
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["CONFIG_FILE_PATH"] = str(path)
    import uvicorn

    uvicorn.run(
        "plugins.gateway:app",
        host=args.host,
        port=args.port,
        workers=args.workers,
        timeout_worker_healthcheck=_WORKER_HEALTHCHECK_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    return 0


def _why_not(path: Path) -> str | None:
    """Return why the proxy cannot start with this file and environment, or None if it can."""
    from router_config import ConfigError, load, resolve

    stranger = _stranger()
    if stranger is not None:
        return stranger
    # Looked for and not imported: LiteLLM goes to the network while it is imported, for what
    # `_DEFAULTS` says, and what is said below need not wait for it.
    for name in ("litellm", "uvicorn"):
        if find_spec(name) is None:
            return (
                f"{name} is not installed; install the proxy with: "
                'pip install "qwen3-embedding-router[proxy]"'
            )
    try:
        config = load(path)
    except ConfigError as error:
        return f"the config has problems:\n{error}"
    offs = [
        resolve(deployment, os.environ).off
        for group in config.groups.values()
        for deployment in group.deployments
    ]
    if offs and all(offs):
        variables = "\n  ".join(dict.fromkeys(off for off in offs if off))
        return (
            "no deployment can be used:\n  "
            f"{variables}\nSet at least one of these variables, or run `make demo` (or "
            "`qwen3-router demo`) to try the router without any key."
        )
    general = config.raw.get("general_settings") or {}
    key = general.get("master_key")
    if key == "os.environ/LITELLM_MASTER_KEY" and not os.environ.get("LITELLM_MASTER_KEY"):
        return (
            "LITELLM_MASTER_KEY is not set. It is the admin key of the proxy, one you choose: "
            'export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 16)"'
        )
    return None


def _stranger() -> str | None:
    """Return a complaint if another package named `plugins` is in the way of ours."""
    spec = find_spec("plugins")
    ours = Path(__file__).resolve().parents[2] / "plugins"
    places = (
        [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
    )
    if ours in places[:1]:
        return None
    found = places[0] if places else "nothing"
    return (
        f"`import plugins` finds {found} instead of {ours}. Start from another folder, or take the "
        "other one off PYTHONPATH."
    )
