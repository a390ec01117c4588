"""Follow-ups: where a task left something to its meters, another task looks at it once it is due.

What is due stands in the store with the task itself, from its creation on, so no message can be lost. The id of the
task that follows up is derived from the first one's: whoever makes it, however often and wherever it was cut, it is
made once. It is made only when it is due, and covers the devices that are SCHEDULED then, also by a late result.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
import structlog

from metercast.commands.contract import CommandType, FollowUp
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.states import DeviceStatus
from metercast.domain.task import Task
from metercast.engine.patience import tell
from metercast.engine.stats import EngineStats
from metercast.store.contract import Store
from metercast.store.tasks import DEFAULT_BUCKET, DeviceQuery, NewTask

log = structlog.get_logger()

LOOK_SECONDS = 2.0
_AT_ONCE = 20
_PAGE = 5000


class FollowUps:
    """The loop that makes them. `made` hears of each new task."""

    def __init__(
        self,
        store: Store,
        commands: Mapping[str, CommandType],
        stats: EngineStats,
        clock: Callable[[], datetime],
        made: Callable[[], None],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._store = store
        self._commands = commands
        self._stats = stats
        self._clock = clock
        self._made = made
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                more = await self.step()
            except Exception as error:
                tell("follow-ups", error)
                more = False
            if not more:
                await asyncio.sleep(self._look_seconds)

    async def step(self) -> bool:
        """Makes those that are due; whether there may be more."""
        due = await self._store.due_follow_ups(_AT_ONCE)
        for task in due:
            await self._follow_up(task)
        return len(due) == _AT_ONCE

    async def _follow_up(self, task: Task) -> None:
        found = self._what(task)
        devices = [] if found is None else await self._scheduled(task.task_id)
        if found is None or not devices:
            await self._store.settle_follow_up(task.task_id, None)
            return
        new = self._new_task(task, *found)
        created = await self._store.create_task(new, devices, allow_unknown=True)
        await self._store.settle_follow_up(task.task_id, new.task_id)
        if created.is_new:
            self._stats.follow_ups += 1
            log.info("task.followed_up", task_id=task.task_id, by=new.task_id, devices=len(devices))
            self._made()

    def _what(self, task: Task) -> tuple[FollowUp, CommandTraits] | None:
        """None where this server does not know the command, or what follows it."""
        try:
            command = self._commands[task.command_type]
            follow_up = command.follow_up_of(msgspec.convert(task.command_params or {}, command.parameters))
            return None if follow_up is None else (follow_up, self._commands[follow_up.command_type].traits)
        except (KeyError, msgspec.ValidationError, InvalidField):
            log.error("follow_ups.unknown_command", task_id=task.task_id, command=task.command_type)
            return None

    async def _scheduled(self, task_id: str) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await self._store.list_devices(task_id, DeviceQuery(status=DeviceStatus.SUCCESS), _PAGE, cursor)
            found += [device.device_id for device in page.items if device.how is How.SCHEDULED]
            cursor = page.next_cursor
            if cursor is None:
                return found

    def _new_task(self, task: Task, follow_up: FollowUp, traits: CommandTraits) -> NewTask:
        now = self._clock()
        return NewTask(
            task_id=follow_up_id(task.task_id),
            body_hash=hashlib.sha256(b"follow-up " + task.task_id.encode()).hexdigest(),
            command_id=task.command_id,
            command_type=follow_up.command_type,
            conflict_group=traits.conflict_group,
            command_params=follow_up.command_params,
            scheduled_at=max(now, follow_up.due_at),
            expires_at=max(now, follow_up.due_at) + traits.expires_after,
            priority=task.priority,
            requested_by=task.requested_by,
            retry=task.retry,
            parent_task_id=task.task_id,
            bucket_size=DEFAULT_BUCKET,
        )


def follow_up_id(task_id: str) -> str:
    """The id of the task that follows up that one."""
    digest = hashlib.blake2b(task_id.encode(), digest_size=16, person=b"metercast-follow")
    return f"task-{digest.hexdigest()}"
