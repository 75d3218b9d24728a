"""Can this Redis hold a budget? Only one primary that loses nothing it has answered for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

__all__ = ["judge", "unfit"]

_WANTED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
}


async def unfit(client: Redis) -> str | None:
    """Return why the server behind *client* cannot be the ledger and what to set, or None."""
    info: Mapping[str, Any] = await client.info()
    settings: dict[str, str] = {}
    try:
        for name in _WANTED:
            found: Any = await client.config_get(name)
            settings.update(found)
    except ResponseError:
        return (
            "this Redis does not let its settings be read (CONFIG GET), so nobody can tell whether "
            "it keeps what it grants: allow the command, or use a server of your own"
        )
    return judge(info, settings)


def judge(info: Mapping[str, Any], settings: Mapping[str, str]) -> str | None:
    """Return why a server with this INFO and these settings cannot be the ledger, or None."""
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
        return f"this Redis is {version}: the ledger needs 6.2 or newer"
    if int(info.get("cluster_enabled", 0)):
        return "this Redis is a cluster: the ledger needs one primary without cluster mode"
    if info.get("role") != "master":
        return f"this Redis is a {info.get('role')}: name the primary"
    wrong = {name: value for name, value in _WANTED.items() if settings.get(name) != value}
    if wrong:
        found = ", ".join(f"{name} {settings.get(name)}" for name in wrong)
        wanted = ", ".join(f"{name} {value}" for name, value in wrong.items())
        return f"this Redis may lose what it granted ({found}): set {wanted} in redis.conf"
    return None
