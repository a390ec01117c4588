"""Names for PyMongo's types."""

from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

Document = dict[str, Any]
Collection = AsyncCollection[Document]
