"""Where a bucket of devices stands: in its task's own document, or in one of `task_buckets`.

A bucket's id is its task's id, a slash, and the position of its first device: `task-7890/500` is a document of
task_buckets. A task of one bucket is its own: `task-7890/`.
"""

from typing import Any, NamedTuple

from metercast.store.attempts import BucketId
from metercast.store.mongo.database import Database
from metercast.store.mongo.types import Collection, Document


class Place(NamedTuple):
    """`first` is the position of the bucket's first device: devices[n] is the device at `first` + n."""

    task_id: str
    first: int
    whole_task: bool

    @property
    def document_id(self) -> str:
        return self.task_id if self.whole_task else f"{self.task_id}/{self.first}"

    @property
    def bucket_id(self) -> str:
        return f"{self.task_id}/" if self.whole_task else f"{self.task_id}/{self.first}"

    @property
    def filter(self) -> Document:
        """Names the shard's key too."""
        return {"_id": self.document_id, "taskId": self.task_id}

    def collection(self, database: Database) -> Collection:
        return database.tasks if self.whole_task else database.buckets


def whole_task(task_id: str) -> Place:
    return Place(task_id, 0, True)


def bucket(task_id: str, first: int) -> Place:
    return Place(task_id, first, False)


def parse(bucket_id: BucketId) -> Place | None:
    """None for what is no bucket's id of this store."""
    if not isinstance(bucket_id, str):
        return None
    task_id, slash, first = bucket_id.rpartition("/")
    if not slash:
        return None
    if not first:
        return whole_task(task_id)
    return bucket(task_id, int(first)) if first.isascii() and first.isdigit() else None


def holding(header: dict[str, Any], position: int) -> Place:
    """The bucket that holds the device at `position`; `header` has taskId, bucketed and bucketSize."""
    if not header["bucketed"]:
        return whole_task(header["taskId"])
    size = header["bucketSize"]
    return bucket(header["taskId"], position // size * size)
