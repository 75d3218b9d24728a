"""Novita: knows `input`, `model` and `encoding_format`, and ignores `dimensions`.

Sources: docs of create-embeddings and guides/error; the names inside errors are those of a
look-alike service and unverified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import Complaint, Emulator, Refusal, Statuses, Wording

__all__ = ["Novita"]

_REASONS: Mapping[Refusal, str] = {
    Refusal.PAYMENT: "NOT_ENOUGH_BALANCE",
    Refusal.MODEL: "MODEL_NOT_FOUND",
    Refusal.RATE: "RATE_LIMIT_EXCEEDED",
    Refusal.NO_KEY: "INVALID_API_KEY",
    Refusal.WRONG_KEY: "INVALID_API_KEY",
}


class Novita(Emulator):
    name = "novita"
    prefix = "/openai/v1"
    paths = ("/openai/v1/embeddings", "/openai/embeddings")
    key_env = "NOVITA_API_KEY"
    models = ("qwen/qwen3-embedding-8b",)
    token_arrays = True
    statuses: ClassVar[Statuses] = {Refusal.PAYMENT: 403}
    wording: ClassVar[Wording] = {Refusal.PAYMENT: "not enough balance"}

    def length(self, dimensions: object) -> int:
        del dimensions
        return 4096

    def error(self, no: Complaint) -> Any:
        reason = _REASONS.get(no.why, "INVALID_REQUEST")
        return {"code": no.status, "reason": reason, "message": no.message, "metadata": {}}
