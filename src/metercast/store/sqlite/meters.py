"""The meters of a batch of begins, read beside the writer. One row for all of them.

Each row that sqlite3 fetches lets go of the interpreter's lock and asks for it again, which takes milliseconds where
the event loop is busy. The hot path therefore gathers rows in SQL and fetches once.
"""

import sqlite3
from collections.abc import Collection

import msgspec

from metercast.domain.meter import SealedMeter
from metercast.store.sqlite.statements import json_array

# No JSON text holds the separator U+001E as it is.
_FIND = """
SELECT json_group_array(json_array(d.id, m.device_id)),
  group_concat(CAST(m.document AS text), char(30)),
  group_concat(CASE WHEN m.sealed IS NULL THEN '-' ELSE hex(m.sealed) END)
FROM json_each(?) j JOIN task_devices d ON d.id = j.value JOIN devices m ON m.device_id = d.device_id
"""

_rows = msgspec.json.Decoder(list[tuple[int, str]])


def meters_of(connection: sqlite3.Connection, positions: Collection[int]) -> dict[int, SealedMeter]:
    """By position, those of `positions` whose meter is registered."""
    gathered, documents, sealed = connection.execute(_FIND, (json_array(positions),)).fetchone()
    if documents is None:
        return {}
    parts = zip(_rows.decode(gathered), documents.encode().split(b"\x1e"), sealed.split(","), strict=True)
    return {
        position: SealedMeter(device_id, document, None if secrets == "-" else bytes.fromhex(secrets))
        for (position, device_id), document, secrets in parts
    }
