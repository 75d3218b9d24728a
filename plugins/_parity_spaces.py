"""Which endpoints have to be of one space: the groups of a config by what proves them.

Whoever may answer a group's requests has to be of its space: its own deployments, and those of the
groups that it falls back to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plugins._parity_judge import Terms
from plugins._parity_reference import Reference
from plugins._parity_texts import SHA256
from plugins._pool import Candidate
from router_config import Config

__all__ = ["Space", "Spaces"]


@dataclass(frozen=True, slots=True)
class Space:
    """What proves a vector space: *reference* is the recorded one, or None.

    *id* stands for texts, terms and reference: a verdict with the same id holds here too.
    """

    id: str
    terms: Terms
    reference: Reference | None


class Spaces:
    """The spaces of *config*, over the candidates of *pool*.

    *of_group* has a group's space, unless its parity is off; *required* are the groups whose
    endpoints must be proven before they are used. By endpoint key, in the order in which requests
    would try them: *members* are the deployments of an endpoint that can be probed, *needed* the
    spaces that it has to be of, *own* those of them that its own groups have; the others are of
    groups that fall back to it. *judged* are the endpoints of all those groups, also what LiteLLM
    serves by itself.
    """

    def __init__(
        self,
        config: Config,
        pool: Mapping[str, Sequence[Candidate]],
        references: Mapping[str, Reference],
    ) -> None:
        self._recorded = {name: one.name for name, one in references.items()}
        self.of_group: dict[str, Space] = {}
        self.required: set[str] = set()
        self.members: dict[str, list[Candidate]] = {}
        self.needed: dict[str, dict[str, Space]] = {}
        self.own: dict[str, set[str]] = {}
        for name, group in config.groups.items():
            if group.parity.mode == "off":
                continue
            terms = Terms(group.parity.cosine, group.parity.tolerance)
            self.of_group[name] = _space(terms, references.get(name))
            if group.parity.mode == "required":
                self.required.add(name)
        candidates = [one for name in self.of_group for one in pool.get(name, ())]
        self.judged = {one.endpoint.key for one in candidates}
        for one in sorted(candidates, key=lambda one: one.order):  # stable: file order inside
            self._add(one, self.of_group[one.group], own=True)
        for name, space in self.of_group.items():
            for other in config.groups[name].fallbacks:
                if self._recorded.get(other) == self._recorded.get(name):
                    for one in pool.get(other, ()):
                        self._add(one, space, own=False)

    def _add(self, one: Candidate, space: Space, *, own: bool) -> None:
        if one.off is not None or one.endpoint.target is None:
            return
        key = one.endpoint.key
        members = self.members.setdefault(key, [])
        if one not in members:
            members.append(one)
        self.needed.setdefault(key, {})[space.id] = space
        self.own.setdefault(key, set())
        if own:
            self.own[key].add(space.id)

    def name(self, group: str) -> str:
        """Return what tells the space of *group* from all others, of this config or another."""
        space = self.of_group.get(group)
        return f"off {self._recorded.get(group, '')}" if space is None else space.id


def _space(terms: Terms, reference: Reference | None) -> Space:
    digest = hashlib.sha256(f"{SHA256} {terms.cosine!r} {terms.tolerance!r}".encode())
    if reference is not None:
        digest.update(str(reference.revision).encode())
        for row in reference.rows.values():
            digest.update(row.tobytes())
    return Space(digest.hexdigest()[:16], terms, reference)
