"""Write the tables of docs/providers.md anew from the catalogue; a test holds the two together.

python scripts/providers_md.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.documented import ROOT, write

if TYPE_CHECKING:
    from router_config.catalogue import Provider

DOCUMENT = ROOT / "docs" / "providers.md"


def tables() -> dict[str, str]:
    """Return the tables of prices, of limits and of own servers."""
    from router_config import load_catalogue

    known = load_catalogue()
    hosted = [one for one in known.values() if one.hosted]
    own = [one for one in known.values() if not one.hosted]
    return {
        "prices": _table(
            ["provider", "`qwen3/…`", "USD per 1M tokens", "as of", "trust", "model card", "free"],
            [[one.title, f"`{one.name}`", *_price(one), _card(one), _free(one)] for one in hosted],
        ),
        "limits": _table(
            [
                "`qwen3/…`",
                "key",
                "region",
                "texts a call",
                "tokens a text",
                "base64",
                "machines of",
            ],
            [_limits(one, f"`{one.key_env}`" if one.key_env else "") for one in hosted],
        ),
        "servers": _table(
            [
                "`qwen3/…`",
                "base URL",
                "region",
                "texts a call",
                "tokens a text",
                "base64",
                "server",
            ],
            [[*_limits(one, _base(one))[:-1], one.title] for one in own],
        ),
    }


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _price(one: Provider) -> list[str]:
    price = one.price
    amount = str(price.usd_per_million_tokens)
    if price.amount is not None:
        amount += f" ({price.amount} {price.currency})"
    date = price.as_of.isoformat() if price.as_of else "no date"
    return [amount, date, price.trust]


def _card(one: Provider) -> str:
    card = one.model_card
    if card is None:
        return ""
    return str(card.usd_per_million_tokens) if card.usd_per_million_tokens is not None else "free"


def _free(one: Provider) -> str:
    said = one.model_card.free if one.model_card is not None else None
    return f"{said} (by the card)" if said else ""


def _limits(one: Provider, second: str) -> list[str]:
    limits = one.limits
    return [
        f"`{one.name}`",
        second,
        one.region,
        f"{limits.max_inputs:,}",
        f"{limits.max_tokens_per_input:,}",
        "yes" if one.base64 else "no",
        ", ".join(one.upstreams),
    ]


def _base(one: Provider) -> str:
    return f"`{one.api_base}`" if one.api_base else "yours"


if __name__ == "__main__":
    write(DOCUMENT, tables())
