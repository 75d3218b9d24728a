"""The parity table of the status page: what the last proofs say, by endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from plugins._pool import Candidate
from plugins._status_view import ParityView

__all__ = ["Proof", "parity_views"]


class _Verdict(Protocol):
    @property
    def passed(self) -> bool: ...

    @property
    def reason(self) -> str: ...

    @property
    def cosine(self) -> float | None: ...


class Proof(Protocol):
    """What is known of one endpoint: `plugins._parity_result.Result`."""

    @property
    def at(self) -> float:
        """When it was last asked, in seconds since 1970."""

    @property
    def gap(self) -> str | None:
        """Why there was no verdict then, or None."""

    @property
    def verdicts(self) -> Mapping[str, _Verdict]:
        """By vector space."""


def parity_views(
    proofs: Mapping[str, Proof], pool: Mapping[str, Sequence[Candidate]]
) -> list[ParityView]:
    """Return a row for each endpoint that was asked, those that failed first.

    *proofs* are by endpoint key. One of which the configuration knows nothing more is left out.
    """
    names: dict[str, list[str]] = {}
    for one in (one for group in pool.values() for one in group):
        names.setdefault(one.endpoint.key, []).append(one.id)
    rows = []
    for key, proof in proofs.items():
        if key not in names:
            continue
        known = list(proof.verdicts.values())
        failed = [one for one in known if not one.passed]
        cosines = [one.cosine for one in known if one.cosine is not None]
        rows.append(
            ParityView(
                deployments=tuple(names[key]),
                # A gap hides no verdict that was given before.
                passed=not failed if known else None,
                cosine=min(cosines, default=None),
                what=failed[0].reason if failed else proof.gap or "",
                at=proof.at,
            )
        )
    return sorted(rows, key=lambda row: (row.passed is True, row.passed is None, row.deployments))
