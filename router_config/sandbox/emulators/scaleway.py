"""Scaleway Generative APIs: strings only, no `dimensions`, no `encoding_format`, 403 for a bad key.

Sources: scaleway/docs-content, faq.mdx (2026-07-17), using-embeddings-api.mdx (2025-09-22),
understanding-errors.mdx (2025-05), rate-limits pages (2026-04-24).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from ..http1 import Request
from .base import Complaint, Emulator, Refusal, Reply, Statuses, Wording, go_duration

__all__ = ["PROJECT", "Scaleway"]

# The one project that the sandbox's key may bill.
PROJECT = "5a4db0c5-0000-4000-8000-5ca1e3a70000"


class Scaleway(Emulator):
    name = "scaleway"
    key_env = "SCW_SECRET_KEY"
    models = ("qwen3-embedding-8b",)
    # The API page calls both unsupported; the catalogue page of 2026-08 disagrees. The strict
    # reading catches a router that relies on the other one.
    refused_fields = ("encoding_format", "dimensions")
    max_inputs = 2048
    max_tokens = 32_000
    written = "float64"
    statuses: ClassVar[Statuses] = {Refusal.WRONG_KEY: 403, Refusal.MODEL: 422}
    wording: ClassVar[Wording] = {
        Refusal.NO_KEY: "authorization header is missing",
        Refusal.WRONG_KEY: "insufficient permissions to access the resource",
        Refusal.FORBIDDEN: "insufficient permissions to access the resource",
        Refusal.MODEL: "Model Not Found",
        Refusal.FIELD: "{detail} is unsupported",
        Refusal.TOO_LONG: "You exceeded maximum context window for this model",
        Refusal.RATE: "You exceeded your current quota of requests per minute",
    }

    def route(self, path: str) -> str:
        # A base URL may name the project that pays: /{project_id}/v1.
        return path.removeprefix(f"/{PROJECT}")

    def probe(self, request: Request) -> Reply | None:
        if re.match(r"/[0-9a-f-]{36}/v1/", request.path) and PROJECT not in request.path:
            return self.refusal(Refusal.FORBIDDEN)
        return super().probe(request)

    def error(self, no: Complaint) -> Any:
        title = "Unprocessable" if no.status == 422 else HTTPStatus(no.status).phrase
        return {"error": title, "status": no.status, "message": no.message}

    def headers(self, left: Mapping[str, int]) -> dict[str, str]:
        return {
            "x-ratelimit-limit-requests": str(left["limit_requests"]),
            "x-ratelimit-limit-tokens": str(left["limit_tokens"]),
            "x-ratelimit-remaining-requests": str(left["remaining_requests"]),
            "x-ratelimit-remaining-tokens": str(left["remaining_tokens"]),
            "x-ratelimit-reset-requests": go_duration(0.25),
            "x-ratelimit-reset-tokens": go_duration(0.035),
        }

    def rate_limited(self, status: int, wait_s: float, form: str | None) -> Reply:
        return super().rate_limited(status, wait_s, form or "reset")
