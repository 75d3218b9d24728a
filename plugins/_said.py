"""What was said of one endpoint by calls, by parity and by operators: joined, never overwritten.

Of each there is the last word, the one with the highest stamp. Joining what two processes know
takes the higher word of each, so all come to the same whatever the order in which they hear, how
often, and what was lost in between. What calls show never ends what parity or an operator said;
only a later word of theirs does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import orjson

from plugins._standing import Standing

__all__ = ["Said"]


@dataclass(frozen=True, slots=True)
class Said:
    """The last words on one endpoint; all times in it are by the store's clock.

    *calls* is what calls and probes showed, *parity* a quarantine or that it is over, *closed* what
    an operator took out, *lifted* that one brought it back, whoever had taken it out.
    """

    calls: Standing | None = None
    parity: Standing | None = None
    closed: Standing | None = None
    lifted: Standing | None = None

    @classmethod
    def of(cls, word: Standing) -> Said:
        """Return *word* alone."""
        if word.kind == "quarantined":
            return cls(parity=word)
        if word.is_closed:
            return cls(closed=word)
        if word.kind == "returning" and word.by in ("parity", "operator"):
            return cls(parity=word) if word.by == "parity" else cls(lifted=word)
        return cls(calls=word)

    @property
    def stamp(self) -> int:
        """The highest stamp; a further word must have a higher one."""
        return max((one.stamp for one in self._words()), default=0)

    def join(self, other: Said) -> Said:
        """Return what both know together."""
        joined = Said(
            _later(self.calls, other.calls),
            _later(self.parity, other.parity),
            _later(self.closed, other.closed),
            _later(self.lifted, other.lifted),
        )
        return self if joined == self else joined

    def standing(self, now: float, slow_start_s: float, over: int = 0) -> Standing | None:
        """Return what follows at *now*, by the store's clock; None if it is simply fine.

        A word that time has ended says nothing; *over* is the stamp of one that has ended here.
        """
        words = self._words()
        if not words:
            return None
        parity, closed = self.parity, self.closed
        lifted = 0 if self.lifted is None else self.lifted.stamp
        if parity is not None and parity.kind == "quarantined" and parity.stamp >= lifted:
            return parity
        if (
            closed is not None
            and closed.stamp >= lifted
            and (closed.until is None or closed.until > now)
        ):
            return closed
        newest = max(words, key=_order)
        if newest.is_closed and newest.until is not None:  # an operator's pause that is over
            until = newest.until + slow_start_s
            newest = replace(newest, kind="returning", since=newest.until, until=until)
        ends = newest.kind in ("resting", "returning") and newest.until is not None
        if newest.stamp <= over or (ends and (newest.until or 0.0) <= now):
            return None
        return newest

    def to_json(self) -> bytes:
        """Return it as a note."""
        return orjson.dumps({one: asdict(word) for one, word in self._named().items()})

    @classmethod
    def from_json(cls, text: bytes | str) -> Said:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        try:
            values: dict[str, Any] = orjson.loads(text)
            words = {name: Standing.from_dict(value) for name, value in values.items()}
            found = cls(**words)
        except (AttributeError, TypeError, orjson.JSONDecodeError):
            raise ValueError("not what is said of an endpoint") from None
        if any(cls.of(word) != cls(**{name: word}) for name, word in words.items()):
            raise ValueError("a word in the place of another's")
        return found

    def _named(self) -> dict[str, Standing]:
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: word for name, word in found.items() if word is not None}

    def _words(self) -> list[Standing]:
        every = (self.calls, self.parity, self.closed, self.lifted)
        return [one for one in every if one is not None]


def _order(word: Standing) -> tuple[Any, ...]:
    """Return what sorts words: by stamp; the rest only so that no two are in the same place."""
    until = float("inf") if word.until is None else word.until
    names = (word.by == "operator", word.by == "parity", word.kind, word.reason, word.by, word.key)
    return (word.stamp, *names, word.since, until, word.strikes)


def _later(one: Standing | None, other: Standing | None) -> Standing | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other, key=_order)
