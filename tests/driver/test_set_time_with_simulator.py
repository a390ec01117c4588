"""SET_TIME through real sessions: simulated meters whose dial follows the rules that were written."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.driver.support import ScriptedCheckpoint, driver, execute, meter_of
from tests.driver.transports import Tampered

from metercast.domain.outcome import How
from metercast.driver.dlms import DlmsDriver
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import TcpConnector
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import HdlcSpec


def patient() -> DlmsDriver:
    """For a machine that has much else to do."""
    return driver(timeouts=Timeouts(progress=10.0, session=60.0))


def population(**options: Any) -> Population:
    return Population.build(1, security="hls-gmac", **options)


@pytest.mark.parametrize("strategy", ["set", "preset"])
@pytest.mark.parametrize("hdlc", [None, HdlcSpec()])
async def test_zone_and_time(strategy: str, hdlc: HdlcSpec | None) -> None:
    async with Simulator(population(clock_offset=1234.0, hdlc=hdlc)) as simulator:
        (document,) = simulator.device_records()
        by = patient()
        raw = {"strategy": strategy, "zone": {"name": "America/New_York"}}
        outcome = await execute(meter_of(document), "SET_TIME", raw, by=by)
        assert outcome.how is How.DONE, outcome.detail
        state = simulator.meter(document["deviceId"]).state
        assert abs(state.clock.offset()) < 2
        rules = state.clock.rules
        assert [rules.offset(datetime(2031, month, 1, tzinfo=UTC)) for month in (1, 7)] == [-300, -240]
        shown = datetime.fromisoformat(outcome.result["after"]["time"])
        assert shown.utcoffset() == datetime.now(rules).utcoffset()
        assert (await execute(meter_of(document), "SET_TIME", raw, by=by)).how is How.ALREADY_SO
        southern = {"strategy": "keep", "zone": {"name": "Australia/Sydney"}}
        assert (await execute(meter_of(document), "SET_TIME", southern, by=by)).how is How.DONE
        assert [state.clock.rules.offset(datetime(2031, month, 1, tzinfo=UTC)) for month in (1, 7)] == [660, 600]


async def test_adjusting_by_methods() -> None:
    async with Simulator(population(clock_offset=40.0)) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), patient()
        clock = simulator.meter(document["deviceId"]).state.clock
        preset = {"class": 8, "obis": "0.0.1.0.0.255", "method": 4, "parameter": {"tag": "integer", "value": 0}}
        assert (await execute(meter, "ACTION", preset, by=by)).error is not None  # nothing is preset
        for method, grid in ((3, 60), (2, 900), (1, 900)):
            clock.set(1_800_000_000.0 + grid / 2 - 7)
            assert (await execute(meter, "ACTION", preset | {"method": method}, by=by)).error is None
            assert 0 <= clock.timestamp() - 1_800_000_000.0 < 5
            clock.set(1_800_000_000.0 + grid / 2 + 7)
            assert (await execute(meter, "ACTION", preset | {"method": method}, by=by)).error is None
            assert 0 <= clock.timestamp() - 1_800_000_000.0 - grid < 5


@pytest.mark.parametrize("lost", range(1, 18))
async def test_an_answer_that_is_lost_anywhere(lost: int) -> None:
    """The session ends at it; the next one reads first and does what is still missing."""
    raw = {"zone": {"name": "America/New_York"}}
    async with Simulator(population(clock_offset=1234.0)) as simulator:
        (document,) = simulator.device_records()
        connector = Tampered(TcpConnector(), lambda data, number: b"" if number == lost else data)
        first = await execute(meter_of(document), "SET_TIME", raw, by=driver(connector))
        assert len(connector.read) > lost or first.error is not None, "nothing was lost"
        by = patient()
        second = await execute(
            meter_of(document), "SET_TIME", raw, by=by, checkpoint=ScriptedCheckpoint(verify_first=True)
        )
        assert second.succeeded, second.detail
        clock = simulator.meter(document["deviceId"]).state.clock
        assert abs(clock.offset()) < 2
        assert [clock.rules.offset(datetime(2031, month, 1, tzinfo=UTC)) for month in (1, 7)] == [-300, -240]
        assert (await execute(meter_of(document), "SET_TIME", raw, by=by)).how is How.ALREADY_SO
