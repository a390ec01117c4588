"""Documents by their ids, many at a time."""

from collections.abc import AsyncIterator, Sequence

from metercast.store.mongo.types import Collection, Document

AT_ONCE = 1000


async def by_id(
    collection: Collection, ids: Sequence[str], wanted: Document | None = None, which: Document | None = None,
    at_once: int = AT_ONCE,
) -> AsyncIterator[Document]:  # fmt: skip
    """Those of `ids` that are there and match `which`, in any order; one command for every `at_once`."""
    for start in range(0, len(ids), at_once):
        cut = list(ids[start : start + at_once])
        found = collection.find({"_id": {"$in": cut}} | (which or {}), wanted)
        async for each in found.batch_size(len(cut) + 1):
            yield each
