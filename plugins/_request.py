"""What a client may ask for: the body of an embeddings request, checked field by field.

Pure: bytes and headers in, an `Asked` or a `ClientError` out. Nothing here counts tokens or knows
a provider, so a bad request costs nothing and an unauthenticated one costs almost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import orjson

from plugins._errors import ClientError

__all__ = ["BODY_FIELDS", "INPUT_TYPE_HEADER", "Asked", "parse_body", "parse_fields", "split_model"]

INPUT_TYPE_HEADER = "x-router-input-type"
# The documented list: everything else in a body is dropped, so that no client can steer keys,
# bases, retries, fallbacks, timeouts or mocks (LiteLLM obeys some forty such fields).
BODY_FIELDS = (
    "model",
    "input",
    "dimensions",
    "encoding_format",
    "user",
    "input_type",
    "instruct",
    "truncate",
)
_INPUT_TYPES = ("query", "document")
_ENCODINGS = ("float", "base64")
_TRUNCATE = ("NONE", "END")
_MAX_USER_CHARS = 1024
_MAX_INSTRUCT_CHARS = 4096
_MOST_FIELDS = 256
_MOST_SCANNED_INPUTS = 4096
# A good request has at most two brackets or strings per input. Millions of empty lists would keep
# the parser, and with it the whole process, busy for seconds.
_MOST_PARTS = 50_000
# Possessive, so that a string of escapes leaves nothing to go back to.
_PART = re.compile(rb'("(?:[^"\\]++|(?:\\.)++)*+")(\s*+:)?+|[{}\[\]]', re.DOTALL)
_PRINTABLE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the client meant it.

    *texts* are the inputs in order, byte for byte, without the query instruction. *token_inputs*
    holds token ids instead when the client sent ids; exactly one of the two is non-empty.
    *dimensions* is None for the group's default. *instruct* is None for a document.
    """

    model: str
    group: str
    texts: tuple[str, ...]
    token_inputs: tuple[tuple[int, ...], ...]
    dimensions: int | None
    encoding: str
    user: str | None
    query: bool
    instruct: str | None
    truncate: bool


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in *body*.

    Raises:
        ClientError: 400 `invalid_json` for anything but one object with distinct names: invalid
            UTF-8, NaN, lone surrogates and nesting past orjson's limit included.
    """
    _refuse_crowds(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f" (line {error.lineno}, column {error.colno})" if error.lineno else ""
        raise ClientError(
            400, "invalid_json", f"The request body is not valid JSON{where}."
        ) from None
    if not isinstance(value, dict):
        raise ClientError(400, "invalid_json", "The request body must be one JSON object.")
    if len(value) > _MOST_FIELDS:
        raise ClientError(
            400, "invalid_json", f"The request body has more than {_MOST_FIELDS} fields."
        )
    # A body with too many inputs is refused by their count, with a better word for it.
    inputs = value.get("input")
    if not (isinstance(inputs, list) and len(inputs) > _MOST_SCANNED_INPUTS):
        _refuse_repeated_names(body)
    return value


def _refuse_crowds(body: bytes) -> None:
    """Refuse what holds too many lists, objects and names, before they are made."""
    if body.count(b"[") + body.count(b"{") + body.count(b":") <= _MOST_PARTS:
        return  # most bodies; in the others most of these signs stand in texts
    found = 0
    for match in _PART.finditer(body):
        found += match[2] is not None or body[match.start()] in b"[{"
        if found > _MOST_PARTS:
            raise ClientError(
                400, "invalid_json", "The request body has too many lists, objects and names."
            )


def _refuse_repeated_names(body: bytes) -> None:
    """Refuse an outer object that holds a name twice; *body* must be valid JSON.

    Parsers keep the last of two equal names in silence; which one was meant cannot be known.
    """
    depth, seen = 0, set()
    for count, match in enumerate(_PART.finditer(body)):
        if count == _MOST_PARTS:
            raise ClientError(
                400, "invalid_json", "The request body has too many names and values."
            )
        first = body[match.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
        elif depth == 1 and match[2] is not None:
            name = orjson.loads(match[1])
            if name in seen:
                shown = repr(name) if _PRINTABLE.fullmatch(name) else "a field"
                raise ClientError(
                    400, "invalid_json", f"The request body names {shown} more than once."
                )
            seen.add(name)


def split_model(model: str) -> tuple[str, str | None]:
    """Return the group name and the input type of *model*, such as `qwen3-embedding-8b:query`."""
    group, colon, kind = model.rpartition(":")
    return (group, kind) if colon and kind in _INPUT_TYPES else (model, None)


def parse_fields(
    fields: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    max_inputs: int,
    default_instruct: str,
) -> Asked:
    """Return what the client asked for.

    *headers* has lower-case names. *default_instruct* is the group's task text for queries.

    Raises:
        ClientError: 400, naming the field, and `input[i]` for one of several inputs.
    """
    _refuse_near_misses(fields)
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise _invalid("model", "must be a model name")
    group, suffix = split_model(model)
    texts, ids = _inputs(fields.get("input"), max_inputs)
    query, instruct = _query(fields, headers, suffix, default_instruct)
    return Asked(
        model=model,
        group=group,
        texts=texts,
        token_inputs=ids,
        dimensions=_dimensions(fields.get("dimensions")),
        encoding=_choice(fields, "encoding_format", _ENCODINGS, "float"),
        user=_text(fields, "user", _MAX_USER_CHARS),
        query=query,
        instruct=instruct,
        truncate=_choice(fields, "truncate", _TRUNCATE, "NONE") == "END",
    )


def _invalid(param: str, what: str) -> ClientError:
    return ClientError(400, "invalid_input", f"`{param}` {what}.", param=param)


def _refuse_near_misses(fields: Mapping[str, Any]) -> None:
    """Refuse `dimension` or `inputs`: dropping a misspelt field would answer another question."""
    for name in fields:
        if name in BODY_FIELDS:
            continue
        close = get_close_matches(name[:40], BODY_FIELDS, n=1, cutoff=0.88)
        if close:
            shown = name if _PRINTABLE.fullmatch(name) else "a field"
            raise ClientError(
                400,
                "invalid_input",
                f"Unknown field {shown!r}; did you mean `{close[0]}`?",
                param=close[0],
            )


def _inputs(value: Any, most: int) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    if isinstance(value, str):
        if not value:
            raise _invalid("input", "must not be empty")
        return (value,), ()
    if not isinstance(value, list):
        raise _invalid("input", "must be a string or a list of strings")
    if not value:
        raise _invalid("input", "must not be an empty list")
    first = value[0]
    if _is_id(first):
        return (), (_ids(value, "input"),)
    if len(value) > most:
        raise ClientError(
            400,
            "too_many_inputs",
            f"`input` has {len(value)} items; at most {most} are allowed in one request.",
            param="input",
        )
    if isinstance(first, list):
        return (), tuple(_ids(item, f"input[{i}]") for i, item in enumerate(value))
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise _invalid(f"input[{i}]", f"must be a string, not {_json_type(item)}")
        if not item:
            raise _invalid(f"input[{i}]", "must not be an empty string")
    return tuple(value), ()


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ids(value: Any, param: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise _invalid(
            param, f"must be a list of token ids like its siblings, not {_json_type(value)}"
        )
    if not value:
        raise _invalid(param, "must not be empty")
    for item in value:
        if not _is_id(item) or item < 0:
            raise _invalid(param, "must hold token ids only")
    return tuple(value)


def _json_type(value: Any) -> str:
    names = {
        bool: "a boolean",
        type(None): "null",
        dict: "an object",
        list: "a list",
        str: "a string",
    }
    return names.get(type(value), "a number")


def _dimensions(value: Any) -> int | None:
    if value is None:
        return None
    if not _is_id(value) or not 32 <= value <= 4096:
        raise ClientError(
            400,
            "invalid_dimensions",
            "`dimensions` must be an integer from 32 to 4096.",
            param="dimensions",
        )
    return int(value)


def _choice(fields: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value in allowed:
        return value
    raise _invalid(name, "must be " + " or ".join(f'"{item}"' for item in allowed))


def _text(fields: Mapping[str, Any], name: str, most: int) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > most:
        raise _invalid(name, f"must be a string of at most {most} characters")
    return value


def _query(
    fields: Mapping[str, Any], headers: Mapping[str, str], suffix: str | None, default: str
) -> tuple[bool, str | None]:
    """Return whether the inputs are queries, and with which instruction."""
    said = {
        "`input_type`": fields.get("input_type"),
        f"the header {INPUT_TYPE_HEADER}": headers.get(INPUT_TYPE_HEADER),
    }
    for where, value in said.items():
        if value is not None and value not in _INPUT_TYPES:
            raise ClientError(
                400, "invalid_input", f'{where} must be "query" or "document".', param="input_type"
            )
    kinds = {value for value in (*said.values(), suffix) if value is not None}
    if len(kinds) > 1:
        raise ClientError(
            400,
            "invalid_input",
            "The body, the header and the model name disagree on the input type.",
            param="input_type",
        )
    instruct = _text(fields, "instruct", _MAX_INSTRUCT_CHARS)
    if instruct is not None and "document" in kinds:
        raise _invalid("instruct", "is for queries; documents are embedded as they are")
    query = "query" in kinds or instruct is not None
    return query, (instruct if instruct else default) if query else None
