"""The store's contract for meters: the registry of devices. Secrets come and go sealed."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from metercast.domain.meter import StoredMeter
from metercast.domain.problem import Conflict
from metercast.store.pages import Page


class MeterWrite(msgspec.Struct, frozen=True):
    """A meter to store: the record's JSON and its sealed secrets (None: it has none).

    `replaces`, where given, are the sealed secrets that `sealed` was made from: where others are stored meanwhile, the
    meter is not written.
    """

    device_id: str
    document: bytes
    sealed: bytes | None
    channel: str
    max_sessions: int
    replaces: bytes | msgspec.UnsetType | None = msgspec.UNSET

    def __repr__(self) -> str:
        return f"MeterWrite({self.device_id!r})"


def secrets_changed(device_id: str) -> Conflict:
    """What a store raises for a meter whose secrets are not those that a write replaces."""
    return Conflict(f"the secrets of device {device_id!r} changed meanwhile")


class DeviceStore(Protocol):
    async def put_devices(self, devices: Sequence[MeterWrite]) -> int:
        """Creates or replaces all of them, in one transaction; the number of those that are new.

        Raises domain.problem.Conflict where the secrets of one are not those that it `replaces`.
        """
        ...

    async def replace_secrets(self, device_id: str, expected: bytes | None, sealed: bytes | None) -> bool:
        """Stores `sealed` where `expected` is stored, or `sealed` already; False where neither is, or no such meter."""
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
