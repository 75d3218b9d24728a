"""What an account may still do: requests and tokens per minute, calls at once, money."""

from __future__ import annotations

import time
from collections import deque
from decimal import ROUND_CEILING, Decimal
from typing import Any

__all__ = ["Quota"]

_MINUTE_S = 60.0
# Shown in headers where a provider sends them and no limit was set.
_SHOWN = {"requests": 600, "tokens": 1_000_000}


class Quota:
    """Limits are None until set: an emulator refuses nobody unless a test wants it to.

    *credit_nano_usd* is what may still be spent, *price* USD per million tokens.
    """

    def __init__(self, price: str, concurrent: int | None) -> None:
        self.price = Decimal(price)
        self.concurrent = concurrent
        self.requests_per_minute: int | None = None
        self.tokens_per_minute: int | None = None
        self.credit_nano_usd: int | None = None
        self._window: deque[tuple[float, int]] = deque()
        self._tokens = 0

    def cost_nano_usd(self, tokens: int) -> int:
        """Return what *tokens* cost in nano-dollars, rounded up."""
        exact = self.price * 1000 * tokens
        return int(exact.to_integral_value(rounding=ROUND_CEILING))

    def wait_s(self, tokens: int) -> float:
        """Return 0 and count the call if it fits into this minute, else the seconds to wait."""
        now = time.monotonic()
        while self._window and self._window[0][0] <= now - _MINUTE_S:
            self._tokens -= self._window.popleft()[1]
        requests, per_minute = self.requests_per_minute, self.tokens_per_minute
        full = requests is not None and len(self._window) >= requests
        full = full or (per_minute is not None and self._tokens + tokens > per_minute)
        if full:
            return max(0.001, self._window[0][0] + _MINUTE_S - now) if self._window else _MINUTE_S
        if requests is not None or per_minute is not None:
            self._window.append((now, tokens))
            self._tokens += tokens
        return 0.0

    def left(self) -> dict[str, int]:
        """Return limits and what remains of them, for headers."""
        requests = self.requests_per_minute or _SHOWN["requests"]
        tokens = self.tokens_per_minute or _SHOWN["tokens"]
        return {
            "limit_requests": requests,
            "remaining_requests": max(0, requests - len(self._window)),
            "limit_tokens": tokens,
            "remaining_tokens": max(0, tokens - self._tokens),
        }

    def set(self, name: str, value: Any) -> bool:
        """Set a limit and return True, or return False if *name* is none."""
        match name:
            case "price":
                self.price = Decimal(str(value))
            case "credit_usd":
                self.credit_nano_usd = None if value is None else int(Decimal(str(value)) * 10**9)
            case "concurrent" | "requests_per_minute" | "tokens_per_minute":
                setattr(self, name, None if value is None else int(value))
            case _:
                return False
        return True
