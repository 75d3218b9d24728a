"""Readings of probe texts for unit tests: the stand-in's own vectors, and what can be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from plugins._errors import Fault, ProviderFault
from plugins._parity_judge import Count, Reading
from plugins._parity_reference import Reference
from plugins._parity_texts import CALLS, PROBES
from plugins._tokens import count
from plugins._vectors import Matrix
from router_config.sandbox import vectors
from router_config.sandbox.standin import noisy

__all__ = ["REFERENCE", "ROWS", "blurred", "counts", "reading", "refused", "rows"]


def rows(seed: int = 0) -> dict[str, Matrix]:
    """Return a vector for every probe text, from the stand-in's space *seed*."""
    made = vectors([one.text for one in PROBES.values()], seed=seed).astype(np.float32)
    return dict(zip(PROBES, made, strict=True))


ROWS = rows()
REFERENCE = Reference(ROWS, source="reference")


def blurred(cosine: float, of: Mapping[str, Matrix] = ROWS) -> dict[str, Matrix]:
    """Return vectors with exactly *cosine* to *of*."""
    wide = np.stack(list(of.values())).astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    made = noisy(wide, list(of), cosine=cosine).astype(np.float32)
    return dict(zip(of, made, strict=True))


def counts(off: int = 0) -> dict[str, Count]:
    """Return our own counts, each text *off* by so many tokens."""
    found = {}
    for call, names in CALLS.items():
        texts = [PROBES[name].text for name in names]
        ours = sum(count(texts))
        found[call] = Count(ours + off * len(texts), ours, len(texts), sum(map(len, texts)))
    return found


def reading(
    key: str = "one",
    vectors_: Mapping[str, Matrix] = ROWS,
    **changes: object,
) -> Reading:
    """Return a reading without a gap, of *vectors_*."""
    made = Reading(key, key, vectors_, vectors_.get("russian"), (1.0, 1.0), counts())
    return replace(made, **changes)  # type: ignore[arg-type]


def refused(detail: str = "vector 0 has NaN or Infinity") -> ProviderFault:
    """Return the fault of a reply whose vectors may not be handed out."""
    return ProviderFault(Fault.CORRUPT, detail)
