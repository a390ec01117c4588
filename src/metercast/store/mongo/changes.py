"""Changes of devices in one bucket, as one guarded update.

Each device is addressed by its place in the array, and the filter names its id, its status and its attempts: the
update is made where all of them are still as they were read, wholly, or not at all. The counts move with it.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from metercast.domain.states import DeviceStatus
from metercast.store.mongo.database import Database
from metercast.store.mongo.places import Place
from metercast.store.mongo.times import floor, set_time
from metercast.store.mongo.types import Document


class Changes:
    """`guard` is what the filter names beside the devices. `counts` are those of the document when it was read."""

    def __init__(self, place: Place, counts: Mapping[str, int], guard: Document) -> None:
        self.place = place
        self.filter: Document = place.filter | guard
        self.set: Document = {}
        self.unset: Document = {}
        self._counts = counts
        self._moved: Counter[str] = Counter()
        self._due_by: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.set or self.unset)

    def move(
        self, position: int, device: Mapping[str, Any], status: DeviceStatus, now: datetime, fields: Mapping[str, Any]
    ) -> None:
        """`device`, as it was read, becomes `status`; `fields` are its others that may change, None for none."""
        path = self._guard(position, device)
        self.set[path + "commandStatus"] = status.value
        set_time(self.set, "lastUpdated", now, path)
        for name, value in fields.items():
            self._put(path, name, value, device.get(name))
        self._moved[device["commandStatus"].lower()] -= 1
        self._moved[status.lower()] += 1

    def touch(self, position: int, device: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        """The same without a change of status."""
        path = self._guard(position, device)
        for name, value in fields.items():
            self._put(path, name, value, device.get(name))

    def hurry(self, due_at: datetime) -> None:
        """The bucket is due then, if not before. For buckets with open devices only."""
        self._due_by = due_at

    async def make(self, database: Database) -> bool:
        """Whether it was made: false where anything is no longer as it was read."""
        change: Document = {"$set": dict(self.set), "$unset": dict(self.unset)}
        moved = {name: count for name, count in self._moved.items() if count}
        if moved:
            change["$inc"] = {f"counts.{name}": count for name, count in moved.items()}
            # A bucket without open devices is never due again.
            if not self.open_after:
                change["$unset"]["dueAt"] = ""
                for name in ("pending", "sent"):
                    self.filter[f"counts.{name}"] = self._counts[name]
        if self._due_by is not None:
            change["$min"] = {"dueAt": floor(self._due_by)}
        result = await self.place.collection(database).update_one(
            self.filter, {operator: fields for operator, fields in change.items() if fields}
        )
        return result.matched_count == 1

    @property
    def counts_after(self) -> Document:
        return {name: count + self._moved[name] for name, count in self._counts.items()}

    @property
    def open_after(self) -> int:
        after = self.counts_after
        return int(after["pending"] + after["sent"])

    def _guard(self, position: int, device: Mapping[str, Any]) -> str:
        path = f"devices.{position - self.place.first}."
        for name in ("deviceId", "commandStatus", "attempts"):
            self.filter[path + name] = device[name]
        return path

    def _put(self, path: str, name: str, value: Any, before: Any) -> None:
        if isinstance(value, datetime):
            set_time(self.set, name, value, path)
        elif value == before:
            return
        elif value is None and name != "error":
            self.unset[path + name] = ""
        else:
            self.set[path + name] = value
