"""The state machines, read as tables; counts and outcomes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.domain.states import (
    DEVICE_TRANSITIONS,
    FINAL_DEVICE,
    FINAL_TASK,
    TASK_TRANSITIONS,
    DeviceEvent,
    DeviceStatus,
    IllegalTransition,
    TaskEvent,
    TaskStatus,
    device_after,
    states_before,
    task_after,
)
from metercast.domain.task import Counts, TaskOutcome, outcome_of

# The arrows of the design, section 1, written down a second time.
DEVICE_ARROWS = {
    ("PENDING", "SENT"),
    ("SENT", "SUCCESS"),
    ("SENT", "FAILED"),
    ("SENT", "PENDING"),
    ("PENDING", "FAILED"),
    ("PENDING", "CANCELLED"),
}
LATE_ARROWS = {("PENDING", "SUCCESS"), ("FAILED", "SUCCESS")}
TASK_ARROWS = {
    ("QUEUED", "IN_PROGRESS"),
    ("QUEUED", "PAUSED"),
    ("QUEUED", "FAILED"),
    ("QUEUED", "CANCELLED"),
    ("IN_PROGRESS", "PAUSED"),
    ("IN_PROGRESS", "COMPLETED"),
    ("IN_PROGRESS", "FAILED"),
    ("IN_PROGRESS", "CANCELLED"),
    ("PAUSED", "IN_PROGRESS"),
    ("PAUSED", "QUEUED"),
    ("PAUSED", "COMPLETED"),
    ("PAUSED", "FAILED"),
    ("PAUSED", "CANCELLED"),
}


def test_the_device_table_is_the_design() -> None:
    late = {(a.value, b.value) for (a, event), b in DEVICE_TRANSITIONS.items() if event is DeviceEvent.CORRECT}
    others = {(a.value, b.value) for (a, event), b in DEVICE_TRANSITIONS.items() if event is not DeviceEvent.CORRECT}
    assert (others, late) == (DEVICE_ARROWS, LATE_ARROWS)


def test_the_task_table_is_the_design() -> None:
    late = {(a.value, b.value) for (a, event), b in TASK_TRANSITIONS.items() if event is TaskEvent.CORRECT}
    others = {(a.value, b.value) for (a, event), b in TASK_TRANSITIONS.items() if event is not TaskEvent.CORRECT}
    assert (others, late) == (TASK_ARROWS, {("FAILED", "COMPLETED")})


@pytest.mark.parametrize(("status", "event"), list(itertools.product(DeviceStatus, DeviceEvent)))
def test_every_device_pair_is_in_the_table_or_illegal(status: DeviceStatus, event: DeviceEvent) -> None:
    if (status, event) in DEVICE_TRANSITIONS:
        assert device_after(status, event) is DEVICE_TRANSITIONS[status, event]
    else:
        with pytest.raises(IllegalTransition) as caught:
            device_after(status, event)
        assert (caught.value.status, caught.value.event) == (status, event)
        assert status.value in str(caught.value)
        assert event.value in str(caught.value)


@pytest.mark.parametrize(("status", "event"), list(itertools.product(TaskStatus, TaskEvent)))
def test_every_task_pair_is_in_the_table_or_illegal(status: TaskStatus, event: TaskEvent) -> None:
    if (status, event) in TASK_TRANSITIONS:
        assert task_after(status, event) is TASK_TRANSITIONS[status, event]
    else:
        with pytest.raises(IllegalTransition):
            task_after(status, event)


def test_every_state_and_event_is_used() -> None:
    assert {DeviceStatus.PENDING, *DEVICE_TRANSITIONS.values()} == set(DeviceStatus)
    assert {TaskStatus.QUEUED, *TASK_TRANSITIONS.values()} == set(TaskStatus)
    assert {event for _, event in DEVICE_TRANSITIONS} == set(DeviceEvent)
    assert {event for _, event in TASK_TRANSITIONS} == set(TaskEvent)


def test_every_state_is_reached_and_can_end() -> None:
    def reached(arrows: set[tuple[str, str]], start: str) -> set[str]:
        seen = {start}
        while more := {b for a, b in arrows if a in seen} - seen:
            seen |= more
        return seen

    assert reached(DEVICE_ARROWS, "PENDING") == {each.value for each in DeviceStatus}
    assert reached(TASK_ARROWS, "QUEUED") == {each.value for each in TaskStatus}
    for device in set(DeviceStatus) - FINAL_DEVICE:
        assert reached(DEVICE_ARROWS, device.value) & {each.value for each in FINAL_DEVICE}
    for task in set(TaskStatus) - FINAL_TASK:
        assert reached(TASK_ARROWS, task.value) & {each.value for each in FINAL_TASK}


def test_nothing_leaves_a_final_state_but_a_late_result() -> None:
    assert {event for (status, event) in DEVICE_TRANSITIONS if status in FINAL_DEVICE} == {DeviceEvent.CORRECT}
    assert {event for (status, event) in TASK_TRANSITIONS if status in FINAL_TASK} == {TaskEvent.CORRECT}
    assert all(DEVICE_TRANSITIONS[pair] in FINAL_DEVICE for pair in DEVICE_TRANSITIONS if pair[0] in FINAL_DEVICE)
    assert all(TASK_TRANSITIONS[pair] in FINAL_TASK for pair in TASK_TRANSITIONS if pair[0] in FINAL_TASK)


def test_states_before_are_those_of_the_table() -> None:
    assert states_before(DEVICE_TRANSITIONS, DeviceEvent.BEGIN) == (DeviceStatus.PENDING,)
    assert states_before(DEVICE_TRANSITIONS, DeviceEvent.CORRECT) == (DeviceStatus.PENDING, DeviceStatus.FAILED)
    assert states_before(TASK_TRANSITIONS, TaskEvent.RESUME) == (TaskStatus.PAUSED,)


numbers = st.integers(0, 5)


@given(numbers, numbers, numbers, numbers, numbers, st.sampled_from(TaskStatus))
def test_the_outcome_says_what_the_counts_mean(
    pending: int, sent: int, success: int, failed: int, cancelled: int, status: TaskStatus
) -> None:
    total = pending + sent + success + failed + cancelled
    outcome = outcome_of(status, Counts(total, pending, sent, success, failed, cancelled))
    if pending or sent:
        assert outcome is None
    elif status is TaskStatus.CANCELLED:
        assert outcome is TaskOutcome.CANCELLED
    elif success == total:
        assert outcome is TaskOutcome.SUCCEEDED
    else:
        assert outcome is (TaskOutcome.PARTIAL if success else TaskOutcome.FAILED)


def test_open_is_what_is_not_final() -> None:
    assert Counts(10, 1, 2, 3, 4, 0).open == 3
