"""Both state machines, as tables: state x event -> state. A missing key is an illegal transition."""

from enum import StrEnum
from typing import TypeVar


class DeviceStatus(StrEnum):
    """Where one device command is."""

    PENDING = "PENDING"  # waiting: not yet due, queued, paused, or for its next attempt
    SENT = "SENT"  # a worker holds a session slot for it: the command may have reached the meter
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class DeviceEvent(StrEnum):
    """What happens to one device command."""

    BEGIN = "begin"
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"  # a transient failure with attempts left, or a checkpoint of a long command
    GIVE_BACK = "give back"  # begun, but no byte was sent
    REFUSE = "refuse"  # expired, unknown device, superseded
    CANCEL = "cancel"
    CORRECT = "correct"  # a late result


class TaskStatus(StrEnum):
    """Where a task is."""

    QUEUED = "QUEUED"  # stored, not yet due
    IN_PROGRESS = "IN_PROGRESS"
    PAUSED = "PAUSED"  # starts no new device
    COMPLETED = "COMPLETED"  # every device is final and at least one succeeded
    FAILED = "FAILED"  # every device is final and none succeeded
    CANCELLED = "CANCELLED"


class TaskEvent(StrEnum):
    """What happens to a task."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    RESUME_EARLY = "resume before its due time"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    CORRECT = "correct"  # a late result was the first success


DEVICE_TRANSITIONS: dict[tuple[DeviceStatus, DeviceEvent], DeviceStatus] = {
    (DeviceStatus.PENDING, DeviceEvent.BEGIN): DeviceStatus.SENT,
    (DeviceStatus.PENDING, DeviceEvent.REFUSE): DeviceStatus.FAILED,
    (DeviceStatus.PENDING, DeviceEvent.CANCEL): DeviceStatus.CANCELLED,
    (DeviceStatus.PENDING, DeviceEvent.CORRECT): DeviceStatus.SUCCESS,
    (DeviceStatus.SENT, DeviceEvent.SUCCEED): DeviceStatus.SUCCESS,
    (DeviceStatus.SENT, DeviceEvent.FAIL): DeviceStatus.FAILED,
    (DeviceStatus.SENT, DeviceEvent.RETRY): DeviceStatus.PENDING,
    (DeviceStatus.SENT, DeviceEvent.GIVE_BACK): DeviceStatus.PENDING,
    (DeviceStatus.FAILED, DeviceEvent.CORRECT): DeviceStatus.SUCCESS,
}

TASK_TRANSITIONS: dict[tuple[TaskStatus, TaskEvent], TaskStatus] = {
    (TaskStatus.QUEUED, TaskEvent.START): TaskStatus.IN_PROGRESS,
    (TaskStatus.QUEUED, TaskEvent.PAUSE): TaskStatus.PAUSED,
    (TaskStatus.QUEUED, TaskEvent.FAIL): TaskStatus.FAILED,  # expired before a worker saw it
    (TaskStatus.QUEUED, TaskEvent.CANCEL): TaskStatus.CANCELLED,
    (TaskStatus.IN_PROGRESS, TaskEvent.PAUSE): TaskStatus.PAUSED,
    (TaskStatus.IN_PROGRESS, TaskEvent.COMPLETE): TaskStatus.COMPLETED,
    (TaskStatus.IN_PROGRESS, TaskEvent.FAIL): TaskStatus.FAILED,
    (TaskStatus.IN_PROGRESS, TaskEvent.CANCEL): TaskStatus.CANCELLED,
    (TaskStatus.PAUSED, TaskEvent.RESUME): TaskStatus.IN_PROGRESS,
    (TaskStatus.PAUSED, TaskEvent.RESUME_EARLY): TaskStatus.QUEUED,
    (TaskStatus.PAUSED, TaskEvent.COMPLETE): TaskStatus.COMPLETED,  # its last sessions ended by themselves
    (TaskStatus.PAUSED, TaskEvent.FAIL): TaskStatus.FAILED,
    (TaskStatus.PAUSED, TaskEvent.CANCEL): TaskStatus.CANCELLED,
    (TaskStatus.FAILED, TaskEvent.CORRECT): TaskStatus.COMPLETED,
}

FINAL_DEVICE = frozenset({DeviceStatus.SUCCESS, DeviceStatus.FAILED, DeviceStatus.CANCELLED})
FINAL_TASK = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})


class IllegalTransition(Exception):
    """The event is not legal in this state; nothing was changed."""

    def __init__(self, status: StrEnum, event: StrEnum) -> None:
        super().__init__(f"cannot {event.value} what is {status.value}")
        self.status = status
        self.event = event


def device_after(status: DeviceStatus, event: DeviceEvent) -> DeviceStatus:
    """The state that follows; raises IllegalTransition."""
    try:
        return DEVICE_TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransition(status, event) from None


def task_after(status: TaskStatus, event: TaskEvent) -> TaskStatus:
    """The state that follows; raises IllegalTransition."""
    try:
        return TASK_TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransition(status, event) from None


S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def states_before(table: dict[tuple[S, E], S], event: E) -> tuple[S, ...]:
    """The states in which `event` is legal, in table order: what a store's guarded write names."""
    return tuple(state for state, each in table if each is event)
