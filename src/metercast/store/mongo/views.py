"""Views for people who query the collections, and the pipelines behind them."""

from metercast.store.mongo.types import Document

VIEWS: dict[str, tuple[str, list[Document]]] = {}
