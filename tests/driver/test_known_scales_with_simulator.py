"""The second reading of a meter asks for no scalers, until its firmware or anything of the meter is changed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.driver.support import PATIENT, ScriptedCheckpoint, driver, execute, meter_of
from tests.driver.test_lists_with_simulator import LISTS, population

from metercast.domain.meter import Meter
from metercast.driver.dlms import DlmsDriver
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import DEFAULT_CONFORMANCE

ITEMS = {"items": [{"obis": f"1.0.{quantity}.8.0.255"} for quantity in (1, 2, 3)]}


async def sends(meter: Meter, by: DlmsDriver, name: str, raw: dict[str, Any]) -> tuple[int, Any]:
    """(how many APDUs and ends of links went out, the result)."""
    checkpoint = ScriptedCheckpoint()
    outcome = await execute(meter, name, raw, by=by, checkpoint=checkpoint)
    assert outcome.error is None, outcome.detail
    return checkpoint.sends, outcome.result


@pytest.mark.parametrize(("conformance", "spared"), [(DEFAULT_CONFORMANCE, 3), (LISTS, 1)])
async def test_registers_are_read_with_fewer_requests(conformance: int, spared: int) -> None:
    async with Simulator(population(conformance=conformance)) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver(timeouts=PATIENT)
        await sends(meter, by, "READ_ASSOCIATION", {})
        first, whole = await sends(meter, by, "READ_REGISTERS", ITEMS)
        second, again = await sends(meter, by, "READ_REGISTERS", ITEMS)
        assert first - second == spared
        assert [(each["unit"], each["scaler"]) for each in again["items"]] == [
            (each["unit"], each["scaler"]) for each in whole["items"]
        ]
        simulator.meter(document["deviceId"]).state.firmware.version = "9.9"
        assert (await sends(meter, by, "READ_REGISTERS", ITEMS))[0] == first
        assert (await sends(meter, by, "READ_REGISTERS", ITEMS))[0] == second


async def test_a_profile_is_read_with_fewer_requests() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver(timeouts=PATIENT)
        end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        raw = {"from": (end - timedelta(hours=6)).isoformat(), "to": end.isoformat()}
        before, _ = await sends(meter, by, "READ_PROFILE", raw)
        await sends(meter, by, "READ_ASSOCIATION", {})
        first, whole = await sends(meter, by, "READ_PROFILE", raw)
        second, again = await sends(meter, by, "READ_PROFILE", raw)
        assert (first, second) == (before + 1, before - 1)  # the firmware costs one, two scalers are spared
        assert again == whole


async def test_a_change_of_the_meter_forgets_its_scalers() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver(timeouts=PATIENT)
        await sends(meter, by, "READ_ASSOCIATION", {})
        first, _ = await sends(meter, by, "READ_REGISTERS", ITEMS)
        await execute(meter, "DISCONNECT", by=by)
        assert (await sends(meter, by, "READ_REGISTERS", ITEMS))[0] == first


async def test_each_meter_is_known_for_itself() -> None:
    async with Simulator(Population.build(2, security="hls-gmac", clock_offset=0.0)) as simulator:
        one, other = (meter_of(document) for document in simulator.device_records())
        by = driver(timeouts=PATIENT)
        await sends(one, by, "READ_ASSOCIATION", {})
        first, _ = await sends(one, by, "READ_REGISTERS", ITEMS)
        assert (await sends(other, by, "READ_REGISTERS", ITEMS))[0] == first
        for meter in (one, other):
            assert (await sends(meter, by, "READ_REGISTERS", ITEMS))[0] == first - 3
