"""The store's contract for meters: the registry of devices. Secrets come and go sealed."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from metercast.domain.meter import StoredMeter
from metercast.store.pages import Page


class MeterWrite(msgspec.Struct, frozen=True):
    """A meter to store: the record's JSON and its sealed secrets (None: it has none)."""

    device_id: str
    document: bytes
    sealed: bytes | None
    channel: str
    max_sessions: int

    def __repr__(self) -> str:
        return f"MeterWrite({self.device_id!r})"


class DeviceStore(Protocol):
    async def put_devices(self, devices: Sequence[MeterWrite]) -> int:
        """Creates or replaces all of them, in one transaction; the number of those that are new."""
        ...

    async def get_device(self, device_id: str) -> StoredMeter:
        """Raises domain.problem.NotFound."""
        ...

    async def find_devices(self, device_ids: Sequence[str]) -> dict[str, StoredMeter]:
        """Those of `device_ids` that exist."""
        ...

    async def list_registered(self, prefix: str | None, limit: int, cursor: str | None) -> Page[StoredMeter]:
        """In order of device id (by code point)."""
        ...

    async def delete_device(self, device_id: str) -> None:
        """Its commands of the past stay. Raises domain.problem.NotFound, or Conflict while a task still needs it."""
        ...

    async def count_devices(self) -> int: ...
