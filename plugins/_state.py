"""Where this machine keeps what must outlive the process: one folder per user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["VARIABLE", "state_folder"]

VARIABLE = "QWEN3_ROUTER_STATE"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return `$QWEN3_ROUTER_STATE`, else the XDG state folder of this user; it may not exist yet.

    https://specifications.freedesktop.org/basedir-spec/0.8/ : a relative path there is ignored.
    """
    own = environ.get(VARIABLE)
    if own:
        return Path(own).expanduser().absolute()
    xdg = environ.get("XDG_STATE_HOME", "")
    base = Path(xdg) if xdg.startswith("/") else Path.home() / ".local" / "state"
    return base / "qwen3-router"
