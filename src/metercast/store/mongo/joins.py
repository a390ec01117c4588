"""Stages of pipelines that bring a bucket and its task together."""

from metercast.store.mongo.schema import TASKS
from metercast.store.mongo.types import Document


def with_header(wanted: Document) -> list[Document]:
    """Stages that join the sealed header of a bucket as `task`; a bucket without one is dropped."""
    return [
        {
            "$lookup": {
                "from": TASKS,
                "localField": "taskId",
                "foreignField": "_id",
                "pipeline": [{"$match": {"sealed": True}}, {"$project": wanted}],
                "as": "task",
            }
        },
        {"$unwind": "$task"},
    ]
