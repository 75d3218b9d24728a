"""Our log lines on stderr, unless the host application has set up logging for them.

LiteLLM configures only its own loggers; without this the lines that say which deployment is off
would be lost, since Python drops what nobody handles below WARNING.
"""

from __future__ import annotations

import logging

__all__ = ["set_up"]


def set_up(level: int = logging.INFO) -> None:
    """Give the `qwen3_router` logger a handler if nothing handles it yet."""
    log = logging.getLogger("qwen3_router")
    if log.level == logging.NOTSET:
        log.setLevel(level)
    if log.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log.addHandler(handler)
    log.propagate = False
