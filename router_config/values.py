"""The kinds of values that a configuration holds: secrets, references, money, hashes, dates.

Each is read from plain YAML data; what does not fit raises `Unfit`, which says what was found by
its kind, never by its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, GetPydanticSchema, WithJsonSchema
from pydantic_core import core_schema

from .yamlnodes import Number

__all__ = [
    "ENV_PREFIX",
    "BudgetName",
    "Day",
    "DeploymentId",
    "EnvRef",
    "Hashes",
    "Key",
    "LedgerUrl",
    "Price",
    "Secret",
    "Text",
    "Unfit",
    "Url",
    "Usd",
    "is_base_url",
    "kind_of",
]

ENV_PREFIX = "os.environ/"  # LiteLLM's notation for "read it from the environment"


class Unfit(ValueError):
    """A value that does not fit; the text is *what* was found and the *fix*."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


@dataclass(frozen=True, slots=True)
class EnvRef:
    """The name of an environment variable, written `os.environ/NAME`."""

    name: str

    def __str__(self) -> str:
        return ENV_PREFIX + self.name


class Secret:
    """A text that never shows in a repr, a message or a traceback."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; only for the wire."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def kind_of(value: Any) -> str:
    """Return what *value* is, in the words of somebody who writes YAML."""
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "something else"


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "nothing"),
    (bool, "a boolean"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (date, "a date"),
    (list, "a list"),
    (dict, "a mapping"),
    ((EnvRef, Secret, Decimal), "text"),
)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(f"expected text, found {kind_of(value)}", "put it in quotes")
    if not value.strip():
        raise Unfit("empty text", "fill it in, or remove the key")
    return value


def _deployment_id(value: Any) -> str:
    # It travels as it is in the header x-router-deployment, which lists several with commas.
    text = _text(value)
    if not re.fullmatch(r"[!-+\--~]{1,128}", text):
        fix = "write 1 to 128 printable ASCII characters, without space and comma"
        raise Unfit("not an id that a reply's header can carry", fix)
    return text


def _budget_name(value: Any) -> str:
    text = _text(value)
    if len(text) > 200 or not text.isprintable():
        raise Unfit("not a name that the ledger can keep", "write 1 to 200 printable characters")
    if text.startswith(("quota:", "deployment:", "router:")):
        kind = text.partition(":")[0]
        raise Unfit(f"{kind}: begins names that the ledger uses itself", "begin it otherwise")
    return text


def _reference(value: str) -> EnvRef | None:
    if not value.startswith(ENV_PREFIX):
        return None
    name = value.removeprefix(ENV_PREFIX)
    # The name is printed when it is unset, so it must not be a pasted key.
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        fix = f"write {ENV_PREFIX}NAME with a name of capital letters, digits and _"
        raise Unfit("not the name of an environment variable", fix)
    return EnvRef(name)


def _key(value: Any) -> Secret | EnvRef:
    if isinstance(value, Secret | EnvRef):
        return value
    text = _text(value)
    return _reference(text) or Secret(text)


def _url(value: Any) -> str | EnvRef:
    if isinstance(value, EnvRef):
        return value
    text = _text(value)
    reference = _reference(text)
    if reference is not None:
        return reference
    if not is_base_url(text):
        raise Unfit(
            "not an http(s) URL without query or fragment",
            f"write https://host/path, or {ENV_PREFIX}NAME",
        )
    return text


def is_base_url(text: str) -> bool:
    """Return True for an http(s) URL without query or fragment that a connection can be made to."""
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0  # a port beyond 65535 raises
    except ValueError:
        return False


def _ledger(value: Any) -> str | EnvRef:
    if isinstance(value, EnvRef):
        return value
    text = _text(value)
    reference = _reference(text)
    if reference is not None:
        return reference
    if not re.fullmatch(r"sqlite(:///[^\s?#]*[^\s?#/])?|rediss?://[^\s/]\S*", text):
        raise Unfit(
            "not a ledger",
            f"write sqlite, sqlite:///absolute/path, redis://host:6379/0, or {ENV_PREFIX}NAME",
        )
    return text


def _decimal(value: Any, pattern: str, fix: str) -> Decimal:
    """Return the number as it was written; a float's own digits would be somebody else's."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unfit(f"expected a number, found {kind_of(value)}", fix)
    text = value.text if isinstance(value, Number) else str(value)
    if not re.fullmatch(pattern, text):
        raise Unfit("not a plain decimal number", fix)
    return Decimal(text)


