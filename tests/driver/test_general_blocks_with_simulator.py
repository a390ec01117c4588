"""General block transfer on the wire: long requests and answers, small PDUs, and blocks that are lost."""

from dataclasses import replace
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import PATIENT, driver, execute, meter_of

from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord
from metercast.driver.timeouts import Timeouts
from metercast.simulator.faults import CutFrames, LoseBlocks, SendNotification
from metercast.simulator.log import FaultPlayed
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import BLOCK_TRANSFERS, DEFAULT_CONFORMANCE, GENERAL_BLOCK_TRANSFER, HdlcSpec

ONLY_GENERAL = DEFAULT_CONFORMANCE & ~BLOCK_TRANSFERS | GENERAL_BLOCK_TRANSFER


def population(security: Any = "hls-gmac", hdlc: HdlcSpec | None = None, **changes: Any) -> Population:
    (spec,) = Population.build(1, security=security, clock_offset=0.0, hdlc=hdlc).meters
    return Population((replace(spec, **{"conformance": ONLY_GENERAL, **changes}),))


@pytest.mark.parametrize("security", ["none", "hls-gmac"])
@pytest.mark.parametrize("hdlc", [None, HdlcSpec(max_info=64), HdlcSpec(max_info=128, window=3)])
@pytest.mark.parametrize("window", [1, 4])
async def test_a_long_request(security: Any, hdlc: HdlcSpec | None, window: int) -> None:
    async with Simulator(population(security, hdlc, max_pdu=90, block_window=window)) as simulator:
        (document,) = simulator.device_records()
        meter = meter_of(document)
        raw = set_tou()
        outcome = await execute(meter, "SET_TOU", raw, by=driver(timeouts=PATIENT))
        assert outcome.how is How.DONE, outcome.detail
        assert (await execute(meter, "SET_TOU", raw, by=driver(timeouts=PATIENT))).how is How.ALREADY_SO


async def test_without_any_block_transfer_nothing_of_a_long_request_is_sent() -> None:
    conformance = ONLY_GENERAL & ~GENERAL_BLOCK_TRANSFER
    async with Simulator(population(conformance=conformance, max_pdu=90), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        raw = set_tou()
        outcome = await execute(meter_of(document), "SET_TOU", raw, by=driver(timeouts=PATIENT))
        assert outcome.error is ErrorWord.PDU_TOO_LONG
        assert outcome.detail is not None
        assert "does not fit the server's PDU" in outcome.detail


@pytest.mark.parametrize("hdlc", [None, HdlcSpec(max_info=1024, window=7)])
async def test_a_long_answer(hdlc: HdlcSpec | None) -> None:
    async with Simulator(population(hdlc=hdlc)) as simulator:
        (document,) = simulator.device_records()
        rows = 10_000 if hdlc is None else 3_000
        outcome = await execute(
            meter_of(document), "READ_PROFILE", {"entries": {"first": 1, "last": rows}}, by=driver(timeouts=PATIENT)
        )
        assert outcome.error is None, outcome.detail
        assert len(outcome.result["rows"]) == rows


@pytest.mark.parametrize("every", [2, 3, 4])
async def test_lost_blocks_are_asked_for_again(every: int) -> None:
    spec = population("none", max_pdu=100, faults=(LoseBlocks(every=every),))
    async with Simulator(spec, keep_events=True) as simulator:
        (document,) = simulator.device_records()
        timeouts = Timeouts(connect=5.0, progress=0.6, session=60.0, release=0.2)
        by = driver(timeouts=timeouts)
        outcome = await execute(meter_of(document), "SET_TOU", set_tou("none"), by=by)
        assert outcome.error is None, outcome.detail
        outcome = await execute(meter_of(document), "READ_ASSOCIATION", by=by)
        assert outcome.error is None, outcome.detail
        assert len(outcome.result["objects"]) > 20
        assert sum(isinstance(event, FaultPlayed) for event in simulator.events) >= 5


async def test_octet_by_octet() -> None:
    faults = (CutFrames(octets=1, pause=0.0), SendNotification())
    async with Simulator(population("none", max_pdu=90, faults=faults)) as simulator:
        (document,) = simulator.device_records()
        outcome = await execute(meter_of(document), "SET_TOU", set_tou("none"), by=driver(timeouts=PATIENT))
        assert outcome.error is None, outcome.detail


async def test_notifications_between_blocks() -> None:
    spec = population(max_pdu=90, faults=(SendNotification(),))
    async with Simulator(spec) as simulator:
        (document,) = simulator.device_records()
        by = driver(timeouts=PATIENT)
        raw = set_tou("none")
        outcome = await execute(meter_of(document), "SET_TOU", raw, by=by)
        assert outcome.error is None, outcome.detail
        assert by.notified > 3
