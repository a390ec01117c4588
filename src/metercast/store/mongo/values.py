"""JSON values of any shape (parameters, results, progress) as BSON, so that people can query into them.

What BSON can't hold as it is (integers beyond 64 bits, names that it gives a meaning of its own, very deep nesting) is
kept as JSON text: `{"json": "..."}`. So is what is long: an array's elements have their numbers as names in BSON, which
makes a profile of many short cells eight times as long as its JSON.
"""

from typing import Any

import msgspec
from bson.int64 import Int64

_DEEPEST = 50
_LARGEST = 15 * 1024 * 1024  # of 16 MiB that a document may have; the engine lets no result come near it
_LARGEST_PLAIN = 1024 * 1024
_WRAPPED = {"json"}


def to_bson(value: Any) -> Any:
    """A result that no document can hold is replaced by its size; no driver makes such."""
    text = msgspec.json.encode(value)
    if len(text) > _LARGEST:
        return {"tooLarge": len(text)}
    if len(text) > _LARGEST_PLAIN:
        return {"json": text.decode()}
    plain = msgspec.json.decode(text)
    return plain if _fits(plain, 0) else {"json": text.decode()}


def from_bson(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == _WRAPPED:
            return msgspec.json.decode(value["json"])
        return {name: from_bson(each) for name, each in value.items()}
    if isinstance(value, list):
        return [from_bson(each) for each in value]
    return int(value) if isinstance(value, Int64) else value


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        if depth > _DEEPEST or value.keys() == _WRAPPED:
            return False
        return all(
            name and "\0" not in name and "$" not in name and "." not in name and _fits(each, depth + 1)
            for name, each in value.items()
        )
    if isinstance(value, list):
        return depth <= _DEEPEST and all(_fits(each, depth + 1) for each in value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63
