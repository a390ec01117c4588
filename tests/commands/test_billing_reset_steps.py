"""BILLING_RESET on a fake meter: the counter decides, and the script never runs twice."""

from typing import Any

import pytest
from tests.commands.fake_session import FakeSession, attribute, run

from metercast.commands.contract import StepFailed
from metercast.dlms.data import Data
from metercast.domain.outcome import How, OutcomeKind
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

COUNTER = (1, "0.0.0.1.0.255", 2)


class BillingMeter(FakeSession):
    def __init__(self, counter: Data, step: int = 1) -> None:
        super().__init__({COUNTER: counter})
        self.step = step
        self.runs = 0
        self.actions["9/1"] = self._execute

    def _execute(self, parameter: Data | None) -> None:
        self.runs += 1
        counter = self.objects[attribute(*COUNTER)]
        bits = {17: 8, 6: 32}[counter.tag]
        self.objects[attribute(*COUNTER)] = Data(counter.tag, (counter.value + self.step) % (1 << bits))


async def sessions(meter: BillingMeter, raw: dict[str, Any] | None = None) -> Any:
    """Sessions until the command ends, as the engine has them; a timeout is tried again."""
    for _ in range(5):
        try:
            outcome = await run(meter, "BILLING_RESET", raw)
        except StepFailed as failed:
            if failed.error is not ErrorWord.TIMEOUT:
                raise
            continue
        if outcome.kind is not OutcomeKind.CHECKPOINT:
            return outcome
        meter.progress = outcome.progress
    raise AssertionError("no end")


@pytest.mark.parametrize(
    "value", [Data.double_long_unsigned(17), Data.unsigned(255), Data.double_long_unsigned(2**32 - 1)]
)
async def test_one_more_is_a_success(value: Data) -> None:
    meter = BillingMeter(value)
    outcome = await sessions(meter)
    assert outcome.how is How.DONE
    assert outcome.result["counterBefore"] == value.value
    assert meter.runs == 1
    assert meter.log == ["get 1/2", "get 1/2", "action 9/1", "get 1/2"]
    assert meter.apdus[2] == "c301c1000900000a0001ff0101120001"


async def test_nothing_is_executed_in_the_first_session() -> None:
    meter = BillingMeter(Data.unsigned(1))
    outcome = await run(meter, "BILLING_RESET")
    assert outcome.kind is OutcomeKind.CHECKPOINT
    assert meter.runs == 0


@pytest.mark.parametrize("lost", range(5))
@pytest.mark.parametrize("ran", [True, False])
async def test_a_lost_answer_of_any_step_runs_it_once(lost: int, ran: bool) -> None:
    meter = BillingMeter(Data.unsigned(9))
    steps = ["get 1/2", "get 1/2", "action 9/1", "get 1/2"]
    if lost < len(steps):
        timeout = StepFailed(ErrorWord.TIMEOUT, "lost")
        name = steps[lost]
        before = steps[:lost].count(name)
        if name == "action 9/1" and ran:
            execute = meter.actions["9/1"]

            def executes_and_is_lost(parameter: Data | None) -> None:
                execute(parameter)
                if meter.runs == 1:
                    raise timeout

            meter.actions["9/1"] = executes_and_is_lost
        else:
            meter.fail[name] = [*[None] * before, timeout]
    outcome = await sessions(meter)
    assert (meter.runs, outcome.how, outcome.result["counterAfter"]) == (1, How.DONE, 10)


async def test_a_counter_that_moves_otherwise_is_no_success() -> None:
    with pytest.raises(StepFailed) as caught:
        await sessions(BillingMeter(Data.unsigned(1), step=0))
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert caught.value.result == {"counterBefore": 1, "counterAfter": 1}
    with pytest.raises(StepFailed):
        await sessions(BillingMeter(Data.unsigned(1), step=2))


@pytest.mark.parametrize(("raw", "path"), [({"scriptId": 0}, "scriptId"), ({"obis": "0.0.10.0.0.255"}, "obis")])
async def test_what_will_not_do_is_refused(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        await run(BillingMeter(Data.unsigned(1)), "BILLING_RESET", raw)
    assert caught.value.path == f"commandParams.{path}"
