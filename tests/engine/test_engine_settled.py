"""What a session settled while it ran: it is the next one's progress, whatever became of the engine."""

import asyncio

import pytest
from tests.engine.harness import Visit, World

from metercast.domain.outcome import Outcome, Phase
from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord
from metercast.driver.contract import GiveBack


async def test_a_session_that_was_killed_leaves_what_it_settled(world: World) -> None:
    settled = asyncio.Event()

    async def script(visit: Visit) -> Outcome:
        visit.send()
        if visit.number == 1:
            await visit.checkpoint.settle({"ended": 1})
            await visit.checkpoint.settle({"ended": 2})
            settled.set()
            await asyncio.Event().wait()
        return Outcome.done([visit.checkpoint.progress, visit.checkpoint.verify_first])

    world.driver.scripts["WRITE"] = script
    await world.submit("task", ["a"], command="WRITE")
    await settled.wait()
    await world.restart()
    await world.final("task")
    assert (await world.device("task", "a")).result == [{"ended": 2}, True]


async def test_after_it_a_failure_is_judged_by_what_came_after(world: World) -> None:
    """The session before it left the outcome open; this one has found it out, so its own refusal is no guess."""

    async def script(visit: Visit) -> Outcome:
        visit.send()
        if visit.number == 1:
            return Outcome.failed(ErrorWord.TIMEOUT, "no answer", Phase.CHANGING)
        if visit.device_id == "settled":
            await visit.checkpoint.settle({"known": True})
        return Outcome.failed(ErrorWord.READ_WRITE_DENIED, "the next one is denied", Phase.READING)

    world.driver.scripts["WRITE"] = script
    await world.submit("task", ["settled", "open"], command="WRITE")
    await world.final("task")
    assert (await world.device("task", "settled")).error is ErrorWord.READ_WRITE_DENIED
    assert (await world.device("task", "open")).error is ErrorWord.OUTCOME_UNKNOWN


async def test_without_the_lease_nothing_is_settled(world: World) -> None:
    async def script(visit: Visit) -> Outcome:
        visit.send()
        if visit.number == 1:
            checkpoint = visit.checkpoint
            checkpoint.bucket.deadline = 0.0  # type: ignore[attr-defined]
            with pytest.raises(GiveBack):
                await checkpoint.settle({"ended": 1})
            return Outcome.given_back("the lease ran out")
        return Outcome.done(visit.checkpoint.progress)

    world.driver.scripts["READ"] = script
    await world.submit("task", ["a"])
    await world.final("task")
    device = await world.device("task", "a")
    assert (device.command_status, device.result) == (DeviceStatus.SUCCESS, None)


async def test_a_failure_keeps_its_progress_and_what_gave_up_is_not_tried_again(world: World) -> None:
    async def script(visit: Visit) -> Outcome:
        visit.send()
        if visit.device_id == "gives-up":
            return Outcome.gave_up(ErrorWord.TEMPORARY_FAILURE, "all else is done", Phase.READING, ["FAILED", "DONE"])
        if visit.number == 1:
            return Outcome.failed(ErrorWord.TIMEOUT, "no answer", Phase.READING, progress={"rows": [1, 2]})
        return Outcome.done(visit.checkpoint.progress)

    world.driver.scripts["READ"] = script
    await world.submit("task", ["goes-on", "gives-up"])
    await world.final("task")
    assert (await world.device("task", "goes-on")).result == {"rows": [1, 2]}
    device = await world.device("task", "gives-up")
    assert (device.error, device.attempts, device.result) == (ErrorWord.TEMPORARY_FAILURE, 1, ["FAILED", "DONE"])
