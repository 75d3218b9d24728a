"""Any OpenAI-compatible server, and the host that a redirect leads to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import Complaint, Emulator, Refusal, Refused

__all__ = ["Elsewhere", "OpenAI"]

_CODES: Mapping[Refusal, str] = {
    Refusal.NO_KEY: "invalid_api_key",
    Refusal.WRONG_KEY: "invalid_api_key",
    Refusal.MODEL: "model_not_found",
    Refusal.TOO_LONG: "context_length_exceeded",
    Refusal.RATE: "rate_limit_exceeded",
    Refusal.PAYMENT: "insufficient_quota",
}


class OpenAI(Emulator):
    """OpenAI's own rules: 2,048 inputs, token arrays, float and base64, unknown fields refused."""

    name = "openai"
    key_env = "OPENAI_API_KEY"
    models = ("qwen3-embedding-8b", "Qwen/Qwen3-Embedding-8B")
    fields = ("input", "model", "encoding_format", "dimensions", "user")
    max_inputs = 2048
    token_arrays = True
    empty_strings = False

    def error(self, no: Complaint) -> Any:
        kinds = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error"}
        kind = kinds.get(no.status, "invalid_request_error")
        error = {"message": no.message, "type": kind, "param": None, "code": _CODES.get(no.why)}
        return {"error": error}


class Elsewhere(Emulator):
    """A stranger's host that answers everybody; its journal tells whether a key reached it."""

    name = "elsewhere"
    prefix: ClassVar[str] = "/v1"
    price = "0"
    models = ()

    def check_model(self, model: object) -> None:
        if not isinstance(model, str):
            raise Refused(Refusal.MODEL, str(model))
