"""Saves what can still be read of a damaged SQLite table, row by row (adapters layer)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_GIVE_UP = 2000
"""After so many ids in a row that cannot be read or are not there, the table counts as over."""


def readable_rows(path: Path, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table that SQLite can still read, by rising key; none if it can read nothing.

    Damage is in pages: a row is asked for by its key, so that the pages of others are left alone.

    Args:
        table, key, columns: names in our own schema, never a user's text.
    """
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    except sqlite3.Error:
        return
    query = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {key} = ?"  # noqa: S608
    missed, number = 0, _first_key(database, table, key)
    try:
        while missed < _GIVE_UP:
            try:
                row = database.execute(query, (number,)).fetchone()
            except sqlite3.Error:
                row = None
            number += 1
            missed = missed + 1 if row is None else 0
            if row is not None:
                yield row
    finally:
        database.close()


def _first_key(database: sqlite3.Connection, table: str, key: str) -> int:
    try:
        row = database.execute(f"SELECT min({key}) FROM {table} NOT INDEXED").fetchone()  # noqa: S608
    except sqlite3.Error:
        return 1
    return int(row[0] or 1)
