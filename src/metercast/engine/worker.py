"""The worker: leases buckets, begins devices as slots and channels free up, runs their sessions, gives buckets back."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

import msgspec
import structlog

from metercast.commands.contract import CommandType
from metercast.domain.problem import InvalidField
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord
from metercast.driver.contract import Command
from metercast.engine.bucket import ActiveBucket
from metercast.engine.channels import Channels
from metercast.engine.executor import Executor
from metercast.engine.holdings import Holdings
from metercast.engine.limits import WorkerLimits
from metercast.engine.patience import REST_SECONDS, again, tell, until_stored
from metercast.engine.pool import SessionPool
from metercast.engine.queue import BucketQueue
from metercast.engine.session import Session
from metercast.engine.stats import EngineStats
from metercast.engine.writer import ResultWriter
from metercast.engine.yielding import Yielding
from metercast.store.attempts import AttemptStore, Begun, DueBucket, LeasedBucket, LeaseLost, OpenDevice, Result

log = structlog.get_logger()

# How long results may take to be recorded when the sessions were cancelled.
_FLUSH_SECONDS = 2.0


class Worker:
    """One per process. `owner` names this start of it; `released` hears when a bucket was given back."""

    def __init__(
        self,
        store: AttemptStore,
        queue: BucketQueue,
        executor: Executor,
        commands: Mapping[str, CommandType],
        stats: EngineStats,
        owner: str,
        limits: WorkerLimits,
        released: Callable[[], None],
    ) -> None:
        self._store = store
        self._queue = queue
        self._executor = executor
        self._commands = commands
        self._stats = stats
        self._owner = owner
        self._limits = limits
        self._released = released
        self._writer = ResultWriter(store, stats, self._recorded)
        self._channels = Channels()
        self._yielding = Yielding()
        self._holdings = Holdings(store, stats, limits, self._channels.forget)
        self._free = limits.sessions
        self._meters: set[str] = set()  # in a session here; a lock in the store does not outlive its lease
        self._pool = SessionPool(limits.sessions, self._run_session)
        self._enough = limits.sessions // 2  # free slots for which a batch is worth its while
        self._roomy = asyncio.Event()
        self._woken = asyncio.Event()
        self._moved = asyncio.Event()
        self._draining = False

    async def run(self) -> None:
        """Until cancelled; then every session is cancelled too, and its device stays SENT for the next start."""
        loops = (self._take_loop, self._begin_loop, self._holdings.renew_all, self._writer.run)
        try:
            async with asyncio.TaskGroup() as group:
                for loop in loops:
                    group.create_task(again(loop), name=loop.__name__)
        finally:
            await self._pool.close()

    async def drain(self) -> None:
        """Takes and begins nothing more, gives back what sent no byte, and waits for the sessions in flight."""
        self._draining = True
        self._holdings.drain()
        self._woken.set()
        while len(self._holdings):
            await self._next_move()

    async def abandon(self) -> None:
        """Cancels the sessions that would not end, and records the results of those that did."""
        await self._pool.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._writer.flushed()

    async def refresh(self, task_id: str) -> None:
        """Someone changed the task: what its buckets hold of it is read again."""
        await self._holdings.renew(self._holdings.of_task(task_id))
        self._woken.set()

    # Taking buckets

    async def _take_loop(self) -> None:
        while not self._draining:
            if not self._holdings.has_room(self._queue.best_priority):
                await self._next_move()
                continue
            due = await self._queue.take()
            if due.bucket_id not in self._holdings and not self._draining:
                await self._take(due)
        await asyncio.Event().wait()

    async def _take(self, due: DueBucket) -> None:
        asked_at = time.monotonic()
        leased = await self._store.lease_bucket(due.bucket_id, self._owner, self._limits.lease_seconds)
        if leased is None:
            return
        try:
            command = self._command(leased)
            if command is None:
                await self._refuse_all(leased)
                return
            bucket = ActiveBucket(leased, command, self._holdings.deadline(asked_at))
            await self._settle(bucket, leased)
        except LeaseLost:
            return
        bucket.draining = self._draining
        self._holdings.add(bucket)
        self._woken.set()

    def _command(self, leased: LeasedBucket) -> Command | None:
        """The stored command; None where this server does not know its type or parameters."""
        command_type = self._commands.get(leased.task.command_type)
        if command_type is None:
            return None
        try:
            parameters = msgspec.convert(leased.task.command_params or {}, command_type.parameters)
            command_type.members_of(parameters)
        except (msgspec.ValidationError, InvalidField):
            return None
        return Command(command_type, parameters)

    async def _refuse_all(self, leased: LeasedBucket) -> None:
        log.error("worker.unknown_command", task_id=leased.task.task_id, command=leased.task.command_type)
        detail = f"this server does not know the command {leased.task.command_type} with these parameters"
        lost = [
            Result(d.position, d.device_id, d.tries, DeviceStatus.FAILED, d.used, 0, ErrorWord.OUTCOME_UNKNOWN, detail)
            for d in leased.devices
            if d.status is DeviceStatus.SENT
        ]
        pending = [device.position for device in leased.devices if device.status is DeviceStatus.PENDING]
        store, lease = self._store, leased.lease
        await until_stored(lambda: store.record_results(lease, lost))
        await until_stored(lambda: store.refuse_devices(lease, pending, ErrorWord.INTERNAL_ERROR, detail))
        await until_stored(lambda: store.release_bucket(lease, 0))
        self._released()

    async def _settle(self, bucket: ActiveBucket, leased: LeasedBucket) -> None:
        """Decides what a dead lease left SENT, refuses unknown devices, and takes the others up."""
        left = [device for device in leased.devices if device.status is DeviceStatus.SENT]
        if left:
            log.info("worker.recovers", task_id=bucket.task.task_id, devices=len(left))
            results = self._executor.recover(bucket, left)
            await until_stored(lambda: self._store.record_results(bucket.lease, results))
            bucket.in_flight = {device.position: device for device in left}
            for result in results:
                bucket.retry(result, self._rest)
        pending = [device for device in leased.devices if device.status is DeviceStatus.PENDING]
        unknown = [device.position for device in pending if device.channel is None]
        if unknown and bucket.runs:
            detail = "the device is not registered"
            refuse = self._store.refuse_devices
            await until_stored(lambda: refuse(bucket.lease, unknown, ErrorWord.UNKNOWN_DEVICE, detail))
        bucket.add(device for device in pending if device.channel is not None)

    # Beginning devices

    async def _begin_loop(self) -> None:
        """While the store marks one batch, sessions of another run and the next is picked: slots bound them all."""
        async with asyncio.TaskGroup() as beginning:
            while True:
                await self._wait_for_work()
                for bucket, devices in self._pick():
                    beginning.create_task(self._begin(bucket, devices), name="begin")
                best = self._queue.best_priority
                crowded = best is not None and not self._holdings.has_room(best)
                if await self._holdings.give_up_idle(crowded=crowded):
                    self._released()
                self._moved.set()

    async def _next_move(self) -> None:
        """Waits for the next pass of the begin loop, which comes at least every second."""
        self._moved.clear()
        await self._moved.wait()

    async def _wait_for_work(self) -> None:
        """Until woken, or a device has waited long enough. Where few slots are free, a short rest lets more of them
        free up together."""
        wake = self._holdings.next_wake
        timeout = REST_SECONDS if wake is None else min(REST_SECONDS, max(0.0, wake - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._woken.wait()
        if self._free < self._enough:
            self._roomy.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.linger_seconds):
                    await self._roomy.wait()
        self._woken.clear()

    def _pick(self) -> list[tuple[ActiveBucket, list[OpenDevice]]]:
        """Devices that may begin now, with a session slot and a place in their channel taken for each. They are in
        flight from here on."""
        now = time.monotonic()
        batches = []
        if self._free:
            self._channels.call()
        for bucket in self._holdings.in_order():
            bucket.wake_due(now)
            if not bucket.runs:
                continue
            batch = []
            is_long = bucket.command.type.traits.is_long
            while self._free and bucket.startable:
                device = bucket.startable.popleft()
                assert device.channel is not None
                if device.device_id in self._meters:
                    self._yielding.want_meter(device.device_id, bucket.task.conflict_group)
                    bucket.wait(device, now + self._limits.lock_retry_seconds)
                elif is_long and self._yielding.is_kept(device.device_id):
                    bucket.wait(device, now + self._limits.lock_retry_seconds)
                elif self._channels.enter(device.channel, device.max_sessions):
                    self._free -= 1
                    self._meters.add(device.device_id)
                    bucket.in_flight[device.position] = device
                    batch.append(device)
                else:
                    if not is_long:
                        self._yielding.want_place(device.channel)
                    self._channels.park(bucket, device)
            if batch:
                batches.append((bucket, batch))
        if not self._free:
            self._want_slots()
        return batches

    def _want_slots(self) -> None:
        """Long sessions make room for short commands, not for one another."""
        waiting = 0
        for bucket in self._holdings.in_order():
            if bucket.runs and not bucket.command.type.traits.is_long:
                waiting += len(bucket.startable)
        if waiting:
            self._yielding.want_slots(waiting)

    async def _begin(self, bucket: ActiveBucket, devices: list[OpenDevice]) -> None:
        waiting = {device.position: device for device in devices}
        try:
            begun = await self._executor.begin(bucket, devices)
        except LeaseLost:
            bucket.lost = True
        except Exception as error:
            tell("begin", error)
            again_at = time.monotonic() + REST_SECONDS
            for device in devices:
                bucket.wait(device, again_at)
        else:
            self._sort_begun(bucket, waiting, begun)
        for position, device in waiting.items():
            del bucket.in_flight[position]
            self._leave(device)

    def _sort_begun(self, bucket: ActiveBucket, waiting: dict[int, OpenDevice], begun: Begun) -> None:
        """Starts the sessions of what was begun, and takes it out of `waiting`; the rest waits, or is final."""
        bucket.task_status = begun.task_status
        if begun.task_status is not TaskStatus.IN_PROGRESS:
            bucket.startable.extend(waiting.values())
            return
        for each in begun.begun:
            self._stats.sessions_begun += 1
            self._stats.sessions_in_flight += 1
            session = self._executor.session(bucket, waiting.pop(each.position), each)
            self._yielding.began(session)
            self._pool.start(session)
        now = time.monotonic()
        for position in begun.locked:
            bucket.wait(waiting[position], now + self._limits.lock_retry_seconds)
        for position in begun.waits:
            bucket.wait(waiting[position], now + self._limits.order_retry_seconds)

    # Sessions

    async def _run_session(self, session: Session) -> None:
        try:
            result = await self._executor.run(session)
            self._writer.add(session.bucket, result)
        finally:
            self._stats.sessions_in_flight -= 1
            self._leave(session.device)

    def _leave(self, device: OpenDevice) -> None:
        """Gives back the session slot, the meter and the place in the channel."""
        assert device.channel is not None
        self._free += 1
        self._meters.discard(device.device_id)
        self._yielding.ended(device.device_id)
        self._channels.leave(device.channel)
        self._woken.set()
        if self._free >= self._enough:
            self._roomy.set()

    def _recorded(self, bucket: ActiveBucket, results: list[Result]) -> None:
        """The writer is done with them: what is PENDING again waits for its next attempt."""
        for result in results:
            bucket.retry(result, self._rest)
        self._woken.set()

    @property
    def _rest(self) -> float:
        """Long enough for whoever found the meter locked to ask again."""
        return 2 * self._limits.lock_retry_seconds
