"""The results of a whole task as NDJSON: one line a device, in pieces that are bounded whatever the meters told."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

# A piece ends with the device that makes it as long as this, or with so many devices.
PIECE_OCTETS = 1024 * 1024
PIECE_DEVICES = 500


class ResultLine(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One line: how the device's command stands, and its result (values read, read-back), null where there is none.

    Times are text as the store shows them; `result` is JSON as it was stored.
    """

    device_id: str
    command_status: str
    error: str | None
    last_updated: Any
    how: str | None
    result: msgspec.Raw

    @classmethod
    def of(
        cls, device_id: str, status: str, error: str | None, last_updated: Any, how: str | None, result: str | None
    ) -> "ResultLine":
        return cls(device_id, status, error, last_updated, how, msgspec.Raw("null" if result is None else result))


_encode = msgspec.json.Encoder().encode


def encoded(line: ResultLine) -> bytes:
    return _encode(line) + b"\n"


def piece_of(lines: Iterable[tuple[int, ResultLine]]) -> tuple[bytes, int | None]:
    """The lines up to a piece's length, joined, and the position of the last; None where there are no more lines.

    No line is asked for beyond the one that fills the piece.
    """
    piece: list[bytes] = []
    octets = 0
    rest: Iterator[tuple[int, ResultLine]] = iter(lines)
    for position, line in rest:
        text = encoded(line)
        piece.append(text)
        octets += len(text)
        if octets >= PIECE_OCTETS or len(piece) >= PIECE_DEVICES:
            return b"".join(piece), position
    return b"".join(piece), None
