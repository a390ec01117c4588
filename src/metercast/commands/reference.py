"""The part of docs/commands/ that is drawn from the registry: `python -m metercast.commands.reference docs/commands`.

Each page has one block between two marks; what stands outside of it is written by hand.
"""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from metercast.commands.contract import CommandType
from metercast.commands.registry import COMMANDS
from metercast.domain.command import CommandTraits

BEGIN: Final = "<!-- From here to the next mark: made by `python -m metercast.commands.reference docs/commands`. -->"
END: Final = "<!-- Here ends what is made. -->"
INDEX: Final = "README.md"


def page_of(command: CommandType) -> str:
    """The file name of a command's page."""
    return f"{command.name}.md"


def index() -> str:
    """The table of all commands, Markdown."""
    lines = ["| command | what it does | resend | conflict group | expires after |", "|---|---|---|---|---|"]
    for command in COMMANDS.values():
        treated = " | ".join(("as its members",) * 3 if command.members is not None else _treated(command.traits))
        lines.append(f"| [`{command.name}`]({page_of(command)}) | {command.summary} | {treated} |")
    return "\n".join(lines)


def facts(command: CommandType) -> str:
    """What the registry knows of one command, Markdown: how it is treated, and every parameter with its limits."""
    traits = command.traits
    resend, group, expires = _treated(traits)
    parts = [f"Resend: {resend}.", f"Conflict group: {group}.", f"Expires {expires} after it is due."]
    if command.members is not None:
        parts = ["Resend, conflict group, expiry and limits: the strictest of its members."]
    if traits.is_privileged:
        parts.append("Needs the role engineer.")
    if traits.needs_identity:
        parts.append("Needs an identity in the meter's record.")
    if traits.max_devices is not None:
        parts.append(f"At most {traits.max_devices:,} devices a task.")
    table = ["| parameter | type | limits | default |", "|---|---|---|---|"]
    table += [
        f"| `{name}` | {kind} | {limits} | {default} |" for name, kind, limits, default in _fields(command.parameters)
    ]
    return " ".join(parts) + "\n\n" + ("\n".join(table) if len(table) > 2 else "It has no parameters.")


def _treated(traits: CommandTraits) -> tuple[str, str, str]:
    """Resend, conflict group, expiry."""
    return traits.resend.value, traits.conflict_group.value, _duration(traits.expires_after)


def filled(page: str, block: str) -> str:
    """The page with its block replaced; ValueError where it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no marks for what is made")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def pages() -> dict[str, str]:
    """File name to block, of the index and of every command."""
    return {INDEX: index()} | {page_of(command): facts(command) for command in COMMANDS.values()}


def _fields(type_: Any, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Path, type, limits and default of each field, those of structs within after it."""
    info = inspect.type_info(type_)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        path = prefix + field.encode_name
        inner, suffix = _inner(field.type)
        limits = "; ".join(dict.fromkeys(filter(None, _limits(field.type))))
        yield path, _kind(field.type), limits.replace("|", "\\|"), _default(field)
        for each in inner:
            yield from _fields(each.cls, f"{path}{suffix}.")


def _inner(type_: inspect.Type, suffix: str = "") -> tuple[list[inspect.StructType], str]:
    """The structs within a field's type, and what the path to their fields has before the dot."""
    match type_:
        case inspect.Metadata(type=inner):
            return _inner(inner, suffix)
        case inspect.StructType():
            return [type_], suffix
        case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
            return _inner(inner, suffix + "[]")
        case inspect.UnionType(types=types):
            found = [_inner(each, suffix) for each in types]
            structs = [(struct, path) for within, path in found for struct in within]
            return [struct for struct, _ in structs], structs[0][1] if structs else suffix
    return [], suffix


def _kind(type_: inspect.Type) -> str:
    match type_:
        case inspect.Metadata(type=inner):
            return _kind(inner)
        case inspect.UnionType(types=types):
            return " or ".join(dict.fromkeys(_kind(each) for each in types))
        case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
            return f"list of {_kind(inner)}"
        case inspect.EnumType(cls=choices):
            return " or ".join(f"`{each.value}`" for each in choices)
        case inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in values)
        case inspect.StructType() | inspect.DictType():
            return "object"
    return _PLAIN.get(type(type_), "any")


_PLAIN: Final[dict[type[inspect.Type], str]] = {
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.StrType: "text",
    inspect.BoolType: "boolean",
    inspect.NoneType: "null",
    inspect.DateTimeType: "time with zone",
    inspect.DateType: "date",
    inspect.TimeType: "time",
    inspect.DecimalType: "decimal",
}


def _limits(type_: inspect.Type) -> Iterator[str]:
    match type_:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            yield (extra or {}).get("description", "")
            yield from _limits(inner)
        case inspect.UnionType(types=types):
            for each in types:
                yield from _limits(each)
        case inspect.IntType() | inspect.FloatType():
            low = type_.ge if type_.ge is not None else type_.gt
            high = type_.le if type_.le is not None else type_.lt
            yield _range(low, high)
        case inspect.StrType():
            yield _range(type_.min_length, type_.max_length, " characters")
        case inspect.ListType(item_type=inner):
            yield _range(type_.min_length or None, type_.max_length, " entries")
            yield from (f"each {limit}" for limit in _limits(inner) if limit)


def _range(low: Any, high: Any, unit: str = "") -> str:
    if low is None and high is None:
        return ""
    if low == high:
        return f"{low}{unit}"
    if high is None:
        return f"at least {low}{unit}"
    return f"at most {high}{unit}" if low is None else f"{low} to {high}{unit}"


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return ""
    text = msgspec.json.encode(value).decode()
    return f"`{text}`" if len(text) <= 60 else "see above"


def _duration(value: timedelta) -> str:
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count, rest = divmod(int(value.total_seconds()), seconds)
        if count and not rest:
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return f"{value.total_seconds():g} seconds"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, block in pages().items():
        path = folder / name
        text = path.read_text() if path.exists() else f"# {path.stem}\n\n{BEGIN}\n{END}\n"
        path.write_text(filled(text, block))
