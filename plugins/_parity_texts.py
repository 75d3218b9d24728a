"""The texts that prove a vector space, and what the model card says of four of them.

Fixed, since recorded vectors belong to them: a change here makes every recorded reference old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["AGAIN", "CALLS", "CARD", "CARD_NAMES", "PROBES", "SHA256", "Probe"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One text as it goes over the wire; *query* tells whether the instruction is in front."""

    text: str
    query: bool = False


_INSTRUCT = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)


def _long() -> str:
    """Return some 4,600 tokens: more than the usual silent limits (512, 2,048, 4,096).

    Its last part is about something else than the rest, so that a cut would be felt.
    """
    ledger = "".join(
        f"Entry {n}: the store of the northern harbour received {n * 7} crates of dried fish and "
        f"gave {n * 3} of them to the ships that left in the same week.\n"
        for n in range(1, 101)
    )
    stars = "".join(
        f"In chapter {n} the astronomer measures how bright star number {n * 11} is tonight, and "
        "doubts her own eyes.\n"
        for n in range(1, 41)
    )
    return ledger + stars


PROBES: Mapping[str, Probe] = MappingProxyType(
    {
        "card-query-1": Probe(_INSTRUCT + "What is the capital of China?", query=True),
        "card-query-2": Probe(_INSTRUCT + "Explain gravity", query=True),
        "card-document-1": Probe("The capital of China is Beijing."),
        "card-document-2": Probe(
            "Gravity is a force that attracts two bodies towards each other. It gives weight to "
            "physical objects and is responsible for the movement of planets around the sun."
        ),
        "russian": Probe(
            "Возврат билета оформляют в кассе вокзала или в личном кабинете; деньги вернутся на "
            "карту в течение семи дней."
        ),
        "english": Probe(
            "The warranty covers the battery for two years, unless the seal on the case is broken."
        ),
        "chinese": Probe("订单发货后通常三到五天送达，节假日期间可能会有所延迟。"),
        "code": Probe(
            "def mean(values: list[float]) -> float:\n"
            '    """Return the arithmetic mean; an empty list has none."""\n'
            "    return sum(values) / len(values)\n"
        ),
        "import": Probe(
            "import numpy as np\nimport pandas as pd\n\n"
            'frame = pd.read_csv("prices.csv")\nprint(np.log(frame["close"]).diff().std())\n'
        ),
        "long": Probe(_long()),
    }
)

CALLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # Eight in the first: an old limit of Fireworks is eight texts in a call.
        "short": tuple(name for name in PROBES if name not in ("import", "long")),
        # Alone, since a NaN spoils its whole call, and since a cut shows in the count of the call.
        "import": ("import",),
        "long": ("long",),
        "again": ("russian",),
    }
)
"""What is sent together, in this order."""

AGAIN = "russian"
"""The text that is sent twice: in company and alone."""

CARD_NAMES = (("card-query-1", "card-query-2"), ("card-document-1", "card-document-2"))

# https://huggingface.co/Qwen/Qwen3-Embedding-8B (2026-11), by transformers; vLLM's are 0.0018 off.
CARD = ((0.7493, 0.0751), (0.0880, 0.6318))
"""The card's cosines: a row per query of `CARD_NAMES`, a column per document."""

SHA256 = hashlib.sha256(
    "\0".join(f"{name}\0{probe.text}" for name, probe in PROBES.items()).encode()
).hexdigest()
"""Of all names and texts: vectors recorded for others do not compare."""
