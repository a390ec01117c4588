"""What the driver remembers of a meter between sessions: wrong passwords and the end of its last connection."""

import pytest

from metercast.commands.contract import StepFailed
from metercast.domain.words import ErrorWord
from metercast.driver.memory import MeterMemory
from metercast.profiles.model import Delays, Lockout

FIVE = Lockout(attempts=5, seconds=3600)
NO_RULE = Lockout(attempts=0, seconds=3600)
SLOW = Delays(between_frames=0, between_associations=3, after_activation=0, between_looks=2, looks=5)
QUICK = Delays(between_frames=0, between_associations=0, after_activation=0, between_looks=2, looks=5)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refuse(memory: MeterMemory, times: int, rule: Lockout = FIVE, meter: str = "m") -> None:
    for _ in range(times):
        memory.check_lockout(meter, rule)
        memory.refused(meter, rule)


def locked(memory: MeterMemory, rule: Lockout = FIVE, meter: str = "m") -> str | None:
    try:
        memory.check_lockout(meter, rule)
    except StepFailed as failure:
        return failure.detail if failure.error is ErrorWord.AUTHENTICATION_FAILED else None
    return None


def test_the_last_password_before_a_lock_is_never_tried() -> None:
    clock = Clock()
    memory = MeterMemory(clock)
    refuse(memory, 4)
    told = locked(memory)
    assert told == "not tried: the meter refused 4 times and locks at 5 (profile, lockout); again in 3600 s"
    clock.now += 3599
    assert locked(memory)
    clock.now += 1
    assert locked(memory) is None
    refuse(memory, 4)
    assert locked(memory)


def test_each_meter_counts_for_itself_and_an_accepted_password_begins_anew() -> None:
    memory = MeterMemory(Clock())
    refuse(memory, 3)
    memory.accepted("m")
    refuse(memory, 4)
    assert locked(memory)
    assert locked(memory, meter="other") is None


@pytest.mark.parametrize("attempts", [1, 2])
def test_one_attempt_is_always_made(attempts: int) -> None:
    memory = MeterMemory(Clock())
    rule = Lockout(attempts=attempts, seconds=60)
    refuse(memory, 1, rule)
    assert locked(memory, rule)


def test_without_a_rule_nothing_is_counted() -> None:
    memory = MeterMemory(Clock())
    refuse(memory, 100, NO_RULE)
    assert locked(memory, NO_RULE) is None


def test_the_next_connection_waits() -> None:
    clock = Clock()
    memory = MeterMemory(clock)
    assert memory.pause("m", SLOW) == 0
    memory.ended("m", SLOW)
    clock.now += 1
    assert memory.pause("m", SLOW) == 2
    assert memory.pause("other", SLOW) == 0
    clock.now += 5
    assert memory.pause("m", SLOW) == 0
    memory.ended("m", QUICK)
    assert memory.pause("m", QUICK) == 0


def test_the_memory_is_bounded() -> None:
    memory = MeterMemory(Clock(), capacity=2)
    for meter in ("a", "b", "a", "c"):
        refuse(memory, 1, FIVE, meter)
    refuse(memory, 2, FIVE, "a")  # 4 in all: it was not forgotten
    assert locked(memory, meter="a")
    refuse(memory, 4, FIVE, "b")  # it was
