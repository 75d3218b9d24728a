"""SiliconFlow: a closed list of dimensions per host, 64 inputs, errors with a number of their own.

Sources: docs.siliconflow.com create-embeddings, error-code and get-user-info pages;
api-docs.siliconflow.cn embeddings-post; page-assist#371 and ApeRAG#724 for the 64 inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import orjson

from ..http1 import Request
from .base import Answer, Asked, Complaint, Emulator, Refusal, Refused, Reply, Statuses, Wording

__all__ = ["SiliconFlow", "SiliconFlowCn"]

_CODES: Mapping[Refusal, int] = {
    Refusal.DIMENSIONS: 20012,
    Refusal.MODEL: 20012,
    Refusal.PAYMENT: 30001,
    Refusal.BATCH: 20042,
    Refusal.OVERLOAD: 50505,
}


class SiliconFlow(Emulator):
    """The international host. Its documented body has no `encoding_format`: it is ignored."""

    name = "siliconflow"
    key_env = "SILICONFLOW_API_KEY"
    max_inputs = 64
    token_arrays = True
    empty_strings = False
    encodings: ClassVar[tuple[str, ...]] = ()
    lengths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512, 768, 1024, 2048, 4096)
    written = "float64"
    statuses: ClassVar[Statuses] = {Refusal.BATCH: 413, Refusal.PAYMENT: 403}
    wording: ClassVar[Wording] = {
        Refusal.WRONG_KEY: "Invalid token",
        Refusal.NO_KEY: "Invalid token",
        Refusal.MODEL: "Model does not exist",
        Refusal.ROUTE: "404 page not found",
        Refusal.BATCH: "input batch size {detail}",
        Refusal.PAYMENT: "Sorry, your account balance is insufficient",
        Refusal.TOO_LONG: "input must not exceed the maximum length: {detail}",
        Refusal.RATE: "Request was rejected due to rate limiting. Details: RPM limit reached.",
        Refusal.OVERLOAD: "Model service overloaded. Please try again later.",
    }

    def texts(self, given: object) -> list[str]:
        if isinstance(given, list) and len(given) > 64 and type(given[0]) is not int:
            raise Refused(Refusal.BATCH, f"{len(given)} > maximum allowed batch size 64")
        return super().texts(given)

    def length(self, dimensions: object) -> int:
        if dimensions is not None and dimensions not in self.lengths:
            raise Refused(Refusal.DIMENSIONS, str(dimensions))
        return super().length(dimensions)

    def usage(self, asked: Asked, count: int, cost_usd: Decimal) -> dict[str, Any]:
        del asked, cost_usd
        return {"prompt_tokens": count, "completion_tokens": 0, "total_tokens": count}

    def render(self, answer: Answer) -> bytes:
        usage = {} if answer.usage is None else {"usage": answer.usage}
        return self.openai(answer, {"model": answer.asked.body["model"]}, usage)

    def headers(self, left: Mapping[str, int]) -> dict[str, str]:
        return {"x-siliconcloud-trace-id": f"ti_{left['call']:024x}"}

    def error(self, no: Complaint) -> Any:
        if no.why is Refusal.ROUTE:
            return no.message
        if no.status == 401:
            # A bare JSON string: text that happens to stand in quotes.
            return f'"{no.message}"'
        if no.why is Refusal.RATE:
            return {"message": no.message, "data": None}
        return {"code": _CODES.get(no.why, 20015), "message": no.message, "data": None}

    def probe(self, request: Request) -> Reply | None:
        if request.path == "/v1/user/info":
            data = {"id": "user", "status": "normal", "balance": "0.88", "totalBalance": "88.88"}
            body = {"code": 20000, "message": "OK", "status": True, "data": data}
            return Reply(200, orjson.dumps(body))
        return super().probe(request)


class SiliconFlowCn(SiliconFlow):
    """The Chinese host: two more dimensions, and base64 where asked."""

    name = "siliconflow-cn"
    key_env = "SILICONFLOW_CN_API_KEY"
    encodings = ("float", "base64")
    lengths = (64, 128, 256, 512, 768, 1024, 1536, 2048, 2560, 4096)
