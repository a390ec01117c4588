"""One driver learns what a model has, and spares the next meter of it what it lacks."""

from tests.driver.support import driver, execute, meter_of

from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord
from metercast.simulator.log import ServiceAnswered
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

MISSING = {"class": 70, "obis": "0.0.96.3.99.255", "method": 1, "parameter": {"tag": "integer", "value": 0}}


async def test_the_second_meter_of_a_model_is_not_asked_to_do_what_it_lacks() -> None:
    async with Simulator(Population.build(2, security="hls-gmac", clock_offset=0.0), keep_events=True) as simulator:
        first, second = (meter_of(each) for each in simulator.device_records())
        by = driver()
        found = await execute(first, "READ_ASSOCIATION", by=by)
        assert found.result["firmware"]
        refused = await execute(second, "ACTION", MISSING, by=by)
        assert refused.error is ErrorWord.OBJECT_UNDEFINED
        assert "is not in the object list of this model (firmware " in (refused.detail or "")
        services = [each.service for each in simulator.events if isinstance(each, ServiceAnswered)]
        assert "action" not in services[-1:], "the action was not sent"
        for name in ("DISCONNECT", "GET_TOU", "READ_EVENTS", "SYNC_CLOCK"):
            assert (await execute(second, name, by=by)).error is None, name
        assert (await execute(second, "DISCONNECT", by=by)).how is How.ALREADY_SO
