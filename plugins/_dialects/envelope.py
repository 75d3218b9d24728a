"""What stands around the vectors of a 200: count, order, usage, cost.

The numbers themselves are read by `plugins._floats` and checked by `plugins._vectors.check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from plugins._errors import Fault, ProviderFault

__all__ = ["cost_usd", "in_input_order", "refused_status", "token_count", "vectors_of"]

_MAX_TOKENS = 10**9
_MAX_COST_USD = 1000
_APOLOGIES = ("error", "message", "detail", "code")


def refused_status(tree: Mapping[str, Any], vectors_key: str) -> int | None:
    """Return the status that a 200 without vectors, or with an error beside them, really means.

    None if it is no refusal. An error that names no HTTP status counts as 400: its text then
    decides as it would there, and an unknown text is a mild class. `"error": null` is no error.
    """
    error = tree.get("error")
    has_vectors = tree.get(vectors_key) is not None
    apologies = (tree.get(key) for key in _APOLOGIES)
    # A long array of numbers is a numpy array here, which is neither true nor false.
    sorry = any(bool(said) for said in apologies if isinstance(said, str | int | list | dict))
    if error is None and (has_vectors or not sorry):
        return None
    code = error.get("code") if isinstance(error, dict) else tree.get("code")
    if isinstance(code, str) and len(code) == 3 and code.isascii() and code.isdigit():
        code = int(code)
    return code if type(code) is int and 400 <= code <= 599 else 400


def vectors_of(value: Any, n: int) -> list[Any]:
    """Return *value* if it is a list of *n*. Raises: ProviderFault(CORRUPT)."""
    if not isinstance(value, list):
        raise ProviderFault(Fault.CORRUPT, "no vectors in the reply")
    if len(value) != n:
        raise ProviderFault(Fault.CORRUPT, f"{len(value)} vectors for {n} inputs")
    return value


def in_input_order(data: Sequence[Any]) -> list[Any]:
    """Return the `embedding` of each item of OpenAI's `data`, in the order of the inputs.

    By `index` if every item has one, by position if none has. Anything else could hand one text the
    vector of another. Raises: ProviderFault(CORRUPT).
    """
    for position, item in enumerate(data):
        if not isinstance(item, dict) or "embedding" not in item:
            raise ProviderFault(Fault.CORRUPT, f"item {position} of the reply has no embedding")
    without = sum(item.get("index") is None for item in data)
    if without == len(data):
        return [item["embedding"] for item in data]
    if without:
        raise ProviderFault(Fault.CORRUPT, f"{without} of {len(data)} items have no index")
    ordered: dict[int, Any] = {}
    for position, item in enumerate(data):
        index = item["index"]
        if type(index) is not int or not 0 <= index < len(data):
            raise ProviderFault(Fault.CORRUPT, f"item {position} has an index that no input has")
        if index in ordered:
            raise ProviderFault(Fault.CORRUPT, f"two items of the reply have the index {index}")
        ordered[index] = item["embedding"]
    return [ordered[index] for index in range(len(data))]


def token_count(*values: Any) -> int | None:
    """Return the first of *values* that can be a count of tokens, an integer from 1 to 10^9.

    If none can, the first integer: the attempt knows our own count, and says in the log what it did
    not believe. true and 9.0 are not integers.
    """
    counts = [value for value in values if type(value) is int]
    return next((one for one in counts if 1 <= one <= _MAX_TOKENS), counts[0] if counts else None)


def cost_usd(value: Any) -> Decimal | None:
    """Return a cost in USD as exact as it was written, None if it is not one."""
    if type(value) is int or (isinstance(value, Decimal) and value.is_finite()):
        cost = Decimal(value)
        return cost if 0 <= cost <= _MAX_COST_USD else None
    return None
