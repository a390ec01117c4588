"""What the readers of foreign lists share: a record that is filled field by field, and values as people write them."""

from typing import Any

from metercast.domain.problem import InvalidField, Problem
from metercast.engine.import_formats import COLUMNS

Row = tuple[int, dict[str, Any] | Problem]  # the line that it begins in, and the meter or what is wrong with it

SECRETS = frozenset({"password", "encryptionKey", "authenticationKey", "broadcastKey", "masterKey"})
KEYS = SECRETS - {"password"}
HEX_COLUMNS = KEYS | {"serverSystemTitle", "clientSystemTitle"}
_HEX = frozenset("0123456789abcdefABCDEF")


class Given:
    """The values of one meter in a foreign file, by the names that they have there."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        """None where it is left out or empty."""
        return self._values.get(name, "").strip() or None

    def required(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise InvalidField.secret(name, "required, and missing")
        return value

    def number(self, name: str, default: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise InvalidField(name, value, "not a number")
        return int(value)

    def truth(self, name: str) -> bool:
        """False where it is left out."""
        value = (self.text(name) or "f").lower()
        if value not in ("t", "f", "true", "false", "1", "0"):
            raise InvalidField(name, value, "neither true nor false")
        return value in ("t", "true", "1")

    def one_of(self, name: str, known: dict[str, str | None], default: str) -> str:
        """What the value stands for; InvalidField where it is unknown, or can't be had here (None)."""
        value = self.text(name) or default
        if value not in known:
            raise InvalidField(name, value, f"unknown; known: {', '.join(known)}")
        meant = known[value]
        if meant is None:
            raise InvalidField(name, value, "not supported")
        return meant

    def key(self, name: str) -> str | None:
        """A key in hex. What else it could be (a key that the other system encrypted) is of no use here."""
        value = self.text(name)
        return None if value is None else plain_hex(value, name, (32, 64), "a plain key of 16 or 32 octets in hex")

    def system_title(self, name: str) -> str | None:
        """Eight octets in hex, or as their eight characters."""
        value = self.text(name)
        if value is None:
            return None
        if len(value) == 8 and value.isascii() and value.isprintable():
            return value.encode("ascii").hex().upper()
        return plain_hex(value, name, (16,), "8 octets in hex")


def plain_hex(value: str, name: str, lengths: tuple[int, ...], expected: str) -> str:
    """Hex digits alone of what may be written in groups; InvalidField.secret where it is something else."""
    digits = "".join(value.removeprefix("0x").split()).replace("-", "").replace(":", "")
    if len(digits) not in lengths or not _HEX.issuperset(digits):
        raise InvalidField.secret(name, f"{expected} is expected")
    return digits.upper()


def put(record: dict[str, Any], column: str, value: Any) -> None:
    """Sets what `column` of a CSV import stands for; None sets nothing."""
    if value is None:
        return
    *outer, last = COLUMNS[column]
    inside = record
    for step in outer:
        inside = inside.setdefault(step, {})
    inside[last] = value


def get(record: dict[str, Any], column: str) -> Any:
    """What stands there, or None."""
    found: Any = record
    for step in COLUMNS[column]:
        if not isinstance(found, dict) or step not in found:
            return None
        found = found[step]
    return found
