"""Values as TOML: what a profile's file holds, written so that it reads back the same."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def value_text(value: Any) -> str:
    """Text, numbers, booleans, and lists and tables of them; TypeError for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, Mapping):
        pairs = [f"{key_text(key)} = {value_text(each)}" for key, each in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    raise TypeError(f"{type(value).__name__} is no value of a profile")


def key_text(key: str) -> str:
    return key if _BARE.fullmatch(key) else value_text(key)


def tables(values: Mapping[str, Any], notes: Mapping[str, str], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The lines of a file, values before the tables below them; `notes` become comments, by keys with dots."""
    plain = {key: value for key, value in values.items() if not (isinstance(value, Mapping) and value)}
    if path and plain:
        yield ""
        yield f"[{'.'.join(map(key_text, path))}]"
    for key, value in plain.items():
        note = notes.get(".".join((*path, key)))
        comment = "" if note is None else f"  # {' '.join(note.split())}"
        yield f"{key_text(key)} = {value_text(value)}{comment}"
    for key, value in values.items():
        if key not in plain:
            yield from tables(value, notes, (*path, key))
