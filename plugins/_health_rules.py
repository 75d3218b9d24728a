"""The numbers of health: what the config says, and how long the next ejection is."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugins._standing import Standing
from router_config import Health

__all__ = ["Rules", "Settings", "settings_of"]

_PROBE_AT_MOST_EVERY_S = 60.0
_LEAST_FACTOR = 0.1


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of the machine; seconds where the name says so."""

    base_s: float = 10.0
    max_s: float = 300.0
    longest_rest_s: float = 3600.0
    slow_start_s: float = 30.0
    lasting_retry_s: float = 3600.0
    window_s: float = 10.0
    in_a_row: int = 3
    lasting_in_a_row: int = 2
    rise: int = 2
    least: int = 10  # calls in the window before their share of failures says anything
    share: float = 0.5

    def doubled_s(self, times: int) -> float:
        """Return the base, doubled with each of *times* after the first, up to the longest."""
        return min(self.max_s, self.base_s * 2.0 ** min(max(0, times - 1), 30))

    def span_s(self, times: int, drawn: float) -> float:
        """Return the same give or take a tenth, so that not all come back at one moment.

        *drawn* is in [0, 1).
        """
        return min(self.max_s, self.doubled_s(times) * (0.9 + 0.2 * drawn))

    def rest_s(self, told_s: float | None, times: int, drawn: float) -> float:
        """Return how long a 429 rests: as *told_s*, if it says so.

        Who says "at once", or a moment that has passed, with each of *times* means it less.
        """
        if told_s is None:
            return self.span_s(times, drawn)
        least_s = min(self.max_s, 2.0 ** min(times - 1, 30)) if told_s <= 0 else told_s
        return min(least_s, self.longest_rest_s)

    def longest_s(self, standing: Standing) -> float:
        """Return how much time *standing* can have left."""
        if standing.is_closed:
            return float("inf")
        if standing.kind == "resting":
            return self.longest_rest_s
        return self.slow_start_s if standing.kind == "returning" else self.max_s

    def factor(self, standing: Standing, now: float) -> float:
        """Return the share of its weight for one of *standing*, rising in the slow start."""
        if standing.kind != "returning" or standing.until is None:
            return 1.0
        passed = 1.0 - (standing.until - now) / self.slow_start_s
        return min(1.0, max(_LEAST_FACTOR, passed))

    def probe_every_s(self, standing: Standing) -> float:
        """Return how long a probe waits for the next one."""
        if standing.until is None:
            return self.lasting_retry_s
        return min(_PROBE_AT_MOST_EVERY_S, self.doubled_s(standing.strikes))


@dataclass(frozen=True, slots=True)
class Settings:
    """What the config says; *enabled* is False where the evidence of calls is not acted on."""

    rules: Rules = field(default_factory=Rules)
    enabled: bool = True
    panic_share: float = 0.5


def settings_of(config: Health) -> Settings:
    """Return the config's numbers as the state machine takes them."""
    rules = Rules(
        base_s=config.base_s,
        max_s=config.max_s,
        longest_rest_s=config.longest_rest_s,
        slow_start_s=config.slow_start_s,
    )
    return Settings(rules, config.enabled, config.panic_share)
