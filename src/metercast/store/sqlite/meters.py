"""The meters of a batch of begins, read beside the writer. One row for all of them.

Each row that sqlite3 fetches lets go of the interpreter's lock and asks for it again, which takes milliseconds where
the event loop is busy. The hot path therefore gathers rows in SQL and fetches once.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from metercast.domain.meter import SealedMeter
from metercast.store.attempts import OpenDevice

# No JSON text holds the separator U+001E as it is.
_FIND = """
SELECT json_group_array(j.key),
  group_concat(CAST(m.document AS text), char(30)),
  group_concat(CASE WHEN m.sealed IS NULL THEN '-' ELSE hex(m.sealed) END)
FROM json_each(?) j JOIN devices m ON m.device_id = j.value
"""

_integers = msgspec.json.Decoder(list[int])


def meters_of(connection: sqlite3.Connection, devices: Sequence[OpenDevice]) -> dict[int, SealedMeter]:
    """By position, those of `devices` whose meter is registered."""
    ids = msgspec.json.encode([device.device_id for device in devices]).decode()
    gathered, documents, sealed = connection.execute(_FIND, (ids,)).fetchone()
    if documents is None:
        return {}
    found = (devices[index] for index in _integers.decode(gathered))
    parts = zip(found, documents.encode().split(b"\x1e"), sealed.split(","), strict=True)
    return {
        device.position: SealedMeter(device.device_id, document, None if secrets == "-" else bytes.fromhex(secrets))
        for device, document, secrets in parts
    }
