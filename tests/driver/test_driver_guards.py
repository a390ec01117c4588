"""What stops a session before or beside the protocol: missing credentials, identity, defects of ours."""

import logging
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.driver.support import ScriptedCheckpoint, command, driver, execute, meter_of
from tests.driver.transports import PLAIN_METER, Failing

from metercast.commands.contract import CommandType, MeterSession
from metercast.commands.plain import plain
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.meter import Meter
from metercast.domain.outcome import How, Outcome, OutcomeKind, Phase
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord
from metercast.driver.contract import Command
from metercast.driver.noop import NoopDriver
from metercast.driver.timeouts import Timeouts
from metercast.simulator.log import AssociationReleased, SessionOpened
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

KEY = "000102030405060708090A0B0C0D0E0F"
HLS = {
    "authentication": "hls-gmac",
    "protection": "both",
    "clientSystemTitle": "4D43530000000001",
    "encryptionKey": KEY,
    "authenticationKey": KEY,
}
LLS = {"authentication": "lls", "password": "12345678"}


def meter_with(management: dict[str, Any], **rest: Any) -> Meter:
    document = {"deviceId": "meter-1", "connection": {"host": "127.0.0.1"}, "associations": {"management": management}}
    return meter_of({**document, **rest})


@pytest.mark.parametrize(
    ("association", "missing", "names"),
    [
        (HLS, ["encryptionKey"], ["encryptionKey"]),
        (HLS, ["authenticationKey"], ["authenticationKey"]),
        (HLS, ["clientSystemTitle", "encryptionKey"], ["clientSystemTitle", "encryptionKey"]),
        (LLS, ["password"], ["password"]),
        ({**LLS, **HLS, "authentication": "lls"}, ["password", "encryptionKey"], ["encryptionKey", "password"]),
    ],
)
async def test_missing_credentials_are_named_before_any_io(
    association: dict[str, Any], missing: list[str], names: list[str]
) -> None:
    connector = Failing()
    meter = meter_with({name: value for name, value in association.items() if name not in missing})
    outcome = await execute(meter, by=driver(connector))
    assert (outcome.error, outcome.phase) == (ErrorWord.CREDENTIALS_MISSING, Phase.BEFORE_ASSOCIATION)
    listed = ", ".join(f"associations.management.{name}" for name in names)
    assert outcome.detail == f"the meter's record lacks {listed}"
    assert connector.asked == 0


async def test_a_secret_in_a_wrong_format_is_not_told() -> None:
    outcome = await execute(meter_with({**HLS, "encryptionKey": "not a key"}), by=driver(Failing()))
    assert outcome.error is ErrorWord.INTERNAL_ERROR
    assert "not a key" not in str(outcome.detail)


async def test_a_profile_that_is_no_more_is_told_before_any_io() -> None:
    connector = Failing()
    outcome = await execute(meter_with(LLS, profile="gone"), by=driver(connector))
    assert (outcome.error, outcome.phase) == (ErrorWord.UNKNOWN_PROFILE, Phase.BEFORE_ASSOCIATION)
    assert str(outcome.detail).startswith("profile 'gone' of the meter's record: no such profile; known: ")
    assert connector.asked == 0


@pytest.mark.parametrize("name", ["DISCONNECT", "RECONNECT"])
async def test_a_relay_command_needs_an_identity(name: str) -> None:
    connector = Failing()
    outcome = await execute(PLAIN_METER, name, by=driver(connector))
    assert (outcome.error, outcome.phase) == (ErrorWord.IDENTITY_REQUIRED, Phase.BEFORE_ASSOCIATION)
    assert connector.asked == 0


async def test_the_identity_may_be_left_out_where_it_is_not_required() -> None:
    async with Simulator(Population.build(1, security="none")) as simulator:
        (document,) = simulator.device_records()
        meter = meter_of({**document, "identity": {}})
        assert (await execute(meter, "DISCONNECT")).error is ErrorWord.IDENTITY_REQUIRED
        assert (await execute(meter, "DISCONNECT", by=driver(require_identity=False))).how is How.DONE


