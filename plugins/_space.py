"""The name of a vector space, as it stands in `x-router-space`.

Equal names mean that vectors compare: same model, pooling and normalisation, proven against the
same reference, cut to the same length. Not the instruction: queries and documents share an index.
"""

from __future__ import annotations

from plugins._errors import ClientError

__all__ = ["SPACE_HEADER", "check_space", "fingerprint"]

SPACE_HEADER = "x-router-space"
_SHOWN = 64


def fingerprint(revision: int, dimensions: int) -> str:
    """Return the name, such as `qwen3-8b:last:l2:r1:1024`; *revision* is the reference's."""
    return f"qwen3-8b:last:l2:r{revision}:{dimensions}"


def check_space(pinned: str | None, space: str, model: str) -> None:
    """Refuse to answer from *space* who has *pinned* another one; None pins nothing.

    Raises:
        ClientError: 409 `space_mismatch`; no call was made.
    """
    given = (pinned or "").strip()
    if given in ("", space):
        return
    shown = given if len(given) <= _SHOWN and given.isascii() and given.isprintable() else "another"
    raise ClientError(
        409,
        "space_mismatch",
        f"`{model}` would answer this request from the vector space {space}, and the header "
        f"{SPACE_HEADER} asks for {shown}. Vectors of different spaces do not compare: ask with "
        "the model and `dimensions` of the index, or build the index anew.",
    )
