"""Which sessions are traced: some devices', or a task's, for a time and a number of sessions."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
import structlog

from metercast.domain.meter import Meter, check_device_id
from metercast.domain.problem import Conflict, InvalidField, NotFound
from metercast.driver.contract import Checkpoint, Command
from metercast.engine.apikeys import Caller
from metercast.engine.session import Session
from metercast.engine.submission import task_id_for
from metercast.trace.directory import TraceDirectory
from metercast.trace.session import SessionTrace

MAX_TRACES: Final = 100
MAX_DEVICES: Final = 100
MAX_MINUTES: Final = 7 * 24 * 60
DEFAULT_MINUTES: Final = 60
DEFAULT_SESSIONS: Final = 20
_OFF: Final = "nothing is traced here: start the server with METERCAST_TRACE_DIR"

log = structlog.get_logger()

Minutes = Annotated[int, msgspec.Meta(ge=1, le=MAX_MINUTES, description="How long it is in force")]
Sessions = Annotated[int, msgspec.Meta(ge=1, le=10_000, description="How many sessions are traced at most")]
DeviceIds = Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_DEVICES, description="Whose sessions")]
TaskId = Annotated[str, msgspec.Meta(min_length=1, max_length=255, description="The task whose sessions")]

Key = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=255, description="The task that you submit with this Idempotency-Key"),
]


class TraceRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One of `devices`, `taskId` and `idempotencyKey`."""

    devices: DeviceIds | msgspec.UnsetType = msgspec.UNSET
    task_id: TaskId | msgspec.UnsetType = msgspec.UNSET
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET
    minutes: Minutes = DEFAULT_MINUTES
    max_sessions: Sessions = DEFAULT_SESSIONS


class TraceView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`files` are the names, without .log and .pcap, of what it has written so far, in the server's trace directory."""

    trace_id: str
    devices: list[str] | None
    task_id: str | None
    started_at: datetime
    ends_at: datetime
    sessions_left: int
    requested_by: str
    files: list[str]


class _Rule:
    def __init__(self, request: TraceRequest, now: datetime, caller: Caller) -> None:
        self.trace_id = f"trace-{secrets.token_hex(8)}"
        self.devices = None if request.devices is msgspec.UNSET else frozenset(request.devices)
        self.task_id = None if request.task_id is msgspec.UNSET else request.task_id
        if request.idempotency_key is not msgspec.UNSET:
            self.task_id = task_id_for(caller.key_id, request.idempotency_key)
        self.started_at = now
        self.ends_at = now + timedelta(minutes=request.minutes)
        self.sessions_left = request.max_sessions
        self.requested_by = caller.name
        self.files: list[str] = []

    def wants(self, device_id: str, task_id: str | None, now: datetime) -> bool:
        if self.sessions_left < 1 or now >= self.ends_at:
            return False
        return device_id in self.devices if self.devices is not None else task_id == self.task_id

    @property
    def view(self) -> TraceView:
        return TraceView(
            trace_id=self.trace_id,
            devices=None if self.devices is None else sorted(self.devices),
            task_id=self.task_id,
            started_at=self.started_at,
            ends_at=self.ends_at,
            sessions_left=self.sessions_left,
            requested_by=self.requested_by,
            files=self.files,
        )


class Traces:
    """Implements driver.tracing.Tracer. They last as long as this process; `directory` None: nothing is traced."""

    def __init__(self, directory: TraceDirectory | None, clock: Callable[[], datetime]) -> None:
        self._directory = directory
        self._clock = clock
        self._rules: dict[str, _Rule] = {}

    def start(self, request: TraceRequest, caller: Caller) -> TraceView:
        """Raises InvalidField, and Conflict where nothing can be traced or too much is."""
        if self._directory is None:
            raise Conflict(_OFF)
        named = (request.devices, request.task_id, request.idempotency_key)
        if sum(each is not msgspec.UNSET for each in named) != 1:
            raise InvalidField("devices", None, "one of devices, taskId and idempotencyKey, and no other")
        for position, device_id in enumerate(request.devices or ()):
            check_device_id(device_id, f"devices[{position}]")
        self._forget()
        if len(self._rules) >= MAX_TRACES:
            raise Conflict(f"{MAX_TRACES} traces are in force already: end one")
        rule = _Rule(request, self._clock(), caller)
        self._rules[rule.trace_id] = rule
        log.info("trace.started", trace_id=rule.trace_id, task_id=rule.task_id, by=caller.key_id)
        return rule.view

    def all(self) -> list[TraceView]:
        """Oldest first; those whose time is over are kept until there is need for their place."""
        return [rule.view for rule in self._rules.values()]

    def stop(self, trace_id: str, caller: Caller) -> TraceView:
        """Sessions that are under way are written to their end. Raises NotFound."""
        rule = self._rules.pop(trace_id, None)
        if rule is None:
            raise NotFound(f"no trace {trace_id!r}")
        log.info("trace.stopped", trace_id=trace_id, by=caller.key_id)
        return rule.view

    def begin(self, command: Command, meter: Meter, checkpoint: Checkpoint) -> SessionTrace | None:
        """See driver.tracing.Tracer."""
        directory = self._directory
        if directory is None or not self._rules:
            return None
        task_id = checkpoint.bucket.task.task_id if isinstance(checkpoint, Session) else None
        now = self._clock()
        rule = next((each for each in self._rules.values() if each.wants(meter.device_id, task_id, now)), None)
        if rule is None:
            return None
        try:
            files = directory.begin(meter.device_id)
        except OSError as error:
            log.warning("trace.not_written", reason=error.strerror)
            return None
        if files is None:
            log.warning("trace.not_written", reason="the trace directory is full of traces under way")
            return None
        rule.sessions_left -= 1
        rule.files.append(files.name)
        title = f"device {meter.device_id}, command {command.type.name}" + (f", task {task_id}" if task_id else "")
        return SessionTrace(directory, files, title)

    def _forget(self) -> None:
        now = self._clock()
        if len(self._rules) >= MAX_TRACES:
            self._rules = {key: rule for key, rule in self._rules.items() if rule.ends_at > now and rule.sessions_left}
