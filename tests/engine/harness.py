"""A real store, a real engine and a driver that does what the test says; the driver is the witness of all sessions."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from tests.engine.stores import opened

from metercast.commands.contract import CommandType, MeterSession
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.meter import Meter, MeterRecord, SealedMeter
from metercast.domain.outcome import Outcome, Phase
from metercast.domain.retry import Resend, RetryPolicy
from metercast.domain.states import FINAL_DEVICE, FINAL_TASK, DeviceStatus
from metercast.domain.task import Counts, DeviceCommand, DeviceCommandDetail, Task
from metercast.domain.words import ErrorWord
from metercast.driver.contract import Checkpoint, Command, GiveBack
from metercast.engine.engine import Engine
from metercast.engine.limits import WorkerLimits
from metercast.store.contract import Store
from metercast.store.devices import MeterWrite
from metercast.store.tasks import DeviceQuery, NewTask

LIMITS = WorkerLimits(
    sessions=20,
    linger_seconds=0.001,
    lock_retry_seconds=0.02,
    order_retry_seconds=0.03,
    hold_seconds=0.1,
    step_aside_seconds=0.1,
)
# The tests of follow-ups make them when they want them.
SELDOM: dict[str, Any] = {"follow_up_seconds": 3600.0}
FAST = RetryPolicy(max_attempts=3, initial_delay_seconds=0.01, max_delay_seconds=0.05)
DOCUMENT = b'{"connection":{"host":"127.0.0.1"}}'


class NoParameters(msgspec.Struct, forbid_unknown_fields=True):
    """The commands of these tests take none."""


async def _never_performed(session: MeterSession, parameters: Any) -> Outcome:
    raise AssertionError("the scripted driver performs no COSEM steps")


def command_type(name: str, resend: Resend, group: ConflictGroup = ConflictGroup.NONE, **traits: Any) -> CommandType:
    about = CommandTraits(name=name, resend=resend, conflict_group=group, expires_after=timedelta(days=1), **traits)
    return CommandType(traits=about, parameters=NoParameters, perform=_never_performed)


COMMANDS = {
    each.name: each
    for each in (
        command_type("READ", Resend.SAFE),
        command_type("WRITE", Resend.VERIFY),
        command_type("ONCE", Resend.NEVER),
        command_type("DISCONNECT", Resend.VERIFY, ConflictGroup.RELAY),
        command_type("RECONNECT", Resend.VERIFY, ConflictGroup.RELAY),
        command_type("SYNC", Resend.SAFE, ConflictGroup.CLOCK),
        command_type("UPLOAD", Resend.VERIFY, ConflictGroup.FIRMWARE, is_long=True),
    )
}


class Clock:
    """Runs with the machine's, and jumps when told to."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


class PlainVault:
    def open(self, stored: SealedMeter) -> Meter:
        return Meter(stored.device_id, msgspec.json.decode(stored.document, type=MeterRecord), {})


@dataclass
class Visit:
    """One session as the driver sees it; `number` counts the sessions of this command on this meter from 1."""

    command: str
    device_id: str
    number: int
    checkpoint: Checkpoint
    ended: bool = False

    def send(self) -> None:
        self.checkpoint.may_send()


Script = Callable[[Visit], Awaitable[Outcome]]


async def at_once(visit: Visit) -> Outcome:
    visit.send()
    return Outcome.done()


def fails(error: ErrorWord, phase: Phase = Phase.READING) -> Script:
    async def script(visit: Visit) -> Outcome:
        visit.send()
        return Outcome.failed(error, "as the test wants it", phase)

    return script


class Gate:
    """A script whose sessions wait inside until they are let go."""

    def __init__(self, then: Script = at_once) -> None:
        self._open = asyncio.Event()
        self._then = then

    async def __call__(self, visit: Visit) -> Outcome:
        visit.send()
        await self._open.wait()
        return await self._then(visit)

    def open(self) -> None:
        self._open.set()


