"""What every benchmark of a store works on: a fleet of meters, and tasks for it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import overload

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.retry import RetryPolicy
from metercast.store.devices import MeterWrite
from metercast.store.tasks import DEFAULT_BUCKET, NewTask

MILLION = 1_000_000
SEALED = bytes(120)
DOCUMENT = msgspec.json.encode(
    {
        "connection": {"type": "tcp", "host": "10.1.2.3", "port": 4059, "framing": "wrapper"},
        "serverSap": 1,
        "timeZone": "Europe/Amsterdam",
        "associations": {
            "management": {
                "clientSap": 1,
                "authentication": "hls-gmac",
                "protection": "both",
                "clientSystemTitle": "4D43530000000001",
            }
        },
        "identity": {"serverSystemTitle": "4D4D4D0000BC614E"},
    }
)


class Names(Sequence[str]):
    """The ids of the fleet's first `count` meters, made where they are asked for: a million of them take no memory."""

    def __init__(self, count: int) -> None:
        self._numbers = range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [f"meter-{number:07d}" for number in self._numbers[index]]
        return f"meter-{self._numbers[index]:07d}"


def writes(names: Sequence[str], document: bytes = DOCUMENT, sealed: bytes | None = SEALED) -> list[MeterWrite]:
    """Each meter on a channel of its own."""
    return [MeterWrite(each, document, sealed, each, 1) for each in names]


def new_task(task_id: str, *, command_type: str = "READ_CLOCK", bucket_size: int = DEFAULT_BUCKET) -> NewTask:
    """Due now."""
    now = datetime.now(UTC)
    return NewTask(
        task_id=task_id,
        body_hash="hash",
        command_id=f"command-{task_id}",
        command_type=command_type,
        conflict_group=ConflictGroup.NONE,
        command_params=None,
        scheduled_at=now,
        expires_at=now + timedelta(days=1),
        priority=4,
        requested_by=None,
        retry=RetryPolicy(),
        bucket_size=bucket_size,
    )
