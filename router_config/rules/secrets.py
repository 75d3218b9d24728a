"""Rules about secrets: none stands in a file, whatever the key above it is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..problems import Finding, Path, contains_a_secret
from ..shape import OWN_PREFIX
from ..values import ENV_PREFIX
from .subject import Rule, Subject

__all__ = ["RULES"]

_SECRET_NAME = re.compile(
    r"(api[-_]?key|_key|secret|password|passwd|token|credentials?|authorization|cookie|_key_id)$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(_per_token|[be]os_token|pad_token|cache_key|public_key|max_.*token)$", re.IGNORECASE
)
# What people write where a client library insists on a key and the server on none.
_PLACEHOLDERS = {"", "none", "null", "empty", "dummy", "no-key", "not-needed", "unused", "fake"}


def no_plain_secret(subject: Subject) -> Iterator[Finding]:
    for path, text in _texts(subject.data, ()):
        if text.lower() in _PLACEHOLDERS or re.fullmatch(rf"{ENV_PREFIX}[A-Za-z0-9_]+", text):
            continue
        name = next((step for step in reversed(path) if isinstance(step, str)), "")
        if "://" in text and contains_a_secret(text):
            what, fix = "credentials inside a URL", f"write the whole URL as {ENV_PREFIX}NAME"
        elif (_SECRET_NAME.search(name) and not _NO_SECRET.search(name)) or contains_a_secret(text):
            what = "a secret in plain text"
            fix = f"move it to a variable and write {ENV_PREFIX}{_variable(subject, path, name)}"
        else:
            continue
        if path[0] == "environment_variables":
            fix = "set it in the environment; whoever reads the file reads this"
        yield Finding(path, what, fix)


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _variable(subject: Subject, path: Path, name: str) -> str:
    if name == "master_key":
        return "LITELLM_MASTER_KEY"
    model = subject.written(*path[:3], "model") if path[0] == "model_list" else None
    if name == "api_key" and isinstance(model, str) and model.startswith(OWN_PREFIX):
        provider = subject.catalogue.get(model.removeprefix(OWN_PREFIX))
        if provider is not None and provider.key_env:
            return provider.key_env
    return "NAME"


RULES: tuple[Rule, ...] = (no_plain_secret,)
