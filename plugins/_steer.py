"""What LiteLLM is given of a request: the few fields that it needs, and what leads its Router."""

from __future__ import annotations

from typing import Any

from plugins._exchange import PLAN_KEY
from plugins._plan import Plan
from plugins._request import BODY_FIELDS

__all__ = ["steer"]

_KEEP = frozenset(
    {
        "litellm_call_id",
        "litellm_logging_obj",
        "litellm_trace_id",
        "metadata",
        "proxy_server_request",
        "secret_fields",
        "shared_session",
    }
)
assert not _KEEP & set(BODY_FIELDS)


def steer(data: dict[str, Any], plan: Plan) -> None:
    """Leave in LiteLLM's *data* what it needs and set what leads its Router.

    Client fields beyond the documented list go away here as well as at the front door, because
    LiteLLM copies headers such as x-litellm-num-retries into the data before this point.
    """
    for name in [name for name in data if name not in _KEEP]:
        del data[name]
    data["model"] = plan.group_names[0]
    data["input"] = list(plan.texts)
    if plan.asked.user is not None:
        data["user"] = plan.asked.user
    # Enough for every sibling to be turned down in turn, since the plan bounds what is called; but
    # no more than can be used: before a retry in a group of one, LiteLLM sleeps for seconds.
    data["num_retries"] = max(0, max(sum(one.off is None for one in g) for g in plan.groups) - 1)
    # LiteLLM's own response cache would store replies without vectors.
    data["cache"] = {"no-cache": True, "no-store": True}
    data["metadata"] = {**(data.get("metadata") or {}), PLAN_KEY: plan.id}
