"""The service: what the API asks of Metercast, whoever asks. Submit, look up, act upon."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
import structlog

from metercast.commands.contract import CommandType
from metercast.commands.parameters import ROOT, parse_parameters
from metercast.domain.problem import Conflict, InvalidField, NotFound, Unavailable
from metercast.domain.states import FINAL_DEVICE, FINAL_TASK, DeviceStatus, IllegalTransition, TaskStatus
from metercast.domain.task import DeviceCommand, DeviceCommandDetail, Task
from metercast.engine.apikeys import ApiKeys, Caller
from metercast.engine.images import Images
from metercast.engine.intake import Intake
from metercast.engine.meters import Meters, Sealer
from metercast.engine.submission import (
    BodyHash,
    SubmissionRules,
    SubmitHeader,
    SubmitRequest,
    check_devices,
    check_idempotency_key,
    check_number,
    check_role,
    find_command,
    in_utc,
    most_devices,
    new_task,
    task_id_for,
)
from metercast.engine.traces import Traces
from metercast.profiles.model import GENERIC
from metercast.store.contract import Store
from metercast.store.pages import Page
from metercast.store.tasks import Created, DeviceQuery, ErrorCount, NewTask, TaskQuery, UnknownDevices

log = structlog.get_logger()

_PAGE = 5000
_MOST_DELETED, _DELETED_A_STEP = 1000, 100
_NO_DEVICE = ("",)


class EngineControl(Protocol):
    """How the service tells the engine that there is something to look at."""

    def wake(self) -> None:
        """Something was submitted."""
        ...

    def changed(self, task_id: str) -> None:
        """A task was paused, resumed or cancelled."""
        ...


class Service:
    """`meters`, `keys` and `images` are the registries beside the tasks. Every method may raise a
    domain.problem.Problem."""

    def __init__(
        self,
        store: Store,
        commands: Mapping[str, CommandType],
        sealer: Sealer,
        engine: EngineControl,
        clock: Callable[[], datetime],
        rules: SubmissionRules | None = None,
        profiles: Collection[str] = (GENERIC,),
        traces: Traces | None = None,
    ) -> None:
        self.meters = Meters(store, sealer, profiles)
        self.keys = ApiKeys(store)
        self.images = Images(store, commands.values())
        self.traces = traces or Traces(None, clock)
        self.submitted: Counter[str] = Counter()  # tasks since the start of this process, by command type
        self._store = store
        self._commands = commands
        self._engine = engine
        self._clock = clock
        self._rules = rules or SubmissionRules()

    # Submitting

    async def submit(self, request: SubmitRequest, caller: Caller, idempotency_key: str | None) -> Created:
        """Stores the task, or finds the one that this caller made with this Idempotency-Key and the same body."""
        check_idempotency_key(idempotency_key)
        request = in_utc(request)
        body_hash = request.body_hash()
        task_id = task_id_for(caller.key_id, idempotency_key)
        replayed = await self._replayed(task_id, body_hash, idempotency_key)
        if replayed is not None:
            return replayed
        task = self._new_task(request, task_id, body_hash, caller)
        check_devices(request.devices)
        command = find_command(task.command_type, self._commands)
        check_number(len(request.devices), command, task.command_params, self._rules)
        try:
            return await self._create(task, request.devices, caller, allow_unknown=request.allow_unknown)
        except UnknownDevices as error:
            names = ", ".join(repr(each) for each in error.first[:5])
            more = f" and {error.count - 5} more" if error.count > 5 else ""
            reason = f"{error.count} not registered: {names}{more}; register them or set allowUnknown"
            raise InvalidField("devices", error.first[0], reason) from None

    async def submit_lines(self, intake: Intake, caller: Caller, idempotency_key: str | None) -> Created:
        """As `submit`, for a task that comes as lines. All is read and checked before the store is asked to write."""
        check_idempotency_key(idempotency_key)
        header = await intake.read_header()
        body_hash = BodyHash(header)
        task_id = task_id_for(caller.key_id, idempotency_key)
        if idempotency_key is not None and await self._exists(task_id):
            await intake.hash_devices(body_hash)
            replayed = await self._replayed(task_id, body_hash.hexdigest(), idempotency_key)
            if replayed is not None:
                return replayed
            self._new_task(header, task_id, "", caller)  # says what is wrong with it
            raise Unavailable(f"task {task_id} has just ceased to be: try again")
        task = self._new_task(header, task_id, "", caller)
        most = most_devices(find_command(task.command_type, self._commands), task.command_params, self._rules)
        await intake.spool_devices(body_hash, most)
        # Its times are those of a request that was made now, however long the lines took.
        task = self._new_task(header, task_id, body_hash.hexdigest(), caller)
        try:
            return await self._create(task, intake.spool, caller, allow_unknown=header.allow_unknown)
        except UnknownDevices as error:
            raise intake.unknown(error) from None

    async def retry_failed(self, task_id: str, caller: Caller, idempotency_key: str | None) -> Created:
        """A new task with the same command for the FAILED devices of `task_id`, which must be over."""
        check_idempotency_key(idempotency_key)
        body_hash = hashlib.sha256(b"retry-failed " + task_id.encode()).hexdigest()
        new_id = task_id_for(caller.key_id, idempotency_key)
        replayed = await self._replayed(new_id, body_hash, idempotency_key)
        if replayed is not None:
            return replayed
        parent = await self._store.get_task(task_id)
        if parent.outcome is None:
            raise Conflict(f"task {task_id} is not over: {parent.status}, {parent.counts.open} devices are open")
        failed = await self._failed_devices(task_id)
        if not failed:
            raise Conflict(f"task {task_id} has no failed device")
        task = self._again(parent, new_id, body_hash, len(failed), caller)
        # Who was unknown then may be known now, and if not ends FAILED as before without holding up the others.
        return await self._create(task, failed, caller, allow_unknown=True)

    def _again(self, parent: Task, task_id: str, body_hash: str, count: int, caller: Caller) -> NewTask:
        now = self._clock()
        try:
            command = find_command(parent.command_type, self._commands)
            parameters = parse_parameters(command, parent.command_params, now)
            traits, follow_up = command.traits_for(parameters), command.follow_up_of(parameters)
            check_role(traits, command.name, caller)
            check_number(count, command, parent.command_params, self._rules)
        except InvalidField as error:
            raise Conflict(f"task {parent.task_id} can't be asked for again: {error.detail}") from None
        return NewTask(
            task_id=task_id,
            body_hash=body_hash,
            command_id=parent.command_id,
            command_type=parent.command_type,
            conflict_group=traits.conflict_group,
            command_params=parent.command_params,
            scheduled_at=now,
            expires_at=now + traits.expires_after,
            priority=parent.priority,
            requested_by=caller.name,
            retry=parent.retry,
            parent_task_id=parent.task_id,
            follow_up_at=None if follow_up is None else follow_up.due_at,
            bucket_size=self._rules.bucket_size,
        )

    async def _replayed(self, task_id: str, body_hash: str, idempotency_key: str | None) -> Created | None:
        """The task that an earlier request with this key made. Looked for before anything is validated: what was
        valid then stays so."""
        if idempotency_key is None:
            return None
        try:
            found = await self._store.get_task(task_id)
        except NotFound:
            return None
        command = self._commands.get(found.command_type)
        if command is None:
            return None
        # The store finds the task and tells whether the body is the same. It creates nothing: no device is named so.
        again = NewTask(
            task_id=task_id,
            body_hash=body_hash,
            command_id=found.command_id,
            command_type=found.command_type,
            conflict_group=command.traits.conflict_group,
            command_params=found.command_params,
            scheduled_at=found.scheduled_at,
            expires_at=found.expires_at,
            priority=found.priority,
            requested_by=found.requested_by,
            retry=found.retry,
        )
        try:
            created = await self._store.create_task(again, _NO_DEVICE, allow_unknown=False)
        except UnknownDevices:  # it has just ceased to be
            return None
        return _same_body(created, idempotency_key)

    def _new_task(self, header: SubmitHeader, task_id: str, body_hash: str, caller: Caller) -> NewTask:
        return new_task(header, task_id, body_hash, self._commands, self._rules, self._clock(), caller)

    async def _exists(self, task_id: str) -> bool:
        try:
            await self._store.get_task(task_id)
        except NotFound:
            return False
        return True

    async def _create(self, task: NewTask, devices: Sequence[str], caller: Caller, *, allow_unknown: bool) -> Created:
        image = self._commands[task.command_type].image_named(task.command_params)
        if image is None:
            created = await self._store.create_task(task, devices, allow_unknown=allow_unknown)
        else:
            async with self.images.lock:
                if await self.images.find(image) is None:
                    raise InvalidField(f"{ROOT}.image", image, "there is no such image; upload it first")
                created = await self._store.create_task(task, devices, allow_unknown=allow_unknown)
        if created.is_new:
            self.submitted[task.command_type] += 1
            log.info(
                "task.submitted",
                task_id=task.task_id,
                command_type=task.command_type,
                devices=len(devices),
                by=caller.key_id,
                parent_task_id=task.parent_task_id,
            )
            self._engine.wake()
        return _same_body(created, "this")

    async def _failed_devices(self, task_id: str) -> list[str]:
        failed: list[str] = []
        cursor: str | None = None
        while True:
            page = await self._store.list_devices(task_id, DeviceQuery(status=DeviceStatus.FAILED), _PAGE, cursor)
            failed += [device.device_id for device in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return failed

    # Acting

    async def cancel(self, task_id: str, caller: Caller) -> Task:
        return await self._act("cancel", self._store.cancel_task, task_id, caller)

    async def pause(self, task_id: str, caller: Caller) -> Task:
        return await self._act("pause", self._store.pause_task, task_id, caller)

    async def resume(self, task_id: str, caller: Caller) -> Task:
        return await self._act("resume", self._store.resume_task, task_id, caller)

    async def _act(self, verb: str, act: Callable[[str], Awaitable[Task]], task_id: str, caller: Caller) -> Task:
        try:
            task = await act(task_id)
        except IllegalTransition as error:
            raise Conflict(f"cannot {verb} task {task_id}: it is {error.status}") from None
        log.info("task.changed", action=verb, task_id=task_id, status=task.status, by=caller.key_id)
        self._engine.changed(task_id)
        return task

    async def count_ended(self, before: datetime) -> int:
        """How many tasks are over and were last changed before that."""
        return await self._store.count_ended(before)

    async def delete_ended(self, before: datetime, caller: Caller) -> tuple[int, bool]:
        """Deletes such tasks, at most a thousand; how many, and whether there may be more."""
        deleted = 0
        while deleted < _MOST_DELETED:
            step = await self._store.retire_tasks(before, _DELETED_A_STEP)
            deleted += step
            if step < _DELETED_A_STEP:
                break
        log.info("retention.deleted", tasks=deleted, ended_before=before.isoformat(), by=caller.key_id)
        return deleted, deleted >= _MOST_DELETED

    # Asking

    async def task(self, task_id: str) -> Task:
        return await self._store.get_task(task_id)

    async def tasks(self, query: TaskQuery, limit: int, cursor: str | None) -> Page[Task]:
        return await self._store.list_tasks(query, limit, cursor)

    def stream_devices(self, task_id: str) -> AsyncIterator[bytes]:
        return self._store.stream_devices(task_id)

    def stream_results(self, task_id: str) -> AsyncIterator[bytes]:
        return self._store.stream_results(task_id)

    async def devices(self, task_id: str, query: DeviceQuery, limit: int, cursor: str | None) -> Page[DeviceCommand]:
        return await self._store.list_devices(task_id, query, limit, cursor)

    async def device(self, task_id: str, device_id: str) -> DeviceCommandDetail:
        found = await self._store.get_device_command(task_id, device_id)
        command = self._commands.get(found.command_type)
        if command is None or command.image_of is None or found.command_status in FINAL_DEVICE:
            return found
        task = await self._store.get_task(task_id)
        image = command.image_named(task.command_params)
        progress = None if image is None else await self.images.progress(image, device_id)
        return msgspec.structs.replace(found, progress=progress)

    async def errors(self, task_id: str) -> list[ErrorCount]:
        return await self._store.error_counts(task_id)

    async def open_tasks(self) -> dict[TaskStatus, int]:
        """How many tasks there are by status, of those that are not over; at most a page of each."""
        counts = {}
        for status in TaskStatus:
            if status not in FINAL_TASK:
                counts[status] = len((await self._store.list_tasks(TaskQuery(status=status), _PAGE, None)).items)
        return counts


def _same_body(created: Created, idempotency_key: str) -> Created:
    if created.same_body:
        return created
    raise Conflict(
        f"the Idempotency-Key {idempotency_key!r} was used for another request, which made task {created.task.task_id}"
    )
