"""How one statement finds or changes many rows, and says which."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

_integers = msgspec.json.Decoder(list[int])


def json_array(integers: Iterable[int]) -> str:
    """For json_each: `id IN (SELECT value FROM json_each(?))` takes any number of ids."""
    return repr(list(integers))


def found(connection: sqlite3.Connection, query: str, parameters: Sequence[Any]) -> list[int]:
    """What a `SELECT json_group_array(...)` of integers gathers: one fetch, however many they are."""
    return _integers.decode(connection.execute(query, parameters).fetchone()[0])


def ids(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any]) -> list[int]:
    """The first column of every row."""
    return [row[0] for row in connection.execute(statement, parameters).fetchall()]
