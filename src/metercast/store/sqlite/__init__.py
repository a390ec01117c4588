"""The store on SQLite: one file, one writer thread, readers beside it."""

from metercast.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
