"""From merged values to a profile; what is wrong is told by file, field and value."""

import re
from itertools import combinations
from typing import Any

import msgspec

from metercast.dlms.errors import EncodeError
from metercast.dlms.logical_name import LogicalName
from metercast.profiles.errors import ProfileError
from metercast.profiles.inheritance import Merged, Sources
from metercast.profiles.model import CALENDAR_PARTS, MANAGEMENT, PUBLIC, Profile

_AT = re.compile(r"^(?P<reason>.*?)(?: - at (?P<key>`key` in )?`(?P<where>\$[^`]*)`)?$", re.DOTALL)
_FREE = "[...]"
_STEP = re.compile(r"\.[^.\[]+|\[\d+\]|\[\.\.\.\]")
_FIELD = re.compile(r"(?P<kind>unknown|missing required) field `(?P<name>.*)`", re.DOTALL)


def checked(merged: Merged, source: str) -> Profile:
    """Raises ProfileError, with the file that a wrong value comes from, or `source` where it comes from none."""
    values = merged.values | {"name": merged.chain[0]}
    try:
        profile = _convert(values)
    except msgspec.ValidationError as error:
        raise _profile_error(str(error), values, merged.sources, source) from None
    _check(profile, merged, source)
    return profile


def _convert(values: dict[str, Any]) -> Profile:
    return msgspec.convert(values, Profile, dec_hook=_decode)


def _decode(kind: type, value: Any) -> Any:
    if kind is LogicalName:
        if not isinstance(value, str):
            raise ValueError("a logical name such as 0.0.1.0.0.255 is expected")
        try:
            return LogicalName.parse(value)
        except EncodeError as error:
            raise ValueError(str(error).partition(";")[0] + "; write it as 0.0.1.0.0.255") from None
    raise NotImplementedError(kind)


def _check(profile: Profile, merged: Merged, source: str) -> None:
    """What types alone can't say."""

    def require(condition: bool, field: str, value: Any, reason: str) -> None:
        if not condition:
            raise ProfileError.of_value(_source_of(field, merged.sources, source), field, value, reason)

    order = profile.calendar.write_order
    require(sorted(order) == sorted(CALENDAR_PARTS), "calendar.write_order", order, "each part stands in it once")
    for name in (MANAGEMENT, PUBLIC):
        require(name in profile.clients, "clients", sorted(profile.clients), f"the client {name} is missing")
    counter = profile.association.counter_client
    require(counter in profile.clients, "association.counter_client", counter, "no such client in clients")
    size = profile.association.max_receive_pdu
    require(size not in range(1, 12), "association.max_receive_pdu", size, "1 to 11 are reserved")
    logs = {f"events.{name}.object": str(log.object) for name, log in profile.events.items()}
    clients = {f"clients.{name}.sap": client.sap for name, client in profile.clients.items()}
    for table in (logs, clients):
        for one, other in combinations(table, 2):
            if table[one] == table[other]:
                mine, theirs = sorted((one, other), key=lambda field: _nearness(field, merged))
                require(False, mine, table[mine], f"the same as {theirs}")


def _nearness(field: str, merged: Merged) -> int:
    """How far the file of that value is from the profile: of two that clash the nearest is told."""
    return merged.files.index(merged.sources[field])


def _profile_error(message: str, values: dict[str, Any], sources: Sources, source: str) -> ProfileError:
    """Our error for msgspec's: its path with the real keys, the value found there, and its reason."""
    match = _AT.match(message)
    assert match is not None
    reason = match["reason"]
    path, value = _found((match["where"] or "$") + (_FREE if match["key"] else ""), message, values)
    if match["key"]:
        value = path[-1]
    field = _FIELD.search(reason)
    if field is not None:
        path.append(field["name"])
        if field["kind"] == "missing required":
            return ProfileError(source, _joined(path), "required, and missing")
        reason, value = "unknown field", value.get(field["name"])
    where = _joined(path)
    return ProfileError.of_value(_source_of(where, sources, source), where, value, reason[:1].lower() + reason[1:])


def _found(where: str, message: str, values: dict[str, Any]) -> tuple[list[str], Any]:
    """The steps to what `message` is about, and the value there."""
    path: list[str] = []
    value: Any = values
    for step in _STEP.findall(where):
        if step == _FREE:
            key = _guilty(path, message, values)
        elif step.startswith("["):
            path[-1] += step
            value = value[int(step[1:-1])]
            continue
        else:
            key = step[1:]
        path.append(key)
        value = value[key]
    return path, value


def _guilty(path: list[str], message: str, values: dict[str, Any]) -> str:
    """msgspec does not say which key of a free table is meant: the one that alone gives the same message."""
    table = values
    for step in path:
        table = table[step]
    for key in table:
        try:
            _convert(_with(values, path, {key: table[key]}))
        except msgspec.ValidationError as error:
            if str(error) == message:
                return str(key)
    raise AssertionError(message)


def _with(values: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    return values | {first: _with(values[first], rest, value) if rest else value}


def _joined(path: list[str]) -> str:
    return ".".join(path)


def _source_of(where: str, sources: Sources, otherwise: str) -> str:
    """The file of the value at `where`, of a list that holds it, or of the first value below."""
    parts = where.partition("[")[0]
    if parts in sources:
        return sources[parts]
    return next((file for key, file in sources.items() if key.startswith(parts + ".")), otherwise)
