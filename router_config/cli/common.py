"""What several commands share: which config file they mean."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from router_config import SHIPPED_CONFIG

__all__ = ["add_config", "config_path"]


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare `--config`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="the config (default: $CONFIG_FILE_PATH, else the shipped file)",
    )


def config_path(args: argparse.Namespace) -> Path:
    """Return the file that the command works on."""
    named = args.config or os.environ.get("CONFIG_FILE_PATH")
    return Path(named) if named else SHIPPED_CONFIG
