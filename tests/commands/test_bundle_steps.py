"""BUNDLE: its members' order, results and failures, and what the session after a lost one does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.commands.fake_session import FakeSession, run

from metercast.commands.bundle import bundle_of
from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.registry import command_type, parse_parameters
from metercast.dlms.data import Data
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.outcome import How, Outcome, OutcomeKind, Phase
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Decision, History, Resend, RetryPolicy, decide
from metercast.domain.states import DeviceEvent
from metercast.domain.words import ErrorWord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GONE = StepFailed(ErrorWord.TIMEOUT, "no answer for 30 s")
DENIED = MeterRefused(ErrorWord.READ_WRITE_DENIED, "read-write-denied (3)")
BUSY = MeterRefused(ErrorWord.TEMPORARY_FAILURE, "temporary-failure (2)")


class NoParameters(msgspec.Struct):
    """None."""


def get(class_id: int) -> dict[str, Any]:
    parameters = {"class": class_id, "obis": "1.0.0.0.0.255", "attribute": 2}
    return {"command": "GET", "parameters": parameters}


def put(class_id: int, value: int) -> dict[str, Any]:
    parameters = get(class_id)["parameters"] | {"value": {"tag": "unsigned", "value": value}}
    return {"command": "SET", "parameters": parameters}


def act(class_id: int) -> dict[str, Any]:
    return {"command": "ACTION", "parameters": {"class": class_id, "obis": "1.0.0.0.0.255", "method": 1}}


def bundle(*commands: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"commands": list(commands)} | fields


def session() -> FakeSession:
    found = FakeSession({(number, "1.0.0.0.0.255", 2): Data.unsigned(number) for number in (1, 3, 4, 5)})
    found.actions = {f"{number}/1": lambda parameter: None for number in (1, 3, 4, 5)}
    return found


def lines(result: Any) -> list[Any]:
    return [each.get("error") or each["outcome"] for each in result["commands"]]


async def test_each_member_has_its_result_in_order() -> None:
    found = session()
    outcome = await run(found, "BUNDLE", bundle(get(1), put(3, 9), put(4, 4), act(5)))
    assert outcome.how is How.DONE
    assert lines(outcome.result) == ["DONE", "DONE", "ALREADY_SO", "DONE"]
    assert outcome.result["commands"][0]["result"] == {"value": {"tag": "unsigned", "value": 1}}
    assert found.log == ["get 1/2", "get 3/2", "set 3/2", "get 3/2", "get 4/2", "action 5/1"]
    # What was changed is kept before anything else is done; the last result is recorded with the whole.
    assert [len(each["ended"]) for each in found.kept] == [2]


async def test_where_all_is_already_so_so_is_the_bundle() -> None:
    found = session()
    assert (await run(found, "BUNDLE", bundle(put(3, 3), put(4, 4)))).how is How.ALREADY_SO
    assert (found.changes, found.kept) == ([], [])


async def test_a_failure_that_does_not_pass_stops_the_bundle_or_not() -> None:
    for mode, expected in (
        ("stop", ["DONE", "ReadWriteDenied", "NOT_RUN"]),
        ("continue", ["DONE", "ReadWriteDenied", "DONE"]),
    ):
        found = session()
        found.fail["get 3/2"] = DENIED
        outcome = await run(found, "BUNDLE", bundle(get(1), get(3), get(4), onFailure=mode))
        assert (outcome.kind, outcome.error) == (OutcomeKind.FAILED, ErrorWord.READ_WRITE_DENIED)
        assert outcome.detail == "commands[1] GET: read-write-denied (3)"
        assert lines(outcome.result) == expected
        assert decision(outcome).event is DeviceEvent.FAIL


async def test_the_worst_step_is_the_bundles() -> None:
    found = session()
    found.fail |= {"get 1/2": [BUSY, BUSY], "get 3/2": DENIED}
    with pytest.raises(StepFailed) as first:
        await run(found, "BUNDLE", bundle(get(1), get(3), get(4), onFailure="continue"))
    assert first.value.error is ErrorWord.TEMPORARY_FAILURE
    found.progress = first.value.progress
    outcome = await run(found, "BUNDLE", bundle(get(1), get(3), get(4), onFailure="continue"))
    assert outcome.error is ErrorWord.READ_WRITE_DENIED
    assert lines(outcome.result) == ["TemporaryFailure", "ReadWriteDenied", "DONE"]


async def test_what_may_pass_is_tried_again_and_what_ended_is_not() -> None:
    found = session()
    found.fail["get 4/2"] = [BUSY]
    with pytest.raises(StepFailed) as failed:
        await run(found, "BUNDLE", bundle(act(1), get(3), get(4), act(5)))
    assert failed.value.error is ErrorWord.TEMPORARY_FAILURE
    assert lines(failed.value.result) == ["DONE", "DONE", "TemporaryFailure", "NOT_RUN"]
    again = session()
    again.progress = failed.value.progress
    outcome = await run(again, "BUNDLE", bundle(act(1), get(3), get(4), act(5)))
    assert lines(outcome.result) == ["DONE"] * 4
    assert outcome.result["commands"][1]["result"] == {"value": {"tag": "unsigned", "value": 3}}
    assert again.log == ["get 4/2", "action 5/1"]


async def test_a_member_that_stays_busy_does_not_keep_the_others_for_ever() -> None:
    found = session()
    found.fail["get 1/2"] = BUSY
    raw = bundle(get(1), get(3), onFailure="continue")
    with pytest.raises(StepFailed) as failed:
        await run(found, "BUNDLE", raw)
    found.progress = failed.value.progress
    outcome = await run(found, "BUNDLE", raw)
    assert lines(outcome.result) == ["TemporaryFailure", "DONE"]
    assert decision(outcome).event is DeviceEvent.FAIL, "there is nothing left to try"


async def test_a_breach_of_security_ends_all_of_it() -> None:
    found = session()
    found.fail["get 1/2"] = StepFailed(ErrorWord.SECURITY_VIOLATION, "a forged answer")
    with pytest.raises(StepFailed) as failed:
        await run(found, "BUNDLE", bundle(get(1), get(3), onFailure="continue"))
    assert failed.value.error is ErrorWord.SECURITY_VIOLATION
    assert found.log == ["get 1/2"]


RELAY = {
    (70, "0.0.96.3.10.255", 2): Data.boolean(True),
    (70, "0.0.96.3.10.255", 3): Data.enum(1),
    (70, "0.0.96.3.10.255", 4): Data.enum(4),
}


class Meter(FakeSession):
    """A relay and a billing counter that really count."""

    def __init__(self) -> None:
        super().__init__(RELAY | {(1, "0.0.0.1.0.255", 2): Data.unsigned(7), (3, "1.0.0.0.0.255", 2): Data.unsigned(3)})
        self.switched = self.billed = 0
        self.lost: int | None = None  # the number of the request whose answer is lost
        self.actions = {"70/1": self._disconnect, "9/1": self._bill}

    def _disconnect(self, parameter: Data | None) -> None:
        self.switched += 1
        for index, value in ((2, Data.boolean(False)), (3, Data.enum(0))):
            self.store(next(each for each in self.objects if (each.class_id, each.index) == (70, index)), value)

    def _bill(self, parameter: Data | None) -> None:
        self.billed += 1
        self.store(next(each for each in self.objects if each.class_id == 1), Data.unsigned(7 + self.billed))

    async def get(self, *arguments: Any) -> Any:
        return self._answered(await super().get(*arguments))

    async def set(self, *arguments: Any) -> None:
        await super().set(*arguments)
        self._answered(None)

    async def action(self, *arguments: Any) -> Any:
        return self._answered(await super().action(*arguments))

    def _answered(self, answer: Any) -> Any:
        if len(self.log) == self.lost:
            raise GONE
        return answer


ALL = bundle({"command": "DISCONNECT"}, put(3, 9), {"command": "BILLING_RESET"}, get(3))


def decision(outcome: Outcome, *, verifying: bool = False, raw: dict[str, Any] = ALL) -> Decision:
    traits = command_type("BUNDLE").traits_for(parse_parameters(command_type("BUNDLE"), raw, NOW))
    return decide(
        outcome, traits.resend, RetryPolicy(), History(1, 0, 0), live=True, can_read_back=traits.can_read_back,
        verifying=verifying, jitter=0.0,
    )  # fmt: skip


@pytest.mark.parametrize("killed", [False, True], ids=["lost answer", "crash"])
@pytest.mark.parametrize("lost", range(1, 14))
async def test_an_answer_that_is_lost_anywhere_makes_nothing_run_twice(lost: int, killed: bool) -> None:
    """After a crash the session that follows knows what was settled, and no more."""
    meter = Meter()
    meter.lost = lost
    for _ in range(6):
        try:
            outcome = await run(meter, "BUNDLE", ALL)
        except StepFailed as failure:
            phase = Phase.CHANGING if meter.has_changed else Phase.READING
            outcome = Outcome.failed(failure.error, failure.detail, phase, failure.result, failure.progress)
        if outcome.succeeded:
            break
        made = decision(outcome, verifying=meter.verify_first)
        assert made.event is DeviceEvent.RETRY, outcome
        lost_now = killed and outcome.kind is OutcomeKind.FAILED
        meter.verify_first = True if lost_now else made.verify_first
        if not lost_now and outcome.progress is not None:
            meter.progress = msgspec.json.decode(msgspec.json.encode(outcome.progress))
        elif meter.kept:
            meter.progress = msgspec.json.decode(msgspec.json.encode(meter.kept[-1]))
        meter.lost, meter._settled = None, len(meter.changes)
    assert outcome.how is How.DONE
    assert [each["outcome"] for each in outcome.result["commands"]].count("FAILED") == 0
    assert (meter.switched, meter.billed) == (1, 1)
    assert outcome.result["commands"][3]["result"] == {"value": {"tag": "unsigned", "value": 9}}
    assert len(meter.log) > lost, "nothing was lost"


async def test_after_a_crash_the_first_that_may_have_changed_the_meter_verifies() -> None:
    """What stands before it is read again, for nothing was kept of it; what stands behind it was not begun."""
    seen: list[tuple[str, bool, Any]] = []

    def noting(name: str, resend: Resend) -> CommandType:
        async def perform(session: MeterSession, parameters: Any) -> Outcome:
            seen.append((name, session.verify_first, session.progress))
            return Outcome.done()

        traits = CommandTraits(name=name, resend=resend, expires_after=timedelta(hours=1), can_read_back=True)
        return CommandType(traits=traits, parameters=NoParameters, perform=perform)

    types = {"READ": Resend.SAFE, "WRITE": Resend.VERIFY, "ONCE": Resend.NEVER}
    command = bundle_of({name: noting(name, resend) for name, resend in types.items()})
    found = FakeSession({})
    found.verify_first, found.progress = True, {"ended": [{"how": "DONE"}], "member": {"block": 3}}
    parameters = msgspec.convert(bundle(*({"command": each} for each in (*types, *types))), command.parameters)
    outcome = await command.perform(found, parameters)
    assert lines(outcome.result) == ["DONE"] * 6
    assert seen == [
        ("WRITE", True, {"block": 3}),
        ("ONCE", False, None),
        ("READ", False, None),
        ("WRITE", False, None),
        ("ONCE", False, None),
    ]
    assert [len(each["ended"]) for each in found.kept] == [2], "what was open is known, and that is kept"
    seen.clear()
    found.progress = None
    await command.perform(found, parameters)
    assert [verifies for _, verifies, _ in seen] == [False, True, False, False, False, False]


async def test_a_member_that_could_not_be_verified_leaves_it_open() -> None:
    meter = Meter()
    meter.verify_first = True
    meter.fail["get 70/3"] = DENIED
    with pytest.raises(StepFailed) as failed:
        await run(meter, "BUNDLE", bundle({"command": "DISCONNECT"}, get(3), onFailure="continue"))
    outcome = Outcome.failed(failed.value.error, "", Phase.READING)
    assert decision(outcome, verifying=True).error is ErrorWord.OUTCOME_UNKNOWN
    assert meter.kept == []


async def test_a_long_bundle_goes_on_in_another_association() -> None:
    found = session()
    found.latency = 150.0
    outcome = await run(found, "BUNDLE", bundle(get(1), get(3), get(4)))
    assert outcome.kind is OutcomeKind.CHECKPOINT
    found.progress = outcome.progress
    outcome = await run(found, "BUNDLE", bundle(get(1), get(3), get(4)))
    assert lines(outcome.result) == ["DONE"] * 3
    assert found.log == ["get 1/2", "get 3/2", "get 4/2"]


async def test_results_beyond_all_bounds_fail_their_member() -> None:
    found = session()
    found.objects = {each: Data.octets(b"\0" * 1_200_000) for each in found.objects}
    outcome = await run(found, "BUNDLE", bundle(get(1), get(3), act(4), onFailure="continue"))
    assert lines(outcome.result) == ["DONE", "ResultTooLarge", "DONE"]


@pytest.mark.parametrize(
    ("raw", "path", "reason"),
    [
        ({"commands": []}, "commands", "length"),
        (bundle(*[get(1)] * 17), "commands", "length"),
        (bundle({"command": "NO_SUCH"}), "commands[0].command", "unknown; known: "),
        (bundle(get(1), {"command": "BUNDLE", "parameters": bundle(get(1))}), "commands[1].command", "no bundle"),
        (bundle(get(1), put(15, 1)), "", ""),
        (bundle({"command": "FIRMWARE_UPDATE"}), "commands[0].command", "sessions of its own"),
        (bundle({"command": "REPLACE_KEYS"}), "commands[0].command", "sessions of its own"),
        (bundle(put(64, 1)), "commands[0].parameters.class", "the security setup"),
        (bundle(act(15)), "commands[0].parameters.class", "not changed by ACTION"),
        (bundle(get(1), {"command": "GET"}), "commands[1].parameters.class", "required"),
        (
            bundle({"command": "SET_TOU", "parameters": {"activation": {"mode": "at"}}}),
            "commands[0].parameters.calendarName",
            "mode at needs it",
        ),
        (bundle({"command": "DISCONNECT"}, {"command": "SYNC_CLOCK"}), "commands", "one conflict group at most"),
        (bundle(get(1), onFailure="retry"), "onFailure", "enum"),
    ],
)
def test_what_is_no_bundle(raw: dict[str, Any], path: str, reason: str) -> None:
    if not path:
        parse_parameters(command_type("BUNDLE"), raw, NOW)
        return
    with pytest.raises(InvalidField) as refused:
        parse_parameters(command_type("BUNDLE"), raw, NOW)
    assert refused.value.path == f"commandParams.{path}"
    assert reason in refused.value.detail


def test_what_is_strictest_in_its_members_holds_for_all_of_it() -> None:
    traits = _traits(get(1), {"command": "DISCONNECT"}, {"command": "READ_CLOCK"})
    alone = command_type("DISCONNECT").traits
    assert (traits.name, traits.conflict_group) == ("BUNDLE", ConflictGroup.RELAY)
    assert (traits.needs_identity, traits.max_devices, traits.expires_after) == (
        True, alone.max_devices, timedelta(minutes=15),
    )  # fmt: skip
    assert (traits.resend, traits.can_read_back) == (Resend.VERIFY, True)
    never = _traits({"command": "DISCONNECT"}, act(1))
    assert (never.resend, never.can_read_back) == (Resend.NEVER, False)
    reads = _traits(get(1), {"command": "READ_CLOCK"})
    assert (reads.resend, reads.conflict_group, reads.max_devices) == (Resend.SAFE, ConflictGroup.NONE, None)


def _traits(*commands: dict[str, Any]) -> Any:
    return command_type("BUNDLE").traits_for(parse_parameters(command_type("BUNDLE"), bundle(*commands), NOW))
