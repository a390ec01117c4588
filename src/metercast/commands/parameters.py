"""commandParams: from JSON to a command's validated parameters, or one error that names path and value."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec

from metercast.commands.contract import CommandType
from metercast.dlms.errors import EncodeError
from metercast.dlms.logical_name import LogicalName
from metercast.domain.problem import InvalidField, shown
from metercast.profiles.model import Profile

ROOT = "commandParams"

Obis = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){5}$",
        description="A logical name such as 1.0.1.8.0.255",
    ),
]

ProfileObis = Annotated[
    Obis | None, msgspec.Meta(description="A logical name such as 1.0.1.8.0.255; the profile's where left out")
]

T = TypeVar("T", bound=msgspec.Struct)

_AT = re.compile(r"^(?P<reason>.*?)(?: - at `(?P<where>\$[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"(?P<kind>unknown|missing required) field `(?P<name>.*)`", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")


def parse_parameters(command: CommandType, raw: dict[str, Any] | None, now: datetime) -> msgspec.Struct:
    """The parameters of `command` from JSON (None: no parameters given), checked with `now` as submission time.

    Raises InvalidField with a path such as `commandParams.weeks[1].days[3]` and the value received.
    """
    parameters = convert({} if raw is None else raw, command.parameters, hides=command.hides_values)
    if command.check is not None:
        command.check(parameters, now)
    return parameters


def convert(raw: Any, type_: type[T], *, hides: bool = False) -> T:
    """`raw` as `type_`; InvalidField where its types, limits or field names are wrong.

    `hides`: without the value, which someone may have taken for the place of a secret.
    """
    try:
        return msgspec.convert(raw, type_)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), raw, hides) from None


def logical_name(text: str, path: str) -> LogicalName:
    """The logical name that `text` writes; InvalidField where a group is above 255."""
    try:
        return LogicalName.parse(text)
    except EncodeError:
        raise InvalidField(path, text, "no logical name; write it as in 1.0.1.8.0.255") from None


def check_obis(text: str | None, path: str = "obis") -> None:
    """InvalidField at `path` below commandParams, where it is given and is no logical name."""
    if text is not None:
        logical_name(text, f"{ROOT}.{path}")


def object_of(class_id: int, role: str) -> Callable[[Any, Profile], tuple[int, LogicalName]]:
    """The object that `obis` names, or the one that has this role in the profile."""
    return lambda parameters, profile: (class_id, chosen(parameters.obis, getattr(profile.objects, role)))


def chosen(given: str | None, of_profile: LogicalName) -> LogicalName:
    """What the task names, or else what the meter's profile does."""
    return of_profile if given is None else LogicalName.parse(given)


def require(condition: bool, path: str, received: Any, reason: str) -> None:
    """InvalidField at `path` below commandParams, unless `condition`."""
    if not condition:
        raise InvalidField(f"{ROOT}.{path}", received, reason)


def _invalid(message: str, raw: Any, hides: bool) -> InvalidField:
    """Our error for msgspec's: its path, the value found there, and its reason."""
    match = _AT.match(message)
    assert match is not None
    where = (match["where"] or "$")[1:]
    value = _value_at(raw, where)
    reason = match["reason"]
    path = ROOT + where
    field = _FIELD.search(reason)
    if field is not None:
        name = field["name"]
        path = f"{path}.{shown(name)}"
        if hides:
            return InvalidField.secret(path, "unknown field" if field["kind"] == "unknown" else "required, and missing")
        if field["kind"] == "unknown":
            return InvalidField(path, value.get(name) if isinstance(value, dict) else value, "unknown field")
        return InvalidField(path, None, "required, and missing")
    reason = reason[:1].lower() + reason[1:]
    if hides:
        return InvalidField.secret(path, reason.partition(" '")[0])  # what follows is the value
    return InvalidField(path, value, reason)


def _value_at(raw: Any, where: str) -> Any:
    value = raw
    for step in _STEP.finditer(where):
        try:
            value = value[int(step["index"])] if step["index"] is not None else value[step["name"]]
        except (KeyError, IndexError, TypeError):
            return None
    return value
