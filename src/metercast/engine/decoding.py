"""From JSON to what is meant by it, or one error that names path and value, and never shows a secret."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from metercast.domain.problem import SHOWN, InvalidField, Problem

T = TypeVar("T")

SECRET_FIELDS = frozenset(
    {
        "password",
        "encryptionKey",
        "authenticationKey",
        "broadcastKey",
        "masterKey",
        "signingKey",
        "key",
        "token",
        "secret",
    }
)

_AT = re.compile(r"^(?P<reason>.*?)(?: - at (?P<key>`key` in )?`(?P<where>\$[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"(?P<kind>unknown|missing required) field `(?P<name>.*)`", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")
_MAX_KEYS_TRIED = 100

Shows = Callable[[str], bool]


class Malformed(Problem):
    """The body is no JSON at all."""

    status = 400
    title = "Malformed JSON"


def shows_all_but_secrets(path: str) -> bool:
    """Whether the value at `path` may be repeated in an error."""
    return SECRET_FIELDS.isdisjoint(re.split(r"[.\[\]]", path))


def decode(body: bytes, type_: type[T], shows: Shows = shows_all_but_secrets) -> T:
    """`body` as `type_`. Raises Malformed where it is no JSON, InvalidField where it does not validate."""
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise invalid(error, decode_any(body), type_, shows=shows) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from None


def decode_any(body: bytes) -> Any:
    """`body` as plain values. Raises Malformed; InvalidField at a number that is out of range."""
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidField.secret("body", f"{_lowered(str(error).partition(' - at')[0])}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from None


def convert(raw: Any, type_: type[T], path: str = "", shows: Shows = shows_all_but_secrets) -> T:
    """Plain values as `type_`; InvalidField with paths that start at `path`."""
    try:
        return msgspec.convert(raw, type_)
    except msgspec.ValidationError as error:
        raise invalid(error, raw, type_, path, shows) from None


def invalid(
    error: msgspec.ValidationError, raw: Any, type_: Any, path: str = "", shows: Shows = shows_all_but_secrets
) -> InvalidField:
    """Our error for msgspec's: where it is, what stands there, and why that will not do."""
    match = _AT.match(str(error))
    assert match is not None
    where, reason = match["where"] or "$", _lowered(match["reason"])
    steps = _steps(raw, where, lambda trial: _fails_alike(trial, type_, str(error)))
    field = _FIELD.search(reason)
    if field is not None:
        at = _joined(path, [*steps, field["name"][:SHOWN]])
        kind = "unknown field" if field["kind"] == "unknown" else "required, and missing"
        return InvalidField.secret(at, kind)
    at = _joined(path, steps) or "body"
    if match["key"]:
        return InvalidField.secret(at, f"a name in it will not do: {reason}")
    if not shows(at):
        return InvalidField.secret(at, reason)
    return InvalidField(at, preview(_value_at(raw, steps)), reason)


def preview(value: Any) -> str:
    """JSON of the value, its beginning only, secrets left out."""
    cut = value if isinstance(value, str) else _cut(value, 3)
    return cut if isinstance(cut, str) else msgspec.json.encode(cut).decode()


def _cut(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        shown = {
            str(name)[:SHOWN]: "***" if name in SECRET_FIELDS else _cut(each, depth - 1)
            for name, each in list(value.items())[:5]
        }
        return shown if depth else "{…}"
    if isinstance(value, list):
        return [_cut(each, depth - 1) for each in value[:5]] if depth else "[…]"
    if isinstance(value, str):
        return value[:SHOWN]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)[:SHOWN]
    return value


def _malformed(body: bytes, error: Exception) -> Malformed:
    if isinstance(error, RecursionError):
        return Malformed("the body is nested too deep")
    if isinstance(error, UnicodeDecodeError):
        return Malformed("the body is no JSON: it is not UTF-8")
    if not body:
        return Malformed("the body is empty; JSON is expected")
    return Malformed(f"the body is no JSON: {str(error).removeprefix('JSON is malformed: ').lower()}")


def _lowered(reason: str) -> str:
    return reason[:1].lower() + reason[1:]


def _fails_alike(trial: Any, type_: Any, message: str) -> bool:
    try:
        msgspec.convert(trial, type_)
    except msgspec.ValidationError as error:
        return str(error) == message
    return False


def _steps(raw: Any, where: str, fails_alike: Callable[[Any], bool]) -> list[str | int]:
    """The path's steps. msgspec leaves a free name out ("[...]"): the one meant is found by trying each alone."""
    steps: list[str | int] = []
    value = raw
    for step in _STEP.finditer(where):
        name: str | int
        if step["any"]:
            named = list(value)[:_MAX_KEYS_TRIED] if isinstance(value, dict) else []
            alone = (each for each in named if fails_alike(_only(raw, steps, each)))
            name = next(alone, "…")
        else:
            name = int(step["index"]) if step["index"] is not None else step["name"]
        steps.append(name)
        try:
            value = value[name]
        except (KeyError, IndexError, TypeError):
            value = None
    return steps


def _only(raw: Any, steps: list[str | int], name: str) -> Any:
    """`raw` with nothing but `name` in the object at `steps`."""
    if not steps:
        return {name: raw[name]}
    step, rest = steps[0], steps[1:]
    if isinstance(raw, dict):
        return raw | {step: _only(raw[step], rest, name)}
    assert isinstance(step, int)
    return [_only(each, rest, name) if index == step else each for index, each in enumerate(raw)]


def _value_at(raw: Any, steps: list[str | int]) -> Any:
    value = raw
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _joined(path: str, steps: list[str | int]) -> str:
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path
