"""The keys of the file: found by hash, refused after their day.

A key is never stored or compared in clear; its hash is looked up, which tells an attacker nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time

from router_config import Config, Key

__all__ = ["Keyring", "database_configured", "keys_rule"]


class Keyring:
    """The keys of one process."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_hash = {digest.lower(): key for key in keys for digest in key.sha256}

    def find(self, digest: str, now: datetime) -> Key | None:
        """Return the key with that SHA-256 (hex), unless its `not_after` has passed."""
        key = self._by_hash.get(digest)
        if key is None or (key.not_after is not None and now > _end(key.not_after)):
            return None
        return key


def keys_rule(config: Config, environ: Mapping[str, str]) -> bool:
    """Tell whether the keys of the file are those that are checked, and not LiteLLM's."""
    settings = config.raw.get("general_settings") or {}
    ours = settings.get("custom_auth") == "plugins.keys.handler"
    return ours and not database_configured(config, environ)


def database_configured(config: Config, environ: Mapping[str, str]) -> bool:
    """Tell whether LiteLLM will run with a database (its client does not exist yet)."""
    url = (config.raw.get("general_settings") or {}).get("database_url")
    if isinstance(url, str) and url.startswith("os.environ/"):
        url = environ.get(url.removeprefix("os.environ/"))
    return bool(url or environ.get("DATABASE_URL"))


def _end(not_after: date | datetime) -> datetime:
    """Return the last moment of validity: a plain date includes that whole day (UTC)."""
    if isinstance(not_after, datetime):
        return not_after if not_after.tzinfo else not_after.replace(tzinfo=UTC)
    return datetime.combine(not_after, time.max, tzinfo=UTC)
