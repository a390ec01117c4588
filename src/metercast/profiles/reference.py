"""The table of docs/profiles.md, drawn from the model: `python -m metercast.profiles.reference docs/profiles.md`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from metercast.dlms.logical_name import LogicalName
from metercast.profiles.collection import BUILT_IN
from metercast.profiles.model import GENERIC, Profile

BEGIN: Final = "<!-- From here to the next mark: made by `python -m metercast.profiles.reference docs/profiles.md`. -->"
END: Final = "<!-- Here ends what is made. -->"


class Field(NamedTuple):
    """One key of a profile's file; NAME stands for a key of one's own."""

    path: str
    kind: str
    meaning: str


def fields(type_: Any = Profile, prefix: str = "") -> Iterator[Field]:
    """Every field of the model, in its order."""
    info = inspect.type_info(type_)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        path = prefix + field.encode_name
        if path == "name":
            continue
        inner = field.type
        if isinstance(inner, inspect.StructType):
            yield from fields(inner.cls, f"{path}.")
        elif isinstance(inner, inspect.DictType) and isinstance(inner.value_type, inspect.StructType):
            yield from fields(inner.value_type.cls, f"{path}.NAME.")
        else:
            yield Field(path, _kind(inner), _meaning(inner))


def table() -> str:
    """Markdown: every field with what it takes, what it means, and what `generic` says."""
    values = BUILT_IN.find(GENERIC).merged.values
    lines = ["| field | takes | what it says | `generic` |", "|---|---|---|---|"]
    lines += [f"| `{each.path}` | {each.kind} | {each.meaning} | {_value(each.path, values)} |" for each in fields()]
    return "\n".join(lines)


def filled(page: str) -> str:
    """The page with its table made anew; ValueError where it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no marks for what is made")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _meaning(type_: inspect.Type) -> str:
    if isinstance(type_, inspect.Metadata):
        return str((type_.extra_json_schema or {}).get("description", ""))
    return ""


def _kind(type_: inspect.Type) -> str:
    match type_:
        case inspect.Metadata(type=inner):
            return _kind(inner)
        case inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in values)
        case inspect.ListType(item_type=inner):
            return f"list of {_kind(inner)}"
        case inspect.DictType():
            return "table of code to name"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            return f"above {type_.gt} to {type_.le}" if type_.gt is not None else f"{type_.ge} to {type_.le}"
        case inspect.CustomType(cls=cls) if cls is LogicalName:
            return "logical name"
        case inspect.StrType():
            return "text"
    raise AssertionError(type_)


def _value(path: str, values: dict[str, Any]) -> str:
    found: Any = values
    for step in path.split("."):
        if step == "NAME":
            return ""
        found = found[step]
    text = msgspec.json.encode(found).decode().replace(",", ", ")
    return f"`{text}`" if len(text) <= 60 else "see its file"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(filled(page.read_text()))
