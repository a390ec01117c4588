"""The store in MongoDB: one document per task, as people integrate with it."""

from metercast.store.mongo.store import MongoStore

__all__ = ["MongoStore"]
