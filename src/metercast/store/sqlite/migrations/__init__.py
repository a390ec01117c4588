"""Numbered migrations in plain SQL, each applied once and whole. `PRAGMA user_version` says how far a file is."""

import sqlite3
from importlib.resources import files

from metercast.store.errors import StoreTooNew


def migrations() -> list[tuple[int, str]]:
    """(revision, SQL), in order, from 1 without a gap."""
    scripts = sorted(
        (int(entry.name[:4]), entry.read_text())
        for entry in files(__package__).iterdir()
        if entry.name.endswith(".sql")
    )
    assert [revision for revision, _ in scripts] == list(range(1, len(scripts) + 1))
    return scripts


def migrate(connection: sqlite3.Connection, to: int | None = None) -> None:
    """Brings the file to revision `to` (the newest by default). Raises StoreTooNew."""
    scripts = migrations()
    (current,) = connection.execute("PRAGMA user_version").fetchone()
    if current > len(scripts):
        raise StoreTooNew(f"the database is at revision {current}; this Metercast knows {len(scripts)}")
    for revision, script in scripts[current:to]:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {revision};\nCOMMIT;")
