"""What tells one recorded space from another: the word in the file, else its vectors' own hash.

A recording of the same space keeps the word of the one before it, as it keeps the revision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["lineage_of"]

_LENGTH = 8


def lineage_of(recorded: Mapping[str, Any]) -> str:
    """Return the word, eight hexadecimal digits; *recorded* is the file's JSON object."""
    said = recorded.get("space")
    if isinstance(said, str) and len(said) == _LENGTH and not set(said) - set("0123456789abcdef"):
        return said
    vectors = json.dumps(recorded.get("vectors"), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(vectors.encode()).hexdigest()[:_LENGTH]