@pytest.mark.parametrize("security", ["none", "lls", "hls-gmac"])
async def test_identities_that_agree_and_that_do_not(security: Any) -> None:
    async with Simulator(Population.build(1, security=security), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        spec = simulator.meter("meter-0001").spec
        title, name = spec.system_title.hex(), spec.logical_device_name
        by = driver()
        for identity, error in (
            ({"serverSystemTitle": title}, None),
            ({"serverSystemTitle": title.upper(), "logicalDeviceName": name}, None),
            ({"serverSystemTitle": "4D4D4D00DEADBEEF"}, ErrorWord.IDENTITY_MISMATCH),
            ({"logicalDeviceName": name + "1"}, ErrorWord.IDENTITY_MISMATCH),
        ):
            outcome = await execute(meter_of({**document, "identity": identity}), by=by)
            assert outcome.error is error, outcome.detail
            if error is not None:
                assert outcome.phase in (Phase.ASSOCIATING, Phase.READING)
                assert "not" in str(outcome.detail)


class Nothing(msgspec.Struct):
    pass


def command_that(perform: Any) -> Command:
    traits = CommandTraits(name="TEST", resend=Resend.NEVER, expires_after=timedelta(hours=1))
    return Command(CommandType(traits=traits, parameters=Nothing, perform=perform), Nothing())


async def _fails_reading(session: MeterSession, parameters: Nothing) -> Outcome:
    raise RuntimeError(f"the key is {KEY}")


async def _fails_changing(session: MeterSession, parameters: Nothing) -> Outcome:
    await session.action(CosemMethod(70, LogicalName.parse("0.0.96.3.10.255"), 1), Data.integer(0))
    raise RuntimeError(f"the key is {KEY}")


@pytest.mark.parametrize(
    ("perform", "word", "phase"),
    [
        (_fails_reading, ErrorWord.INTERNAL_ERROR, Phase.READING),
        (_fails_changing, ErrorWord.OUTCOME_UNKNOWN, Phase.CHANGING),
    ],
)
async def test_a_defect_ends_one_session_and_tells_no_secret(
    perform: Any, word: ErrorWord, phase: Phase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Simulator(Population.build(1, security="lls"), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        outcome = await driver().execute(command_that(perform), meter_of(document), ScriptedCheckpoint())
        assert (outcome.kind, outcome.error, outcome.phase) == (OutcomeKind.FAILED, word, phase)
        assert "RuntimeError at test_driver_guards.py" in str(outcome.detail)
        password = document["associations"]["management"]["password"]
        for secret in (KEY, password):
            assert secret not in str(outcome.detail) + caplog.text


async def test_one_line_a_session_at_debug_and_none_above(caplog: pytest.LogCaptureFixture) -> None:
    async with Simulator(Population.build(1, security="none")) as simulator:
        (document,) = simulator.device_records()
        caplog.set_level(logging.INFO)
        await execute(meter_of(document))
        assert caplog.records == []
        caplog.set_level(logging.DEBUG, logger="metercast.driver")
        await execute(meter_of(document))
        lines = [record.getMessage() for record in caplog.records if record.name.startswith("metercast.driver")]
        assert lines == ["meter-0001 READ_CLOCK: DONE after READING"]


async def test_commands_see_the_sessions_clock_and_what_earlier_sessions_left() -> None:
    seen: list[Any] = []

    async def look(session: MeterSession, parameters: Nothing) -> Outcome:
        seen.extend([session.verify_first, session.progress, session.meter.device_id, session.now().utcoffset()])
        await session.sleep(0.01)
        return Outcome.checkpoint({"block": 2})

    async with Simulator(Population.build(1, security="none"), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        checkpoint = ScriptedCheckpoint(verify_first=True, progress={"block": 1})
        outcome = await driver().execute(command_that(look), meter_of(document), checkpoint)
        assert (outcome.kind, outcome.progress) == (OutcomeKind.CHECKPOINT, {"block": 2})
        assert seen == [True, {"block": 1}, "meter-0001", timedelta(0)]
        assert any(isinstance(event, AssociationReleased) for event in simulator.events)
        assert sum(isinstance(event, SessionOpened) for event in simulator.events) == 1


async def test_sleeping_ends_with_the_session() -> None:
    async def sleep(session: MeterSession, parameters: Nothing) -> Outcome:
        await session.sleep(3600)
        raise AssertionError

    async with Simulator(Population.build(1, security="none")) as simulator:
        (document,) = simulator.device_records()
        by = driver(timeouts=Timeouts(progress=0.05, session=0.2))
        outcome = await by.execute(command_that(sleep), meter_of(document), ScriptedCheckpoint())
        assert (outcome.error, outcome.phase) == (ErrorWord.TIMEOUT, Phase.READING)

        # A pause longer than the silence allowed is no silence of the meter.
        async def short(session: MeterSession, parameters: Nothing) -> Outcome:
            await session.sleep(0.12)
            return Outcome.done(
                plain(await session.get(CosemAttribute(1, session.profile.objects.logical_device_name, 2)))
            )

        by = driver(timeouts=Timeouts(progress=0.05, session=5))
        assert (await by.execute(command_that(short), meter_of(document), ScriptedCheckpoint())).how is How.DONE


async def test_the_noop_driver() -> None:
    by = NoopDriver()
    assert (await by.execute(command("READ_CLOCK"), PLAIN_METER, ScriptedCheckpoint())).how is How.DONE
    failed = Outcome.failed(ErrorWord.TIMEOUT, "as told", Phase.READING)
    told = NoopDriver(lambda asked, meter: failed if meter.device_id == "meter-1" else Outcome.done())
    assert await told.execute(command("READ_CLOCK"), PLAIN_METER, ScriptedCheckpoint()) is failed
    await by.close()
    await driver().close()
