"""Which endpoints have to be of one space: the groups of a config by what proves them."""

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
    endpoints must be proven before they are used. *members* are the deployments of an endpoint that
    can be probed, *needed* the spaces that it has to be of, both by endpoint key in the order in
    which requests would try them.
    """

    def __init__(
        self,
        config: Config,
        pool: Mapping[str, Sequence[Candidate]],
        references: Mapping[str, Reference],
    ) -> None:
        self.of_group: dict[str, Space] = {}
        self.required: set[str] = set()
        self.members: dict[str, list[Candidate]] = {}
        self.needed: dict[str, dict[str, Space]] = {}
        for name, group in config.groups.items():
            if group.parity.mode == "off":
                continue
            terms = Terms(group.parity.cosine, group.parity.tolerance)
            self.of_group[name] = _space(terms, references.get(name))
            if group.parity.mode == "required":
                self.required.add(name)
        candidates = [one for name in self.of_group for one in pool.get(name, ())]
        for one in sorted(candidates, key=lambda one: one.order):  # stable: file order inside
            if one.off is None and one.endpoint.target is not None:
                self.members.setdefault(one.endpoint.key, []).append(one)
                space = self.of_group[one.group]
                self.needed.setdefault(one.endpoint.key, {})[space.id] = space


def _space(terms: Terms, reference: Reference | None) -> Space:
    digest = hashlib.sha256(f"{SHA256} {terms.cosine!r} {terms.tolerance!r}".encode())
    if reference is not None:
        digest.update(str(reference.revision).encode())
        for row in reference.rows.values():
            digest.update(row.tobytes())
    return Space(digest.hexdigest()[:16], terms, reference)
