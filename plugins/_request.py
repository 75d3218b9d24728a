"""What a client may ask for: the body of an embeddings request, checked field by field.

Pure: bytes and headers in, an `Asked` or a `ClientError` out. Nothing here counts tokens or knows
a provider, so a bad request costs nothing and an unauthenticated one costs almost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import orjson

from plugins._errors import ClientError
from plugins._space import SPACE_HEADER

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
# The parser holds the whole process while it makes what a body describes, a second for millions of
# parts. A good request has at most two brackets or strings per input ...
_MOST_PARTS = 50_000
# ... and, between token ids, a comma each. OpenAI takes 300,000 tokens in one request.
_MOST_COMMAS = 500_000
_MOST_STRINGS = 100_000  # looked at, in a body that has to be looked through
# The rest of a string up to its end, or a stretch of it: a regex holds the whole process too.
# Possessive, so that a string of escapes leaves nothing to go back to.
_STRETCH = re.compile(rb'(?:[^"\\]{1,1024}+|(?:\\.){1,256}+){1,1024}+', re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*+:")
_PRINTABLE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the client meant it.

    *texts* are the inputs in order, byte for byte, without the query instruction. *token_inputs*
    holds token ids instead when the client sent ids; exactly one of the two is non-empty.
    *dimensions* is None for the group's default. *instruct* is None for a document. *space* is the
    vector space that the client has pinned. *no_store* keeps its vectors out of the cache, both
    ways.
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
    space: str | None = None
    no_store: bool = False


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
    """Refuse what holds too many lists, objects, names and values, before they are made."""
    commas = body.count(b",")
    if commas <= _MOST_COMMAS and _openings(body, 0, len(body)) <= _MOST_PARTS:
        return  # most bodies; in the others most of these signs stand in texts
    openings = commas = count = after = 0
    for start, end in _strings(body):
        found = _openings(body, after, start), body.count(b",", after, start)
        if after and found == (0, 0):
            return  # two strings side by side: the parser stops here
        openings, commas, count, after = openings + found[0], commas + found[1], count + 1, end
        if openings > _MOST_PARTS or commas > _MOST_COMMAS or count > _MOST_STRINGS:
            break
    openings += _openings(body, after, len(body))
    commas += body.count(b",", after)
    if openings > _MOST_PARTS or commas > _MOST_COMMAS or count > _MOST_STRINGS:
        raise ClientError(
            400, "invalid_json", "The request body has too many lists, objects, names and values."
        )


def _openings(body: bytes, start: int, end: int) -> int:
    """Return how many lists, objects and names seem to be between two places."""
    return sum(body.count(sign, start, end) for sign in (b"[", b"{", b":"))


def _strings(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each string of the JSON in *body* starts and ends, its quotes included."""
    end = 0
    while (start := body.find(b'"', end)) >= 0:
        end = start + 1
        while stretch := _STRETCH.match(body, end):
            end = stretch.end()
        if body[end : end + 1] != b'"':
            return  # it never ends
        end += 1
        yield start, end


def _refuse_repeated_names(body: bytes) -> None:
    """Refuse an outer object that holds a name twice; *body* must be valid JSON.

    Parsers keep the last of two equal names in silence; which one was meant cannot be known.
    """
    depth = after = 0
    seen = set()
    for count, (start, end) in enumerate(_strings(body)):
        if count == _MOST_PARTS:
            raise ClientError(
                400, "invalid_json", "The request body has too many names and values."
            )
        depth += body.count(b"{", after, start) + body.count(b"[", after, start)
        depth -= body.count(b"}", after, start) + body.count(b"]", after, start)
        after = end
        if depth == 1 and _COLON.match(body, end):
            name = orjson.loads(body[start:end])
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
        space=headers.get(SPACE_HEADER),
        no_store="no-store" in re.split(r"[\s,]+", headers.get("cache-control", "").lower()),
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
