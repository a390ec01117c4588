"""Adds to meters what another table tells of them: a vendor's key file, or where each is reached.

Strict: every row must belong to a meter, none may stand twice, and what is told twice must be the same.
"""

from collections.abc import Iterator
from typing import IO, Any, Final

from metercast.devicelists.records import HEX_COLUMNS, get, put
from metercast.devicelists.tables import cells, header_of, record_of
from metercast.domain.problem import InvalidField
from metercast.engine.import_formats import COLUMNS
from metercast.engine.line_report import problem_reason

IDENTITIES: Final = ("deviceId", "serverSystemTitle", "logicalDeviceName")
"""By which of them a table tells its meters: the first that is a column of it."""


class Additions:
    """One such table. `columns` are those that it has, by their names here, and `ignored` those that mean nothing here;
    `identity` is the column that tells its meters."""

    def __init__(self, file: IO[str]) -> None:
        """InvalidField where the table will not do; its path begins with the line."""
        rows = cells(file)
        _, first = next(rows, (1, []))
        columns, self.ignored = header_of(first, ignores=True)
        known = [column for column in columns if column is not None]
        identity = next((column for column in IDENTITIES if column in known), None)
        if identity is None:
            raise InvalidField.secret("header", f"no column tells the meter: {', '.join(IDENTITIES)}")
        if len(known) < 2:
            raise InvalidField.secret("header", "no column tells anything that a meter's record holds")
        self.columns = known
        self.identity = identity
        self._rows: dict[str, tuple[int, dict[str, Any]]] = {}
        for line, row in rows:
            try:
                self._take(line, record_of(columns, row))
            except InvalidField as problem:
                raise InvalidField.secret(f"line {line}: {problem.path}", problem_reason(problem)) from None
        self._left = dict.fromkeys(self._rows)

    def _take(self, line: int, record: dict[str, Any]) -> None:
        key = self.key_of(record)
        if key is None:
            raise InvalidField.secret(self.identity, "required, and missing")
        if key in self._rows:
            raise InvalidField(self.identity, key, f"stands in line {self._rows[key][0]} already")
        self._rows[key] = (line, record)

    def add_to(self, record: dict[str, Any]) -> None:
        """InvalidField where both tell something, and not the same."""
        key = self.key_of(record)
        if key is None or key not in self._rows:
            return
        self._left.pop(key, None)
        line, added = self._rows[key]
        for column in COLUMNS:
            value = get(added, column)
            if value is None:
                continue
            if not _agree(column, get(record, column), value):
                raise InvalidField.secret(column, f"line {line} of the further table tells another one")
            put(record, column, value)

    def key_of(self, record: dict[str, Any]) -> str | None:
        """What tells that meter in this table; None where the record does not hold it."""
        key = get(record, self.identity)
        if not isinstance(key, str):
            return None
        return key.upper() if self.identity in HEX_COLUMNS else key

    @property
    def rows(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Line, key and what it tells, each meter once."""
        return ((line, key, record) for key, (line, record) in self._rows.items())

    @property
    def unused(self) -> list[tuple[int, str]]:
        """Line and identity of the rows that belonged to no meter."""
        return [(self._rows[key][0], key) for key in self._left]


def _agree(column: str, told: Any, added: Any) -> bool:
    if told is None or told == added:
        return True
    is_hex = column in HEX_COLUMNS and isinstance(told, str) and isinstance(added, str)
    return is_hex and told.upper() == added.upper()
