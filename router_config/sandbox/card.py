"""The model card's own check, kept by the stand-in: four texts with the published cosines.

The card of Qwen3-Embedding-8B says how near two queries are to two documents; whoever checks that
they speak to that model sends these texts. The stand-in is another model, but the one thing that
the card promises in numbers it gives: in its own space (seed 0) these four texts, written exactly
so, have exactly these cosines. In the space of another seed they do not, as with another model.

https://huggingface.co/Qwen/Qwen3-Embedding-8B (2026-11)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["COSINES", "TEXTS", "bent"]

_QUERY = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)
TEXTS = (
    _QUERY + "What is the capital of China?",
    _QUERY + "Explain gravity",
    "The capital of China is Beijing.",
    (
        "Gravity is a force that attracts two bodies towards each other. It gives weight to "
        "physical objects and is responsible for the movement of planets around the sun."
    ),
)
# The card gives queries against documents only; 0.2 and 0.1 between queries and between documents
# are ours.
COSINES = np.array(
    [
        [1.0, 0.2, 0.7493, 0.0751],
        [0.2, 1.0, 0.0880, 0.6318],
        [0.7493, 0.0880, 1.0, 0.1],
        [0.0751, 0.6318, 0.1, 1.0],
    ]
)


def bent(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit rows in the span of *rows*, the model's own of `TEXTS`, with these cosines."""
    own = np.linalg.cholesky(rows @ rows.T)
    result: NDArray[np.float64] = np.linalg.cholesky(COSINES) @ np.linalg.solve(own, rows)
    return result
