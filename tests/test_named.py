"""What the documents name is there: metrics, log lines, commands and their options, config keys."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from plugins._errors import Fault
from plugins._health_log import tell
from plugins._metrics import names
from plugins._standing import Standing
from router_config.cli import COMMANDS
from tests.commands import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("docs/*.md")),
    *(ROOT / name for name in ("README.md", "README.ru.md", "CHANGELOG.md", "CONTRIBUTING.md")),
]
SCHEMA: dict[str, Any] = json.loads((ROOT / "router_config" / "config.schema.json").read_text())
SECTIONS = ("embedding_router", "model_info", "litellm_params", "general_settings")
SECTIONS += ("litellm_settings", "router_settings")
# What a document writes where a reader puts something of theirs, if it has to be of a kind.
PLACEHOLDERS = {"N": "4", "MINUTES": "1", "TIME": "1h", "--quick…": "--quick"}


def in_backticks(path: Path) -> list[str]:
    """Return what stands in backticks, and the lines of shell blocks without their comments."""
    text = path.read_text(encoding="utf-8")
    shell = [
        re.sub(r"\s+#.*", "", line)
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [*re.findall(r"`([^`\n]+)`", prose), *filter(None, shell)]


def each(pattern: str) -> list[Any]:
    """Return every text in backticks that matches, once for each document."""
    found = {
        (path.relative_to(ROOT).as_posix(), one): None
        for path in DOCUMENTS
        for one in in_backticks(path)
        if re.match(pattern, one)
    }
    return [pytest.param(one, id=f"{document}-{one}") for document, one in found]


# -- metrics


def test_every_metric_that_a_document_names_exists() -> None:
    known = names() | {re.sub(r"_(bucket|sum|count)$", "", name) for name in names()}
    missing = []
    for path in DOCUMENTS:
        for name, more in re.findall(r"\b(qwen3_router_[a-z0-9_]+)(…?)", path.read_text()):
            if name not in known and not (more and any(one.startswith(name) for one in known)):
                missing.append((path.name, name + more))
    assert missing == []
    assert len(names()) > 30


# -- log lines


def out(kind: str, reason: str) -> str:
    """Return the line that tells of a deployment that went out so."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("qwen3_router.health")
    before = log.level, log.disabled
    log.setLevel(logging.INFO)
    log.disabled = False
    log.addHandler(handler)
    try:
        tell("deepinfra", None, Standing("k", kind, reason, 0.0, None, 1, "me"), None)
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.disabled = before[1]
    (line,) = lines
    return line


def test_every_log_line_that_a_document_shows_has_its_form() -> None:
    real = [out("ejected", str(fault)) for fault in Fault]
    real += [out("quarantined", "parity: space: it is another space")]
    shown = [
        (path.name, one)
        for path in DOCUMENTS
        for one in in_backticks(path)
        if one.startswith("endpoint out:")
    ]
    for name, one in shown:
        pattern = ".+".join(map(re.escape, one.split("…")))
        assert any(re.match(pattern, line) for line in real), (name, one)
    assert len({name for name, _ in shown}) >= 2


def test_every_reason_that_a_document_shows_is_one() -> None:
    real = {Standing("k", "ejected", str(one), 0.0, None, 1, "me").words() for one in Fault}
    real.add(Standing("k", "quarantined", "parity: …", 0.0, None, 1, "parity").words())
    form = re.compile(r"(ejected|quarantined|resting|drained): .*")
    shown = {one for path in DOCUMENTS for one in in_backticks(path) if form.fullmatch(one)}
    assert shown - real == set()


# -- commands


@pytest.mark.parametrize("command", each(r"qwen3-router( |$)"))
def test_every_command_that_a_document_names_is_understood(command: str) -> None:
    words = shlex.split(command)[1:]
    if not words or words[0].startswith("-"):
        assert words in ([], ["--help"], ["--version"])
        return
    assert words[0] in COMMANDS
    module = importlib.import_module(COMMANDS[words[0]])
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    rest = [PLACEHOLDERS.get(word, word) for word in words[1:]]
    if not rest or (rest[0] in actions(parser) and len(rest) == 1):
        return  # the command by its name
    code = 0
    try:
        parser.parse_args(rest)
    except SystemExit as ended:
        code = ended.code
    assert code == 0, f"{command}: {parser.format_usage()}"


def actions(parser: argparse.ArgumentParser) -> set[str]:
    """Return the words of which a command wants one first, such as `show`."""
    found = [one.choices for one in parser._actions if isinstance(one.choices, dict)]
    return {name for choices in found for name in choices}


# -- keys


def resolved(schema: dict[str, Any], part: str) -> dict[str, Any] | None:
    """Return what the schema says below *schema* under the key *part*; None if there is none."""
    for one in ways(schema):
        if part in one.get("properties", {}):
            return dict(one["properties"][part])
        more = one.get("additionalProperties")
        if part in ("<name>", "*"):
            for below in (more, *one.get("patternProperties", {}).values()):
                if isinstance(below, dict):
                    return below
        if part == "[]" and "items" in one:
            return dict(one["items"])
    return None


def ways(schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in schema:
        return ways(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    return [schema, *(way for one in schema.get("anyOf", ()) for way in ways(one))]


def start_of(section: str) -> dict[str, Any]:
    if section in SCHEMA["properties"]:
        return dict(SCHEMA["properties"][section])
    entry = resolved(dict(SCHEMA["properties"]["model_list"]), "[]")
    assert entry is not None
    found = resolved(entry, section)
    assert found is not None
    return found


KEY = rf"(?:{'|'.join(SECTIONS)})[.:]"


@pytest.mark.parametrize("key", each(KEY))
def test_every_key_that_a_document_names_is_in_the_schema(key: str) -> None:
    path = re.match(r"[a-z_0-9.<>*\[\]]+", key)
    assert path is not None
    section, *parts = path[0].replace("[]", ".[]").split(".")
    at: dict[str, Any] | None = start_of(section)
    for part in parts:
        assert at is not None
        at = resolved(at, part)
        assert at is not None, f"{key}: there is no {part}"


def test_a_key_that_is_not_there_is_found_out() -> None:
    section = start_of("embedding_router")
    assert resolved(section, "budgets") is not None
    assert resolved(section, "budgetz") is None
