"""The bytes of a reply in OpenAI's shape, and the headers that say how it came about.

The body is joined from ready pieces (one encoded vector each), so that no float becomes a Python
object and no serialiser walks the vectors again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import orjson

from plugins._apart import apart
from plugins._plan import Plan
from plugins._space import SPACE_HEADER
from plugins._vectors import cut, encode_base64, encode_floats

__all__ = ["assemble", "body", "headers", "pieces", "ready", "usd"]

# Writing 32 x 4096 numbers takes 3 ms; from here on the event loop would be held too long.
_APART_FROM_NUMBERS = 128 * 4096


async def ready(
    plan: Plan, written_out: Callable[[Sequence[bytes]], None] = lambda _: None
) -> bytes:
    """Return `body` of a complete *plan*, a large one made beside the event loop.

    *written_out* is handed the JSON of every vector.
    """

    def work() -> tuple[list[bytes], bytes]:
        made = pieces(plan)
        return made, assemble(made, plan.asked.model, plan.tokens)

    made, whole = work() if plan.size() < _APART_FROM_NUMBERS else await apart(work)
    written_out(made)
    return whole


def body(plan: Plan) -> bytes:
    """Return the JSON reply for a complete *plan*: exact dimensions and encoding, asked model."""
    return assemble(pieces(plan), plan.asked.model, plan.tokens)


def pieces(plan: Plan) -> list[bytes]:
    """Return the JSON of every vector; equal texts are written out once."""
    every = range(len(plan.texts))
    made = {**plan.written, **plan.pieces}
    rest = [i for i in every if i not in plan.repeats and i not in made]
    if rest:
        encode = encode_base64 if plan.asked.encoding == "base64" else encode_floats
        made.update(zip(rest, encode(cut(plan.rows(rest), plan.dimensions)), strict=True))
    return [made[plan.repeats.get(i, i)] for i in every]


def assemble(written: Sequence[bytes], model: str, tokens: int) -> bytes:
    """Return OpenAI's list object around *written*, each the JSON of one embedding."""
    # One join, so that the vectors, which are nearly all of it, are copied once.
    parts = [b'{"object":"list","data":[']
    before = b'{"object":"embedding","index":%d,"embedding":'
    for i, piece in enumerate(written):
        parts += (before % i, piece)
        before = b'},{"object":"embedding","index":%d,"embedding":'
    parts.append(
        b'%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}'
        % (b"}" if written else b"", orjson.dumps(model), tokens, tokens)
    )
    return b"".join(parts)


def headers(plan: Plan) -> dict[str, str]:
    """Return our headers: who answered, from which space, in how many wire calls, at what cost."""
    return {
        "x-router-deployment": ",".join(plan.served_by),
        SPACE_HEADER: plan.space,
        "x-router-attempts": str(plan.calls),
        "x-router-cost-usd": usd(plan.cost_nano_usd),
        "x-router-request-id": plan.id,
    }


def usd(nano_usd: int) -> str:
    """Return nano-dollars as plain decimal dollars, such as `0.00000042`."""
    return f"{Decimal(nano_usd).scaleb(-9).normalize():f}" if nano_usd else "0"
