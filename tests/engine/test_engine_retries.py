"""What is tried again, how often, and what uses up an attempt."""

import pytest
from msgspec.structs import replace
from tests.engine.harness import FAST, Visit, World, fails

from metercast.domain.outcome import Outcome, Phase
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus
from metercast.domain.words import ERROR_CLASSES, ErrorClass, ErrorWord, SecurityEvent

TRANSIENT = sorted(
    word for word, kind in ERROR_CLASSES.items() if kind is ErrorClass.TRANSIENT and word is not ErrorWord.METER_BUSY
)
ALARMS = (SecurityEvent.FORGED, SecurityEvent.REPLAYED)
PERMANENT = sorted(word for word, kind in ERROR_CLASSES.items() if kind is ErrorClass.PERMANENT)


async def test_transient_errors_are_tried_as_often_as_the_policy_says(world: World) -> None:
    for word in TRANSIENT:
        world.driver.scripts[f"READ {word}"] = fails(word)
    await world.submit("task", TRANSIENT)
    await world.final("task")
    for row in await world.devices("task"):
        assert (row.command_status, row.error, row.attempts) == (
            DeviceStatus.FAILED,
            ErrorWord(row.device_id),
            FAST.max_attempts,
        )


@pytest.mark.parametrize("word", [ErrorWord.SECURITY_VIOLATION, ErrorWord.IDENTITY_MISMATCH])
async def test_security_events_are_counted_and_not_tried_again(
    world: World, word: ErrorWord, capfd: pytest.CaptureFixture[str]
) -> None:
    async def forged(visit: Visit) -> Outcome:
        visit.send()
        return replace(Outcome.failed(word, "GET 8/0.0.1.0.0.255/2: a lie", Phase.READING), alarms=ALARMS)

    world.driver.scripts["READ"] = forged
    await world.submit("task", ["meter"], command="READ")
    await world.final("task")
    row = await world.device("task", "meter")
    assert (row.command_status, row.error, row.attempts) == (DeviceStatus.FAILED, word, 1)
    assert world.engine.stats.security_events == dict.fromkeys(ALARMS, 1)
    said = capfd.readouterr().out
    assert "security.event" in said
    for each in ("device_id=meter", "event_kind=forged", "event_kind=replayed", "a lie"):
        assert each in said


async def test_permanent_errors_fail_at_once(world: World) -> None:
    for word in PERMANENT:
        world.driver.scripts[f"WRITE {word}"] = fails(word, Phase.CHANGING)
    await world.submit("task", PERMANENT, command="WRITE")
    await world.final("task")
    for row in await world.devices("task"):
        assert (row.error, row.attempts) == (ErrorWord(row.device_id), 1)


@pytest.mark.parametrize(
    ("command", "attempts", "error", "verified"),
    [
        ("READ", 3, ErrorWord.TIMEOUT, [False, False, False]),
        ("WRITE", 3, ErrorWord.OUTCOME_UNKNOWN, [False, True, True]),
        ("ONCE", 1, ErrorWord.OUTCOME_UNKNOWN, [False]),
    ],
)
async def test_an_end_that_was_not_seen_is_resent_verified_or_left_by_type(
    world: World, command: str, attempts: int, error: ErrorWord, verified: list[bool]
) -> None:
    world.driver.scripts[command] = fails(ErrorWord.TIMEOUT, Phase.CHANGING)
    await world.submit("task", ["meter"], command=command)
    await world.final("task")
    row = await world.device("task", "meter")
    assert (row.error, row.attempts) == (error, attempts)
    assert [visit.checkpoint.verify_first for visit in world.driver.visits] == verified


async def test_failures_before_the_association_use_up_no_attempt(world: World) -> None:
    async def unreachable_for_long(visit: Visit) -> Outcome:
        visit.send()
        if visit.number < 8:
            return Outcome.failed(ErrorWord.CONNECTION_REFUSED, "refused", Phase.BEFORE_ASSOCIATION)
        return Outcome.done()

    world.driver.scripts["READ"] = unreachable_for_long
    await world.submit("task", ["meter"], retry=RetryPolicy(1, 0.01, 0.02))
    await world.final("task")
    row = await world.device("task", "meter")
    assert (row.command_status, row.attempts) == (DeviceStatus.SUCCESS, 8)


async def test_two_failed_associations_in_a_row_are_the_last(world: World) -> None:
    world.driver.scripts["READ"] = fails(ErrorWord.TIMEOUT, Phase.ASSOCIATING)
    await world.submit("task", ["meter"], retry=RetryPolicy(50, 0.01, 0.01))
    await world.final("task")
    assert len(world.driver.visits) == 2


async def test_a_retry_waits_for_its_delay_and_the_delay_grows(world: World) -> None:
    world.driver.scripts["READ meter"] = fails(ErrorWord.UNREACHABLE, Phase.BEFORE_ASSOCIATION)
    await world.submit("task", ["meter"], retry=RetryPolicy(3, 100.0, 10_000.0))
    for number, delay in enumerate((100, 200, 400), 1):
        row = await world.when("task", "meter", lambda row, n=number: row.attempts == n and row.next_attempt_at)  # type: ignore[misc]
        assert row.next_attempt_at is not None
        wait = (row.next_attempt_at - world.clock()).total_seconds()
        assert delay * 0.75 - 1 < wait <= delay
        world.clock.advance(delay * 0.5)
        await world.submit(f"probe-{number}", ["probe"])
        await world.final(f"probe-{number}")
        assert len(world.driver.of("READ", "meter")) == number, "it did not wait"
        world.clock.advance(delay * 0.5)
        await world.driver.until(lambda n=number: len(world.driver.of("READ", "meter")) == n + 1)  # type: ignore[misc]


async def test_attempts_are_kept_with_their_errors(world: World) -> None:
    async def third_time(visit: Visit) -> Outcome:
        visit.send()
        if visit.number < 3:
            return Outcome.failed(ErrorWord.TEMPORARY_FAILURE, f"attempt {visit.number}", Phase.READING)
        return Outcome.done({"value": 42})

    world.driver.scripts["READ"] = third_time
    await world.submit("task", ["meter"])
    await world.final("task")
    detail = await world.store.get_device_command("task", "meter")
    assert detail.result == {"value": 42}
    assert [(each.attempt, each.error, each.error_detail) for each in detail.attempts_made] == [
        (1, ErrorWord.TEMPORARY_FAILURE, "attempt 1"),
        (2, ErrorWord.TEMPORARY_FAILURE, "attempt 2"),
        (3, None, None),
    ]
