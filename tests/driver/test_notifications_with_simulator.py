"""Notifications in the middle of a session: the command goes on, they are counted, and the log shows no value."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from tests.driver.support import PATIENT, driver, execute, meter_of

from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord
from metercast.simulator.faults import SendNotification
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import HdlcSpec


def population(security: Any, fault: SendNotification, hdlc: HdlcSpec | None = None) -> Population:
    (spec,) = Population.build(1, security=security, clock_offset=0.0, hdlc=hdlc).meters
    return Population((replace(spec, faults=(fault,)),))


@pytest.mark.parametrize("form", ["data", "event"])
@pytest.mark.parametrize("security", ["none", "lls", "hls-gmac"])
@pytest.mark.parametrize("name", ["GET_TOU", "DISCONNECT"])
async def test_a_command_goes_on(security: Any, form: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="metercast.driver")
    async with Simulator(population(security, SendNotification(form=form, count=2))) as simulator:
        (document,) = simulator.device_records()
        by = driver(timeouts=PATIENT)
        outcome = await execute(meter_of(document), name, by=by)
        assert outcome.how is How.DONE, outcome.detail
        assert by.notified >= 6
        assert by.notified % 2 == 0
        shown = [record for record in caplog.records if f"{form}-notification" in record.getMessage()]
        assert len(shown) == by.notified
        assert document["identity"]["logicalDeviceName"] not in caplog.text


@pytest.mark.parametrize("count", [1, 3])
async def test_over_hdlc_the_meter_gets_the_turn_for_what_it_owes(count: int) -> None:
    fault = SendNotification(count=count)
    async with Simulator(population("hls-gmac", fault, HdlcSpec(max_info=128))) as simulator:
        (document,) = simulator.device_records()
        by = driver(timeouts=PATIENT)
        outcome = await execute(meter_of(document), "GET_TOU", by=by)
        assert outcome.how is How.DONE, outcome.detail
        assert by.notified >= 3 * count


async def test_plain_ones_in_a_ciphered_association_are_passed_over() -> None:
    async with Simulator(population("hls-gmac", SendNotification(plain=True))) as simulator:
        (document,) = simulator.device_records()
        by = driver(timeouts=PATIENT)
        assert (await execute(meter_of(document), "READ_CLOCK", by=by)).how is How.DONE
        assert by.notified == 0


async def test_a_flood_ends_the_session() -> None:
    async with Simulator(population("none", SendNotification(count=200))) as simulator:
        (document,) = simulator.device_records()
        outcome = await execute(meter_of(document), "READ_CLOCK")
        assert outcome.error is ErrorWord.INVALID_RESPONSE
        assert outcome.detail is not None
        assert "answers to nothing" in outcome.detail
