"""The tables of the SQLite ledger, and how a file of an older version comes to have them."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3

__all__ = ["APPLICATION", "VERSION", "add_since", "create", "version_of"]

VERSION = 2
APPLICATION = 0x71_33_6C_67  # "q3lg", shown by file(1) and told from other databases

_SCHEMA = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, accepted INTEGER NOT NULL,
    generation INTEGER NOT NULL, wall_us INTEGER NOT NULL, calendar_us INTEGER NOT NULL,
    lease_us INTEGER NOT NULL, next_expiry_us INTEGER
);
CREATE TABLE budgets (
    name TEXT PRIMARY KEY, period TEXT NOT NULL, nano_usd INTEGER, tokens INTEGER,
    requests INTEGER, since INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
-- AUTOINCREMENT: the id of a merged counter never comes back for another one.
CREATE TABLE counters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    budget TEXT NOT NULL, period TEXT NOT NULL, start INTEGER NOT NULL,
    spent_nano_usd INTEGER NOT NULL, spent_tokens INTEGER NOT NULL, spent_requests INTEGER NOT NULL,
    held_nano_usd INTEGER NOT NULL, held_tokens INTEGER NOT NULL, held_requests INTEGER NOT NULL,
    told_nano_usd INTEGER NOT NULL, told_tokens INTEGER NOT NULL, told_requests INTEGER NOT NULL,
    UNIQUE (budget, period, start)
);
-- counters: their ids, with spaces between. state: 0 open, 1 settled, 2 released, 3 expired.
CREATE TABLE reservations (
    id TEXT PRIMARY KEY, counters TEXT NOT NULL, nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL, expires_us INTEGER NOT NULL, state INTEGER NOT NULL,
    ended_us INTEGER, note TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX reservations_open ON reservations (expires_us) WHERE state = 0;
CREATE TABLE postings (
    seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, counter INTEGER NOT NULL, kind TEXT NOT NULL,
    nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL,
    reservation TEXT NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL
);
CREATE TABLE days (
    counter INTEGER NOT NULL, day INTEGER NOT NULL,
    nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (counter, day)
) WITHOUT ROWID;
"""


def create(db: sqlite3.Connection) -> None:
    """Make the tables, all or none."""
    with contextlib.closing(db.cursor()) as cursor:
        cursor.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA}"
            "INSERT INTO state VALUES "
            f"(1, '{secrets.token_hex(8)}', 0, 1, 0, 0, 0, NULL);"
            f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
        )


def add_since(db: sqlite3.Connection) -> int:
    """Bring a file of version 1 to version 2, in one transaction; return its version."""
    with contextlib.closing(db.cursor()) as cursor:
        cursor.executescript(
            "BEGIN IMMEDIATE; ALTER TABLE budgets ADD COLUMN since INTEGER NOT NULL DEFAULT 0; "
            "UPDATE state SET generation = generation + 1; PRAGMA user_version = 2; COMMIT;"
        )
    return version_of(db)


def version_of(db: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 where there are none."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)
