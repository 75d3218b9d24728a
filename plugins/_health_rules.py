"""The numbers of health: what the config says, and how long the next ejection is."""

from __future__ import annotations

from dataclasses import dataclass, field

from router_config import Health

__all__ = ["Rules", "Settings", "settings_of"]


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
