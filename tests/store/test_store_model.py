"""Random operations on a small store, checked after each: what may change, what must hold whatever happened."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.store.fleet import LEASE, counted, meter, new_task
from tests.store.harness import STORES, StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.outcome import How
from metercast.domain.states import DEVICE_TRANSITIONS, FINAL_TASK, TASK_TRANSITIONS, IllegalTransition, TaskStatus
from metercast.domain.states import DeviceStatus as D
from metercast.domain.words import CORRECTABLE, ErrorWord
from metercast.store.attempts import LeasedBucket, LeaseLost, Result

T = TypeVar("T")
METERS = ["a", "b", "c", "d", "e"]
STEPS = {(before.value, after.value) for (before, _), after in DEVICE_TRANSITIONS.items()}
TASK_STEPS = {(before.value, after.value) for (before, _), after in TASK_TRANSITIONS.items()}
# What one call may do in two legal steps: a result that comes to a cancelled task, a task that starts or ends at once.
BOTH_STEPS = {("SENT", "CANCELLED")}
Row = dict[str, Any]


class StoreMachine(RuleBasedStateMachine):
    start: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.harness: StoreHarness = self.run(type(self).start(self.directory))
        self.tasks: list[str] = []
        self.held: list[LeasedBucket] = []  # every lease ever given, living or not
        self.living: dict[Any, tuple[int, float]] = {}  # bucket -> the epoch that holds it, and until when
        self.sessions: dict[tuple[str, str], LeasedBucket] = {}  # device command -> the lease it was begun under
        self.past: list[tuple[str, Result]] = []
        self.rows: dict[str, list[Row]] = {}
        self.headers: dict[str, Row] = {}

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.run(self.harness.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    @initialize()
    def register(self) -> None:
        self.run(self.harness.store.put_devices([meter(each) for each in METERS]))

    # Tasks

    @precondition(lambda self: len(self.tasks) < 4)
    @rule(
        devices=st.lists(st.sampled_from([*METERS, "unknown"]), min_size=1, max_size=5, unique=True),
        group=st.sampled_from([ConflictGroup.NONE, ConflictGroup.RELAY, ConflictGroup.CLOCK]),
        wait=st.sampled_from([0, 0, 0, 50]),
        life=st.sampled_from([100, 500, 10_000]),
        bucket_size=st.sampled_from([1, 2, 50]),
    )
    def create(self, devices: list[str], group: ConflictGroup, wait: int, life: int, bucket_size: int) -> None:
        task_id = f"t{len(self.tasks)}"
        clock = self.harness.clock
        clock.advance(0.001)
        due = clock.now
        clock.advance(wait)
        scheduled_at = clock.now
        clock.advance(life)
        expires_at = clock.now
        clock.now = due
        task = new_task(
            task_id, conflict_group=group, scheduled_at=scheduled_at, expires_at=expires_at, bucket_size=bucket_size
        )
        created = self.run(self.harness.store.create_task(task, devices, allow_unknown=True))
        assert created.task.counts.pending == len(devices)
        self.tasks.append(task_id)

    @rule(seconds=st.sampled_from([0.5, 10, 31, LEASE]))
    def time_passes(self, seconds: float) -> None:
        self.harness.clock.advance(seconds)

    @rule()
    def scheduler_looks(self) -> None:
        self.run(self.harness.store.start_due_tasks())
        self.run(self.harness.store.expire_due())
        self.run(self.harness.store.finalise_ended())

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), action=st.sampled_from(["cancel_task", "pause_task", "resume_task"]))
    def act(self, data: st.DataObject, action: str) -> None:
        task_id = data.draw(st.sampled_from(self.tasks))
        try:
            self.run(getattr(self.harness.store, action)(task_id))
        except IllegalTransition:
            self.nothing_changed()

    @rule()
    def restart(self) -> None:
        self.run(self.harness.reopen())
        self.nothing_changed()

    @rule()
    def owner_starts_again(self) -> None:
        assert self.run(self.harness.store.release_owner("worker")) == len(self.living)
        self.living.clear()
        self.nothing_changed()

    # Work

    @rule(data=st.data())
    def lease(self, data: st.DataObject) -> None:
        due = self.run(self.harness.store.due_buckets(100))
        if not due:
            return
        bucket_id = data.draw(st.sampled_from(due)).bucket_id
        leased = self.run(self.harness.store.lease_bucket(bucket_id, f"worker-{len(self.held)}", LEASE))
        assert leased is not None
        stored = [row for row in self.fresh()[leased.task.task_id] if row["command_status"] in ("PENDING", "SENT")]
        assert {(d.device_id, d.status.value) for d in leased.devices} <= {
            (row["device_id"], row["command_status"]) for row in stored
        }
        assert not self.lives_any(bucket_id)
        self.held.append(leased)
        self.living[bucket_id] = leased.lease.epoch, self.now + LEASE
        self.nothing_changed()

    @property
    def now(self) -> float:
        return self.harness.clock.now.timestamp()

    def lives(self, bucket: LeasedBucket) -> bool:
        epoch, until = self.living.get(bucket.lease.bucket_id, (0, 0.0))
        return epoch == bucket.lease.epoch and until > self.now

    def lives_any(self, bucket_id: Any) -> bool:
        return self.living.get(bucket_id, (0, 0.0))[1] > self.now

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        bucket = data.draw(st.sampled_from(self.held))
        kept = self.run(self.harness.store.renew_leases([bucket.lease], LEASE))
        assert bool(kept) == self.lives(bucket)
        if kept:
            self.living[bucket.lease.bucket_id] = bucket.lease.epoch, self.now + LEASE
        self.nothing_changed()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        bucket = data.draw(st.sampled_from(self.held))
        devices = data.draw(st.lists(st.sampled_from(bucket.devices), unique=True))
        before = {row["device_id"]: row["command_status"] for row in self.rows[bucket.task.task_id]}
        try:
            begun = self.run(self.harness.store.begin_attempts(bucket.lease, devices))
        except LeaseLost:
            assert not self.lives(bucket)
            self.nothing_changed()
            return
        assert self.lives(bucket)
        after = {row["device_id"]: row["command_status"] for row in self.fresh()[bucket.task.task_id]}
        sent = {name for name in after if (before[name], after[name]) == ("PENDING", "SENT")}
        told = {each.meter.device_id for each in begun.begun}
        assert sent <= told
        for name in told - sent:  # the same call once more, as after a lost answer
            assert before[name] == after[name] == "SENT"
            assert self.sessions[bucket.task.task_id, name].lease == bucket.lease
        self.sessions |= {(bucket.task.task_id, name): bucket for name in sent}
        names = {device.position: device.device_id for device in devices}
        assert told | {names[p] for p in (*begun.locked, *begun.waits, *begun.ended)} <= set(names.values())
        assert "unknown" not in told
        assert all(after[names[position]] == "PENDING" for position in (*begun.locked, *begun.waits))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        bucket = data.draw(st.sampled_from(self.held))
        results = data.draw(st.lists(_results(bucket), max_size=4, unique_by=lambda each: each.position))
        self.past += [(bucket.task.task_id, each) for each in results]
        before = {row["device_id"]: row["command_status"] for row in self.rows[bucket.task.task_id]}
        try:
            moved = self.run(self.harness.store.record_results(bucket.lease, results))
        except LeaseLost:
            assert not self.lives(bucket)
            self.nothing_changed()
            return
        assert self.lives(bucket)
        after = {row["device_id"]: row for row in self.fresh()[bucket.task.task_id]}
        told = {each.device_id: (each.status.value, each.error) for each in moved}
        for name, row in after.items():
            if name in told:
                assert before[name] == "SENT"
                assert (row["command_status"], row["error_message"]) == told[name]
            else:
                assert row["command_status"] == before[name]
        if self.headers[bucket.task.task_id]["status"] != TaskStatus.CANCELLED:
            asked = {each.device_id: each.status.value for each in results}
            assert all(asked[name] == status for name, (status, _) in told.items())

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        bucket = data.draw(st.sampled_from(self.held))
        unknown = [device.position for device in bucket.devices if device.channel is None]
        try:
            self.run(
                self.harness.store.refuse_devices(bucket.lease, unknown, ErrorWord.UNKNOWN_DEVICE, "not registered")
            )
        except LeaseLost:
            assert not self.lives(bucket)
            self.nothing_changed()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), seconds=st.sampled_from([0, 20]))
    def release(self, data: st.DataObject, seconds: float) -> None:
        bucket = data.draw(st.sampled_from(self.held))
        try:
            self.run(self.harness.store.release_bucket(bucket.lease, seconds))
        except LeaseLost:
            assert not self.lives(bucket)
        else:
            assert self.lives(bucket)
            del self.living[bucket.lease.bucket_id]
        self.nothing_changed()

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        task_id, result = data.draw(st.sampled_from(self.past))
        row = next(row for row in self.rows[task_id] if row["device_id"] == result.device_id)
        moved = self.run(self.harness.store.record_late_result(task_id, result))
        if moved is None:
            self.nothing_changed()
        else:
            assert result.status is D.SUCCESS
            assert row["command_status"] in ("FAILED", "PENDING")
            assert row["error_message"] in CORRECTABLE

    # What must hold

    @invariant()
    def it_is_true(self) -> None:
        self.only_legal_steps()
        self.tasks_follow_their_table()
        self.counts_are_the_rows()
        self.one_living_session_a_meter()
        self.what_is_open_can_end()

    def fresh(self) -> dict[str, list[Row]]:
        return {each: self.run(self.harness.raw_devices(each)) for each in self.tasks}

    def nothing_changed(self) -> None:
        assert {task_id: self.rows[task_id] for task_id in self.tasks} == self.fresh()

    def only_legal_steps(self) -> None:
        fresh = self.fresh()
        for task_id, rows in fresh.items():
            for old, new in zip(self.rows.get(task_id, rows), rows, strict=True):
                step = old["command_status"], new["command_status"]
                assert step[0] == step[1] or step in STEPS | BOTH_STEPS, (task_id, old, new)
                if step == ("SENT", "CANCELLED"):
                    assert self.headers[task_id]["status"] == "CANCELLED"
                if step[0] == "FAILED" and step[1] == "SUCCESS":
                    assert old["error_message"] in CORRECTABLE
                assert new["command_status"] not in ("SENT", "SUCCESS") or new["error_message"] is None
                assert new["command_status"] != "FAILED" or new["error_message"] is not None
        self.rows = fresh

    def tasks_follow_their_table(self) -> None:
        for task_id in self.tasks:
            header = self.run(self.harness.raw_task(task_id))
            assert header is not None
            old = self.headers.get(task_id, header)
            # A scheduler's look may start, expire and finalise in one go.
            through = {(a, c) for (a, b), (b2, c) in itertools.product(TASK_STEPS, TASK_STEPS) if b == b2}
            step = old["status"], header["status"]
            assert step[0] == step[1] or step in TASK_STEPS | through, step
            if TaskStatus(old["status"]) in FINAL_TASK and old["status"] != header["status"]:
                assert step == ("FAILED", "COMPLETED")
            self.headers[task_id] = header

    def counts_are_the_rows(self) -> None:
        for task_id, rows in self.rows.items():
            task = self.run(self.harness.store.get_task(task_id))
            assert task.counts == counted(rows)
            assert task.counts.total == len(rows)
            if task.outcome is not None:
                assert task.counts.open == 0

    def one_living_session_a_meter(self) -> None:
        """SENT, under a lease that still lives."""
        sent = {
            (task_id, row["device_id"])
            for task_id, rows in self.rows.items()
            for row in rows
            if row["command_status"] == "SENT"
        }
        living = [
            name for (task_id, name), bucket in self.sessions.items() if self.lives(bucket) and (task_id, name) in sent
        ]
        assert len(living) == len(set(living))

    def what_is_open_can_end(self) -> None:
        """No device is open in a task that is final, but what is still SENT in a cancelled one."""
        for task_id, rows in self.rows.items():
            status = self.headers[task_id]["status"]
            left = {row["command_status"] for row in rows} & {"PENDING", "SENT"}
            if status == "CANCELLED":
                assert left <= {"SENT"}
            elif status in ("COMPLETED", "FAILED"):
                assert not left


def _results(bucket: LeasedBucket) -> st.SearchStrategy[Result]:
    def build(index: int, kind: str, tries: int, error: ErrorWord, delay: float) -> Result:
        device = bucket.devices[index % len(bucket.devices)]
        tries += device.tries + (device.status is D.PENDING)
        known = device.position, device.device_id, tries
        if kind == "success":
            return Result(*known, D.SUCCESS, 1, how=How.DONE, result={"n": index})
        if kind == "failure":
            return Result(*known, D.FAILED, 1, 0, error, "why")
        if kind == "retry":
            return Result(*known, D.PENDING, 1, 0, error, "why", delay_seconds=delay, verify_first=delay > 10)
        return Result(*known, D.PENDING, 0, count_try=False)

    return st.builds(
        build,
        st.integers(0, 4),
        st.sampled_from(["success", "failure", "retry", "give back"]),
        st.sampled_from([0, 0, 0, 0, -1, 1]),
        st.sampled_from([ErrorWord.TIMEOUT, ErrorWord.OUTCOME_UNKNOWN, ErrorWord.METER_BUSY]),
        st.sampled_from([0.0, 5.0, 30.0]),
    )


@pytest.mark.parametrize("name", list(STORES))
def test_whatever_happens_the_record_stays_true(name: str) -> None:
    class Machine(StoreMachine):
        start = staticmethod(STORES[name])

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples={"sqlite": 25, "postgres": 6, "mongodb": 4}[name],  # servers are slower
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
