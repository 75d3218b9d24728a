"""Whom parity keeps out: what is known of each endpoint, from all processes, and what follows.

A failed result holds until a newer one passes. Whoever failed and is not quarantined (a note that
was lost, a file that was reloaded) is quarantined again. An operator may bring one back until it is
asked again, but not into a group that requires proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from plugins._health import Health
from plugins._notes import Notes
from plugins._parity_judge import Flaw, Verdict
from plugins._parity_result import RESULT, Result
from plugins._parity_spaces import Spaces
from plugins._shared import Shared
from plugins._standing import Standing

__all__ = ["Bars", "waive"]

_UNPROVEN = "its vectors are not proven yet"
# Two machines' clocks agree no better: what is older by less may be the very same.
_SAME_S = 1.0


async def waive(shared: Shared, key: str) -> None:
    """Note beside the result on *key* that an operator brings it back.

    So the word holds for processes that start later, too. Raises `SharedAwayError`.
    """
    version, notes = await shared.since(0)
    value = notes.get(RESULT + key)
    result = None if value is None else Result.from_json(value)
    if result is not None and any(not one.passed for one in result.verdicts.values()):
        await shared.put(RESULT + key, replace(result, waived=True).to_json(), seen=version)


class Bars:
    """What one process knows; *spaces* gives those of the configuration in force."""

    def __init__(self, health: Health, notes: Notes, spaces: Callable[[], Spaces]) -> None:
        self.results: dict[str, Result] = {}
        self._health = health
        self._notes = notes
        self._spaces = spaces
        self._accused: dict[str, tuple[str, str, float, str]] = {}
        notes.watch(RESULT, self._hear)
        health.on_change.append(self._on_standing)

    def unfit(self, key: str, group: str) -> str | None:
        """Return why the endpoint *key* may not answer requests to *group*, or None if it may."""
        spaces = self._spaces()
        space = spaces.of_group.get(group)
        if space is None:
            return None
        result = self.results.get(key)
        verdict = None if result is None else result.verdicts.get(space.id)
        if result is None or verdict is None:
            if group not in spaces.required:
                return None
            gap = None if result is None else result.gap
            return _UNPROVEN if gap is None else f"{_UNPROVEN}: {gap}"
        if verdict.passed or (result.waived and group not in spaces.required):
            return None
        return f"parity: {verdict.flaw}"

    def keep(self, result: Result) -> None:
        """Keep what was found here, and tell the others."""
        self.results[result.key] = result
        self._say(result)

    def failed(self, key: str) -> Verdict | None:
        """Return the verdict for which *key* is quarantined: of all its spaces it is of none."""
        result, spaces = self.results.get(key), self._spaces()
        if result is None or key not in spaces.needed:
            return None
        known = {id_: result.verdicts.get(id_) for id_ in spaces.needed[key]}
        if any(one is not None and one.passed for one in known.values()):
            return None
        # Who only stands in for others is none of the worse for not being of their space.
        own = [one for id_, one in known.items() if one is not None and id_ in spaces.own[key]]
        return own[0] if own else None

    def quarantine(self, key: str, verdict: Verdict) -> None:
        """Take the endpoint out for *verdict*, unless it is out for that or by an operator."""
        reason = f"parity: {verdict.flaw}: {verdict.reason}"
        standing = self._health.standing(key)
        if (
            standing is None
            or not standing.is_closed
            or (standing.by == "parity" and standing.reason != reason)
        ):
            self._health.quarantine(key, reason)

    def accuse(self, key: str, group: str, witness: str, at: float, words: str) -> None:
        """Quarantine *key*, which gets no probe texts, if *witness* passes those after *at*.

        The two gave one text of a client different vectors, as *words* say.
        """
        self._accused.setdefault(key, (group, witness, at, words))

    def enforce(self) -> None:
        """Quarantine again whoever has failed and is not out, and who is convicted by a witness."""
        for key, (group, witness, at, words) in list(self._accused.items()):
            result, space = self.results.get(witness), self._spaces().of_group.get(group)
            if result is not None and result.gap is None and result.at > at:
                del self._accused[key]
                verdict = None if space is None else result.verdicts.get(space.id)
                if verdict is not None and verdict.passed:
                    self.quarantine(key, Verdict(Flaw.SPACE, words))
        for key in self._spaces().needed:
            verdict = self.failed(key)
            if verdict is None or self.results[key].waived:
                continue
            standing = self._health.standing(key)
            if standing is None or not standing.is_closed:
                self.quarantine(key, verdict)

    # -- what others say

    def _say(self, result: Result) -> None:
        offset_s = self._notes.to_store(result.at) - result.at
        self._notes.put(RESULT + result.key, result.shifted(offset_s).to_json())

    def _hear(self, name: str, value: bytes | None) -> None:
        result = None if value is None else Result.from_json(value)
        if result is None:
            return
        result = result.shifted(self._notes.from_store(result.at) - result.at)
        known = self.results.get(result.key)
        if known is not None and result.at < known.at - _SAME_S:
            self._say(known)  # of a process that asked before this one did
            return
        same = known is not None and abs(result.at - known.at) <= _SAME_S
        if same and known is not None and known.waived and not result.waived:
            self._say(known)
            return
        self._notes.drop(name)
        self.results[result.key] = result
        self._on_standing(result.key, self._health.standing(result.key))

    def _on_standing(self, key: str, standing: Standing | None) -> None:
        """Note that an operator brought back whom parity had quarantined."""
        if standing is None or standing.kind != "returning" or standing.by != "operator":
            return
        result = self.results.get(key)
        if (
            result is not None
            and not result.waived
            and standing.reason.startswith("parity:")
            and standing.since >= result.at - _SAME_S
            and any(not one.passed for one in result.verdicts.values())
        ):
            self.keep(replace(result, waived=True))