def _usd(value: Any) -> Decimal:
    fix = "write dollars in digits, such as 1.80"
    usd = _decimal(value, r"\d{1,18}(\.\d{1,18})?", fix)
    if usd != round(usd, 9):
        raise Unfit("finer than a nano-dollar", "use at most nine digits after the point")
    if not 0 < usd <= 1_000_000_000:
        raise Unfit("not an amount above 0 and up to a billion", fix)
    return usd


def _price(value: Any) -> Decimal:
    fix = "write dollars per token in digits, such as 0.00000001"
    # YAML reads 1.0e-8 as a number and 1e-8 as text; LiteLLM needs a number.
    written = r"\d{1,9}(\.\d{1,18})?" + (r"([eE]-\d{1,2})?" if isinstance(value, float) else "")
    price = _decimal(value, written, fix)
    if price > Decimal("0.001"):
        fix = "write dollars per token, not per million: 0.01 per million is 0.00000001"
        raise Unfit("over 1,000 dollars per million tokens", fix)
    return price


def _hashes(value: Any) -> tuple[str, ...]:
    hashes = [value] if isinstance(value, str) else value
    if not isinstance(hashes, list | tuple) or not 1 <= len(hashes) <= 2:
        found = len(hashes) if isinstance(hashes, list) else kind_of(value)
        what = f"expected one or two hashes, found {found}"
        raise Unfit(what, "write [hash], or [old, new] while a key is rotated")
    for text in hashes:
        if not isinstance(text, str) or not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
            fix = 'write its 64 hexadecimal digits in quotes; "qwen3-router key new" prints them'
            raise Unfit("not a SHA-256", fix)
    return tuple(text.lower() for text in hashes)


def _day(value: Any) -> date:
    if not isinstance(value, date):
        fix = "write it without quotes as 2027-01-31 or 2027-01-31T12:00:00Z"
        raise Unfit(f"expected a date, found {kind_of(value)}", fix)
    return value


def _plain(read: Callable[[Any], Any]) -> GetPydanticSchema:
    """Return a schema that reads a value by *read* alone, and keeps errors free of union tags."""
    return GetPydanticSchema(
        lambda _source, _handler: core_schema.no_info_plain_validator_function(read)
    )


_REFERENCE = {"type": "string", "pattern": "^os\\.environ/[A-Z_][A-Z0-9_]*$"}

Text = Annotated[str, BeforeValidator(_text)]
DeploymentId = Annotated[
    str,
    _plain(_deployment_id),
    WithJsonSchema({"type": "string", "pattern": "^[!-+\\--~]{1,128}$"}),
]
BudgetName = Annotated[
    str,
    _plain(_budget_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200}),
]
Key = Annotated[Secret | EnvRef, _plain(_key), WithJsonSchema({"type": "string"})]
Url = Annotated[
    str | EnvRef,
    _plain(_url),
    WithJsonSchema({"anyOf": [_REFERENCE, {"type": "string", "pattern": "^https?://[^\\s?#]+$"}]}),
]
LedgerUrl = Annotated[
    str | EnvRef,
    _plain(_ledger),
    WithJsonSchema(
        {
            "anyOf": [
                _REFERENCE,
                {"type": "string", "pattern": "^(sqlite(:///[^\\s?#]+)?|rediss?://\\S+)$"},
            ]
        }
    ),
]
Usd = Annotated[
    Decimal, _plain(_usd), WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0})
]
Price = Annotated[
    Decimal, _plain(_price), WithJsonSchema({"type": ["number", "string"], "minimum": 0})
]
_HASH = {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}
Hashes = Annotated[
    tuple[str, ...],
    _plain(_hashes),
    WithJsonSchema({"anyOf": [_HASH, {"type": "array", "items": _HASH, "maxItems": 2}]}),
]
Day = Annotated[date, _plain(_day), WithJsonSchema({"type": "string", "pattern": "^\\d{4}-"})]
