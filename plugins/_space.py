"""The name of a vector space, as it stands in `x-router-space`.

Equal names mean that vectors compare: same model, pooling and normalisation, proven against the
same reference, cut to the same length. Not the instruction: queries and documents share an index.

    no reference   qwen3-8b:last:l2:r1:1024            the published model's space
    a recorded one qwen3-8b:last:l2:r1-5b0c21fe:1024   with the word of its own recording
"""

from __future__ import annotations

import re

from plugins._errors import ClientError

__all__ = ["SPACE_HEADER", "check_space", "fingerprint"]

SPACE_HEADER = "x-router-space"
_SHOWN = 64


def fingerprint(reference: str, dimensions: int) -> str:
    """Return the name, such as `qwen3-8b:last:l2:r1:1024`; *reference* is the name of that."""
    return f"qwen3-8b:last:l2:{reference}:{dimensions}"


def check_space(pinned: str | None, space: str, model: str) -> None:
    """Refuse to answer from *space* who has *pinned* another one; None pins nothing.

    A name that was given before a reference was recorded holds on: `record` counts up where what it
    records is another space than the one found until then.

    Raises:
        ClientError: 409 `space_mismatch`; no call was made.
    """
    given = (pinned or "").strip()
    if given in ("", space, re.sub(r":(r\d+)-[0-9a-f]+:", r":\1:", space)):
        return
    shown = given if len(given) <= _SHOWN and given.isascii() and given.isprintable() else "another"
    raise ClientError(
        409,
        "space_mismatch",
        f"`{model}` would answer this request from the vector space {space}, and the header "
        f"{SPACE_HEADER} asks for {shown}. Vectors of different spaces do not compare: ask with "
        "the model and `dimensions` of the index, or build the index anew.",
    )
