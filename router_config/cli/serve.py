"""`qwen3-router serve`: LiteLLM's proxy with our config, composed with the front door."""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from router_config.cli import not_installed
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
# Longer than clients and balancers keep an idle connection (httpx, and so OpenAI's client, 5 s, as
# long as uvicorn would; others 60 s): if we close first, a request may be on its way, and is lost.
_KEEP_ALIVE_S = 75
# LiteLLM refuses to start with a key that stands in everybody's documentation. It, too, keeps a
# digest: the key in clear would be found by scanners of secrets.
_PUBLIC_KEYS = frozenset({"88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"})
_PERMIT_ANY = "dangerously_permit_weak_or_unset_master_key"
_VARIABLE = "os.environ/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `serve`."""
    add_config(parser)
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")
    parser.add_argument("--port", type=int, default=4000, help="port to listen on (default: 4000)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument(
        "--access-log",
        action="store_true",
        help="a line for each request (embedding_router.request_log says more, for less)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; 1 if the config does not allow a start, 2 for wrong usage."""
    path = config_path(args)
    if args.workers < 1:
        print("qwen3-router serve: --workers must be at least 1", file=sys.stderr)
        return 2
    if not 0 <= args.port <= 65535:
        print("qwen3-router serve: --port must be from 0 to 65535", file=sys.stderr)
        return 2
    reason = _why_not(path) or _why_not_here(args.host, args.port)
    if reason is not None:
        print(f"qwen3-router serve: {reason}", file=sys.stderr)
        return 1
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["CONFIG_FILE_PATH"] = str(path)
    print("Starting LiteLLM's proxy, which takes a while …", file=sys.stderr, flush=True)
    Thread(target=_tell_when_up, args=(args.host, args.port), daemon=True).start()
    import uvicorn

    uvicorn.run(
        "plugins.gateway:app",
        host=args.host,
        port=args.port,
        workers=args.workers,
        # One line, through LiteLLM's search for secrets in it, takes a tenth of a request.
        access_log=args.access_log,
        timeout_worker_healthcheck=_WORKER_HEALTHCHECK_S,
        timeout_graceful_shutdown=_DRAIN_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    return 0


def _tell_when_up(host: str, port: int) -> None:
    """Print the address once somebody listens there: uvicorn does when the proxy is loaded."""
    if port == 0:
        return  # the system chooses one, which only uvicorn's own line tells
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    while True:
        try:
            socket.create_connection((name, port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.2)
    base = f"http://{f'[{name}]' if ':' in name else name}:{port}"
    print(f"The proxy is up: {base}/v1, status page {base}/router/", file=sys.stderr, flush=True)


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
            return not_installed(name)
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
    return _why_not_with_key(config.raw.get("general_settings") or {})


def _why_not_with_key(general: Mapping[str, Any]) -> str | None:
    """Return why LiteLLM, after a full start, would refuse the admin key; None if it takes it."""
    key = general.get("master_key", f"{_VARIABLE}LITELLM_MASTER_KEY")
    permitted = _permits_any(general)
    if not isinstance(key, str) or (permitted and "master_key" not in general):
        return None
    name, variable = "general_settings.master_key", "LITELLM_MASTER_KEY"
    if key.startswith(_VARIABLE):
        name = variable = key.removeprefix(_VARIABLE)
        key = os.environ.get(name, "")
    choose = (
        "It is the admin key of the proxy, one you choose: "
        f'export {variable}="sk-$(openssl rand -hex 16)"'
    )
    if not key.strip():
        return f"{name} is not set. {choose}"
    if not permitted and hashlib.sha256(key.strip().encode()).hexdigest() in _PUBLIC_KEYS:
        return f"{name} is a publicly known default, which LiteLLM refuses. {choose}"
    return None


def _permits_any(general: Mapping[str, Any]) -> bool:
    """Tell whether the operator asks LiteLLM to do without a key of their own."""
    variable = os.environ.get(f"LITELLM_{_PERMIT_ANY.upper()}", "")
    return general.get(_PERMIT_ANY) is True or variable.strip().lower() == "true"


def _why_not_here(host: str, port: int) -> str | None:
    """Return why nothing can listen on *host* and *port*, or None if it can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return f"there is no address for --host {host}: {error.strerror}"
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as one:
                if os.name == "posix":  # as uvicorn does: a port just left is not in use
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {port} is in use; choose another with --port"
            if error.errno == errno.EACCES:
                return f"this user may not listen on port {port}; choose another with --port"
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
