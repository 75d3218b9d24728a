"""Every run-time error: its HTTP status, its stable code, and whether a client may see it.

    RouterError
    ├── ClientError        the request is at fault; no wire call was made, nothing was billed
    ├── Unavailable        nobody could serve the request; says whether and when to retry
    ├── ProviderFault      one attempt failed; for health and the operator's log, never for a client
    └── TurnedDown         one attempt was not made: no room in a budget, or no ledger

A `ClientError` or `Unavailable` carries only text that we wrote. A `ProviderFault` may describe
what a provider did, but never carries a key, an input text or a provider's own words.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "ClientError",
    "Fault",
    "ProviderFault",
    "RouterError",
    "TurnedDown",
    "Unavailable",
    "error_body",
    "error_headers",
]


class RouterError(Exception):
    """Base of all errors of the running router."""


class _Visible(RouterError):
    """An error that a client sees in OpenAI's shape."""

    status: int
    code: str
    kind: str
    param: str | None
    retry_after_s: int | None

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.kind = kind
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class ClientError(_Visible):
    """The request cannot be served as it is; sending it again changes nothing.

    *status* is 400, 401, 404, 409 or 413; *code* one of the stable codes of the README.
    """

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        kind = "authentication_error" if status == 401 else "invalid_request_error"
        super().__init__(status, code, message, kind=kind, param=param)


class Unavailable(_Visible):
    """Nobody could serve the request now.

    503 `no_deployment_available` and 429 `rate_limited` carry *retry_after_s* (seconds, at least
    1); 504 `deadline_exceeded` does not: a retry would cost a whole attempt budget again.
    *resets_at* (seconds since 1970) is when a used-up budget starts again.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after_s: int | None = None,
        resets_at: int | None = None,
    ) -> None:
        kind = "rate_limit_error" if status == 429 else "server_error"
        super().__init__(status, code, message, kind=kind, retry_after_s=retry_after_s)
        self.resets_at = resets_at


class Fault(enum.StrEnum):
    """What class of failure one attempt met; one table per dialect maps replies to it."""

    AUTH = "auth"  # the key was refused (401, 403)
    PAYMENT = "payment"  # out of credit, suspended
    MODEL = "model"  # the provider does not know the model
    DIALECT = "dialect"  # the provider refused a field that we sent
    RATE = "rate"  # 429
    OVERLOAD = "overload"  # 503, 529, busy
    SERVER = "server"  # other 5xx, redirects, statuses nobody documented
    TIMEOUT = "timeout"  # our deadline for the attempt passed
    CONNECT = "connect"  # nothing was sent
    RESET = "reset"  # the connection broke after we sent
    CORRUPT = "corrupt"  # 200, but not vectors that may be handed out
    CANCELLED = "cancelled"  # the client left while the call was open
    TOO_LONG = "too_long"  # the provider's own limit on input length or batch size


class ProviderFault(RouterError):
    """One attempt failed.

    *sent* is False only when nothing left this machine, so nothing can have been billed.
    *retry_after_s* is what the provider asked for (seconds), unbounded: the caller bounds it.
    *detail* is our own description, safe for a log line.
    """

    def __init__(
        self,
        fault: Fault,
        detail: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s
        self.sent = sent


class TurnedDown(RouterError):
    """A wire call was not made, mostly because its money could not be held; nothing was sent.

    *cause* is "budget", "ledger", or "filtered" by somebody's callback; *detail* is for the
    operator.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


def error_body(error: ClientError | Unavailable) -> dict[str, Any]:
    """Return OpenAI's error object for *error*."""
    return {
        "error": {
            "message": error.message,
            "type": error.kind,
            "param": error.param,
            "code": error.code,
        }
    }


def error_headers(error: ClientError | Unavailable) -> dict[str, str]:
    """Return the headers that tell SDKs whether to try again, and when."""
    resets_at = getattr(error, "resets_at", None)
    if resets_at is not None:
        when = datetime.fromtimestamp(resets_at, UTC)
        return {"x-should-retry": "false", "x-router-resets-at": f"{when:%Y-%m-%dT%H:%M:%SZ}"}
    if error.retry_after_s is None:
        return {"x-should-retry": "false"}
    return {"x-should-retry": "true", "retry-after": str(max(1, error.retry_after_s))}