class ScriptedDriver:
    """Implements driver.contract.Driver, and notes who was in a session with whom, and when."""

    notified = 0

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}  # by command, or by "command device"
        self.visits: list[Visit] = []
        self.overlaps: list[str] = []  # meters that were in two sessions at once
        self.most = 0
        self.most_in_channel: Counter[str] = Counter()
        self.closed = False
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._open: Counter[str] = Counter()
        self._open_in_channel: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    async def execute(self, command: Command, meter: Meter, checkpoint: Checkpoint) -> Outcome:
        key = command.type.name, meter.device_id
        self._numbers[key] += 1
        visit = Visit(*key, self._numbers[key], checkpoint)
        channel = meter.record.connection.channel_name
        self.visits.append(visit)
        if self._open[meter.device_id]:
            self.overlaps.append(meter.device_id)
        self._open[meter.device_id] += 1
        self._open_in_channel[channel] += 1
        self.most = max(self.most, self._open.total())
        self.most_in_channel[channel] = max(self.most_in_channel[channel], self._open_in_channel[channel])
        await self._tell()
        script = self.scripts.get(f"{key[0]} {key[1]}") or self.scripts.get(key[0]) or at_once
        try:
            return await script(visit)
        except GiveBack as reason:
            return Outcome.given_back(str(reason))
        finally:
            visit.ended = True
            self._open[meter.device_id] -= 1
            self._open_in_channel[channel] -= 1
            await self._tell()

    async def close(self) -> None:
        self.closed = True

    @property
    def in_session(self) -> int:
        return self._open.total()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for the sessions to be as `condition` wants them."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def reached(self, visits: int) -> None:
        await self.until(lambda: len(self.visits) >= visits)

    def of(self, command: str, device_id: str | None = None) -> list[Visit]:
        return [v for v in self.visits if v.command == command and device_id in (None, v.device_id)]

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@dataclass
class World:
    """One store, of the kind that the test is run for, and the engine that runs on it now."""

    kind: ClassVar[str] = "sqlite"

    store: Store
    clock: Clock
    driver: ScriptedDriver
    engine: Engine
    limits: WorkerLimits = LIMITS
    wrapped: Callable[[Store], Store] = lambda store: store
    storage: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    async def open(
        cls, folder: Path, limits: WorkerLimits = LIMITS, wrapped: Callable[[Store], Store] = lambda store: store
    ) -> "World":
        """The engine is not started."""
        clock = Clock()
        storage = AsyncExitStack()
        store = await storage.enter_async_context(opened(cls.kind, folder, clock))
        driver = ScriptedDriver()
        engine = Engine(wrapped(store), driver, COMMANDS, PlainVault(), clock, limits, **SELDOM)
        return cls(store, clock, driver, engine, limits, wrapped, storage)

    async def restart(self, *, grace: float = 0.0) -> None:
        """Ends the engine, in-process sessions cancelled after `grace`, and starts another on the same store."""
        await self.engine.drain(grace)
        self.engine = Engine(
            self.wrapped(self.store), self.driver, COMMANDS, PlainVault(), self.clock, self.limits, **SELDOM
        )
        await self.engine.start()

    async def close(self) -> None:
        await self.engine.drain(0)
        await self.storage.aclose()

    async def register(self, devices: Sequence[str], channel: str | None = None, max_sessions: int = 1) -> None:
        """Each device in a channel of its own, or all in `channel`."""
        writes = []
        for each in devices:
            name = channel or each
            document = {"connection": {"host": "127.0.0.1", "channel": name, "maxSessions": max_sessions}}
            writes.append(MeterWrite(each, msgspec.json.encode(document), None, name, max_sessions))
        await self.store.put_devices(writes)

    async def submit(self, task_id: str, devices: Sequence[str], command: str = "READ", **changes: Any) -> None:
        """Registers what is unknown, and stores the task."""
        register = changes.pop("register", True)
        if register:
            known = await self.store.find_devices(devices)
            await self.register([each for each in devices if each not in known])
        due_in = changes.pop("due_in", 0.0)
        expires_in = changes.pop("expires_in", 86400.0)
        now = self.clock()
        known_type = COMMANDS.get(command)
        fields: dict[str, Any] = {
            "task_id": task_id,
            "body_hash": task_id,
            "command_id": task_id,
            "command_type": command,
            "conflict_group": known_type.traits.conflict_group if known_type else ConflictGroup.NONE,
            "command_params": None,
            "scheduled_at": now + timedelta(seconds=due_in),
            "expires_at": now + timedelta(seconds=expires_in),
            "priority": 4,
            "requested_by": None,
            "retry": FAST,
            "bucket_size": 50,
        }
        await self.store.create_task(NewTask(**(fields | changes)), devices, allow_unknown=not register)
        self.engine.wake()

    async def final(self, task_id: str) -> Task:
        """The task when it is over; also checks that its counts are those of its rows."""
        while (task := await self.store.get_task(task_id)).outcome is None:  # noqa: ASYNC110 (as a client would)
            await asyncio.sleep(0.01)
        assert task.status in FINAL_TASK
        rows = await self.devices(task_id)
        assert all(row.command_status in FINAL_DEVICE for row in rows)
        assert task.counts == counted(rows)
        return task

    async def devices(self, task_id: str) -> list[DeviceCommand]:
        text = b"".join([piece async for piece in self.store.stream_devices(task_id)])
        return msgspec.json.decode(b"[" + text + b"]", type=list[DeviceCommand])

    async def device(self, task_id: str, device_id: str) -> DeviceCommandDetail:
        return await self.store.get_device_command(task_id, device_id)

    async def when(self, task_id: str, device_id: str, condition: Callable[[DeviceCommand], bool]) -> DeviceCommand:
        """The device command once it is as `condition` wants it."""
        while not condition(found := await self.device(task_id, device_id)):  # noqa: ASYNC110 (as a client would)
            await asyncio.sleep(0.005)
        return found

    async def with_status(self, task_id: str, status: DeviceStatus) -> int:
        page = await self.store.list_devices(task_id, DeviceQuery(status=status), 10_000, None)
        return len(page.items)


def counted(rows: Sequence[DeviceCommand]) -> Counts:
    by = Counter(row.command_status for row in rows)
    return Counts(
        len(rows),
        by[DeviceStatus.PENDING],
        by[DeviceStatus.SENT],
        by[DeviceStatus.SUCCESS],
        by[DeviceStatus.FAILED],
        by[DeviceStatus.CANCELLED],
    )


def names(count: int, prefix: str = "meter") -> list[str]:
    return [f"{prefix}-{number:03d}" for number in range(1, count + 1)]
