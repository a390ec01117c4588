"""A task as it is asked for, and what makes it a task: validation before anything is stored."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec

from metercast.commands.contract import CommandType
from metercast.commands.parameters import convert, parse_parameters
from metercast.domain.command import CommandTraits
from metercast.domain.meter import check_device_id
from metercast.domain.problem import Forbidden, InvalidField
from metercast.domain.retry import Attempts, RetryPolicy, Seconds
from metercast.domain.task import DeviceId
from metercast.engine.apikeys import Caller
from metercast.store.keys import Role
from metercast.store.tasks import DEFAULT_BUCKET, NewTask

FURTHEST = timedelta(days=3660)  # ahead of now: a later time is a mistake

Instant = Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339, with its zone")]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Priority = Annotated[int, msgspec.Meta(ge=0, le=9, description="9 goes first")]


Header = TypeVar("Header", bound="SubmitHeader")


class RetryRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is left out is the server's default."""

    max_attempts: Attempts | None = None
    initial_delay_seconds: Seconds | None = None
    max_delay_seconds: Seconds | None = None


class SubmitHeader(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """All of a task but its devices. `scheduledAt` absent or past means now."""

    command_id: Word
    command_type: Word
    command_params: dict[str, Any] | None = None
    scheduled_at: Instant | None = None
    expires_at: Instant | None = None
    priority: Priority = 4
    requested_by: Word | None = None
    retry: RetryRequest | None = None
    allow_unknown: bool = False


class SubmitRequest(SubmitHeader, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One command for many meters. `scheduledAt` absent or past means now."""

    devices: Annotated[list[DeviceId], msgspec.Meta(min_length=1)]

    def body_hash(self) -> str:
        """See BodyHash."""
        body_hash = BodyHash(self)
        body_hash.add(self.devices)
        return body_hash.hexdigest()


class BodyHash:
    """The same for every way to write the same request: as one JSON document, or as lines of any form.

    It is the SHA-256 of the canonical JSON, in which `devices` stand after `commandType`. The ids are added in their
    order. InvalidField at a number that JSON can't hold.
    """

    def __init__(self, header: SubmitHeader) -> None:
        values = {name: getattr(header, name) for name in SubmitHeader.__struct_fields__}
        try:
            canonical = msgspec.json.encode(SubmitHeader(**values), order="deterministic")
        except (OverflowError, RecursionError):
            raise InvalidField.secret("commandParams", "holds a number beyond 64 bits, or is nested too deep") from None
        before = msgspec.json.encode({"commandId": header.command_id, "commandType": header.command_type})[:-1]
        assert canonical.startswith(before)
        self._after = b"]" + canonical[len(before) :]
        self._hash = hashlib.sha256(before + b',"devices":[')
        self._separator = b""

    def add(self, device_ids: list[str]) -> None:
        if device_ids:
            self._hash.update(self._separator + msgspec.json.encode(device_ids)[1:-1])
            self._separator = b","

    def hexdigest(self) -> str:
        """Once, at the end."""
        self._hash.update(self._after)
        return self._hash.hexdigest()


class SubmissionRules(msgspec.Struct, frozen=True, kw_only=True):
    """The server's limits and defaults. `max_devices_of` goes before the command type's own limit."""

    max_devices: int = 1_000_000
    max_devices_of: dict[str, int] = {}
    retry: RetryPolicy = RetryPolicy()
    bucket_size: int = DEFAULT_BUCKET


def in_utc(request: Header) -> Header:
    """The request with its times in UTC."""
    return msgspec.structs.replace(
        request,
        scheduled_at=utc(request.scheduled_at, "scheduledAt"),
        expires_at=utc(request.expires_at, "expiresAt"),
    )


def utc(instant: datetime | None, path: str) -> datetime | None:
    """The instant in UTC; InvalidField where that is outside the calendar."""
    try:
        return None if instant is None else instant.astimezone(UTC)
    except OverflowError:
        raise InvalidField(path, instant.isoformat() if instant else None, "out of the calendar's range") from None


def task_id_for(key_id: str, idempotency_key: str | None) -> str:
    """Derived from (API key, Idempotency-Key), so that a repeated request finds its task; random without."""
    if idempotency_key is None:
        return f"task-{secrets.token_hex(16)}"
    message = msgspec.json.encode([key_id, idempotency_key])
    return f"task-{hashlib.blake2b(message, digest_size=16, person=b'metercast-task').hexdigest()}"


def check_idempotency_key(key: str | None) -> None:
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise InvalidField("Idempotency-Key", key, "1 to 255 printable ASCII characters")


def new_task(
    request: SubmitHeader,
    task_id: str,
    body_hash: str,
    commands: Mapping[str, CommandType],
    rules: SubmissionRules,
    now: datetime,
    caller: Caller,
) -> NewTask:
    """The task to store, everything validated but its devices. Raises InvalidField, and Forbidden by check_role."""
    for path, word in (("commandId", request.command_id), ("requestedBy", request.requested_by)):
        if word is not None and not word.isprintable():
            raise InvalidField(path, word, "holds printable characters only")
    command = find_command(request.command_type, commands)
    parameters = parse_parameters(command, request.command_params, now)
    traits, follow_up = command.traits_for(parameters), command.follow_up_of(parameters)
    check_role(traits, command.name, caller)
    scheduled_at = max(request.scheduled_at or now, now)
    if scheduled_at > now + FURTHEST:
        raise InvalidField("scheduledAt", _text(scheduled_at), "more than ten years ahead")
    expires_at = request.expires_at or scheduled_at + traits.expires_after
    if expires_at <= scheduled_at:
        reason = f"not after the due time, which is {_text(scheduled_at)}"
        raise InvalidField("expiresAt", _text(expires_at), reason)
    if expires_at > scheduled_at + FURTHEST:
        raise InvalidField("expiresAt", _text(expires_at), "more than ten years after the due time")
    return NewTask(
        task_id=task_id,
        body_hash=body_hash,
        command_id=request.command_id,
        command_type=command.name,
        conflict_group=traits.conflict_group,
        command_params=request.command_params,
        scheduled_at=scheduled_at,
        expires_at=expires_at,
        priority=request.priority,
        requested_by=request.requested_by or caller.name,
        retry=_retry(request.retry, rules.retry),
        follow_up_at=None if follow_up is None else follow_up.due_at,
        bucket_size=rules.bucket_size,
    )


def check_role(traits: CommandTraits, name: str, caller: Caller) -> None:
    """Forbidden where the command is privileged and the caller is no engineer."""
    if traits.is_privileged and not caller.role.includes(Role.ENGINEER):
        raise Forbidden(
            f"{name} with these parameters needs the role {Role.ENGINEER.value}; "
            f"the key {caller.name!r} is {caller.role.value}"
        )


def find_command(name: str, commands: Mapping[str, CommandType]) -> CommandType:
    """InvalidField that lists the known types."""
    command = commands.get(name)
    if command is None:
        raise InvalidField("commandType", name, f"unknown; known: {', '.join(sorted(commands))}")
    return command


def check_devices(device_ids: Sequence[str]) -> None:
    """Each id well-formed, and none twice."""
    if not "".join(device_ids).isprintable():
        for index, device_id in enumerate(device_ids):
            check_device_id(device_id, f"devices[{index}]")
    if len(set(device_ids)) == len(device_ids):
        return
    first: dict[str, int] = {}
    repeated: list[tuple[int, int]] = []
    for index, device_id in enumerate(device_ids):
        earlier = first.setdefault(device_id, index)
        if earlier != index:
            repeated.append((index, earlier))
    places = ", ".join(f"devices[{index}] = devices[{earlier}]" for index, earlier in repeated[:3])
    more = f" and {len(repeated) - 3} more" if len(repeated) > 3 else ""
    index = repeated[0][0]
    raise InvalidField(f"devices[{index}]", device_ids[index], f"duplicate: {places}{more}")


def check_number(count: int, command: CommandType, raw: dict[str, Any] | None, rules: SubmissionRules) -> None:
    """Not more devices than the server and the command type allow; `raw` are its parameters, which are valid."""
    most = most_devices(command, raw, rules)
    if count > most:
        raise InvalidField("devices", f"{count} devices", f"a {command.name} task takes at most {most}")


def most_devices(command: CommandType, raw: dict[str, Any] | None, rules: SubmissionRules) -> int:
    """Of one task of that type with these parameters, which are valid: the least that any of its members allows."""
    most = rules.max_devices
    for each in command.members_of(convert(raw or {}, command.parameters)):
        of_type = rules.max_devices_of.get(each.name, each.traits.max_devices)
        most = most if of_type is None else min(most, of_type)
    return most


def _retry(asked: RetryRequest | None, default: RetryPolicy) -> RetryPolicy:
    if asked is None:
        return default
    return RetryPolicy(
        default.max_attempts if asked.max_attempts is None else asked.max_attempts,
        default.initial_delay_seconds if asked.initial_delay_seconds is None else asked.initial_delay_seconds,
        default.max_delay_seconds if asked.max_delay_seconds is None else asked.max_delay_seconds,
    )


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
