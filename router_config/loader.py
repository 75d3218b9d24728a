"""Text to configuration: positions, then the schema, then the rules, all problems in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from .build import build
from .catalogue import Provider, load_catalogue
from .config import Config
from .problems import ConfigError, Finding, Problem, in_file_order
from .rules import RULES, Subject
from .rules.unset import unset
from .shape import shape
from .yamltext import Document, read

__all__ = ["SHIPPED_CONFIG", "check", "load"]

SHIPPED_CONFIG = Path(__file__).with_name("config.yaml")


def load(
    path: str | Path,
    *,
    catalogue: Mapping[str, Provider] | None = None,
    today: date | None = None,
    forgive: Callable[[Problem], bool] = lambda _: False,
) -> Config:
    """Return the configuration in the file *path*; its warnings are in `Config.warnings`.

    *catalogue* is the shipped one by default; *today* (default: now, UTC) decides what is old or
    expired. *forgive* lets a command load what it is about to mend.

    Raises:
        ConfigError: with all problems, if one of them is an error.
    """
    config, problems = _judge(read(path), catalogue, today, None)
    errors = [one for one in problems if one.severity == "error" and not forgive(one)]
    if config is None or errors:
        raise ConfigError(problems)
    return config.model_copy(update={"warnings": tuple(problems)})


def check(
    path: str | Path,
    *,
    environ: Mapping[str, str] | None = None,
    catalogue: Mapping[str, Provider] | None = None,
    today: date | None = None,
) -> list[Problem]:
    """Return all problems of the file *path*, errors and warnings, in file order.

    With *environ*, what is off because a variable is unset is a problem too.
    """
    return _judge(read(path), catalogue, today, environ)[1]


def _judge(
    document: Document,
    catalogue: Mapping[str, Provider] | None,
    today: date | None,
    environ: Mapping[str, str] | None,
) -> tuple[Config | None, list[Problem]]:
    if not isinstance(document.value, dict):
        problems = list(document.problems)
        if not problems:
            what = "an empty file" if document.value is None else "expected a mapping"
            problems = [document.problem(Finding((), what, "start from the shipped config.yaml"))]
        return None, problems
    catalogue = load_catalogue() if catalogue is None else catalogue
    shaped = shape(document.value)
    config = build(document, shaped.file, catalogue)
    today = today or datetime.now(UTC).date()
    subject = Subject(config, shaped.file, document.value, catalogue, today)
    findings = [finding for rule in RULES for finding in rule(subject)]
    if environ is not None:
        findings += unset(config, environ)
    findings = [*shaped.findings, *(one for one in findings if not shaped.covers(one.path))]
    problems = [*document.problems, *map(document.problem, findings)]
    return config, in_file_order(problems)
