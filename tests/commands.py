"""Commands of the documents, run in a shell as a reader would, with this interpreter's programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["ROOT", "environment", "make", "programs"]

ROOT = Path(__file__).resolve().parents[1]
# What an outer `make test ARGS=…` would hand on to ours.
_OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS")


def programs(folder: Path) -> Path:
    """Return a folder of programs as `.venv/bin` has them, also where the package is not installed.

    It stands for that folder in a run of the Makefile, so that no test builds an environment.
    """
    folder.mkdir(exist_ok=True)
    for name, module in {"qwen3-router": " -m router_config", "python": ""}.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        program.chmod(0o755)
    return folder


def environment(bin_: Path, environ: dict[str, str]) -> dict[str, str]:
    """Return *environ* with the programs of this environment first, those of *bin_* before all."""
    path = [str(bin_), str(Path(sys.executable).parent), os.environ["PATH"]]
    kept = {name: value for name, value in environ.items() if name not in _OF_MAKE}
    return {**kept, "PATH": os.pathsep.join(path)}


def make(bin_: Path, target: str, args: str = "") -> list[str]:
    """Return the command that runs a *target* of the Makefile as if all was installed in *bin_*."""
    installed = ["-o", ".venv/.all", "-o", ".venv/.demo"]
    return ["make", "--no-print-directory", *installed, target, f"BIN={bin_}", f"ARGS={args}"]
