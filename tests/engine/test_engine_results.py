"""What a session read is kept, unless it is more than anyone could keep."""

from tests.engine.harness import Visit, World

from metercast.domain.outcome import Outcome, Phase
from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord
from metercast.engine.executor import MAX_RESULT_OCTETS

LONG = "x" * (MAX_RESULT_OCTETS + 1)


async def test_a_result_beyond_the_limit_fails_its_device_alone(world: World) -> None:
    async def script(visit: Visit) -> Outcome:
        visit.send()
        return Outcome.done(LONG if visit.device_id == "long" else "x" * (MAX_RESULT_OCTETS - 2))

    world.driver.scripts["READ"] = script
    await world.submit("task", ["long", "short"])
    await world.final("task")
    long, short = await world.device("task", "long"), await world.device("task", "short")
    assert (long.command_status, long.error, long.result) == (DeviceStatus.FAILED, ErrorWord.RESULT_TOO_LARGE, None)
    assert long.attempts == 1, "asking again gives no less"
    assert (short.command_status, len(short.result)) == (DeviceStatus.SUCCESS, MAX_RESULT_OCTETS - 2)


async def test_a_failure_keeps_its_word_where_its_result_is_too_long(world: World) -> None:
    async def script(visit: Visit) -> Outcome:
        visit.send()
        return Outcome.failed(ErrorWord.VERIFICATION_FAILED, "not as asked", Phase.CHANGING, LONG)

    world.driver.scripts["READ"] = script
    await world.submit("task", ["a"])
    await world.final("task")
    device = await world.device("task", "a")
    assert (device.error, device.error_detail, device.result) == (ErrorWord.VERIFICATION_FAILED, "not as asked", None)
