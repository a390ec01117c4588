"""A load profile over real sockets that lose an answer: the session after it goes on where it was."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.driver.support import QUICK, MemoryCounterStore, ScriptedCheckpoint, driver, execute, meter_of
from tests.driver.transports import Tampered

from metercast.domain.words import ErrorWord
from metercast.driver.transport import TcpConnector
from metercast.simulator.log import ServiceAnswered
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

DAYS = 5


@pytest.mark.parametrize("lost", range(1, 14))
async def test_windows_that_were_read_are_not_read_again(lost: int) -> None:
    spec = Population.build(1, security="hls-gmac", clock_offset=0.0)
    async with Simulator(spec, keep_events=True) as simulator:
        (document,) = simulator.device_records()
        connector = Tampered(TcpConnector(), lambda data, number: b"" if number == lost else data)
        by, meter = driver(connector, MemoryCounterStore(), QUICK), meter_of(document)
        end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        start = end - timedelta(days=DAYS)
        raw = {"from": start.isoformat(), "to": end.isoformat()}
        outcome = await execute(meter, "READ_PROFILE", raw, by=by)
        for _ in range(4):
            if outcome.succeeded:
                break
            outcome = await execute(
                meter, "READ_PROFILE", raw, by=by, checkpoint=ScriptedCheckpoint(False, outcome.progress)
            )
        assert outcome.succeeded, outcome.detail
        assert len(connector.read) > lost, "nothing was lost"
        times = [datetime.fromisoformat(row[0]) for row in outcome.result["rows"]]
        assert times == [start + number * timedelta(minutes=15) for number in range(DAYS * 96 + 1)]
        windows = [
            event for event in simulator.events
            if isinstance(event, ServiceAnswered) and (event.class_id, event.index) == (7, 2)
        ]  # fmt: skip
        assert len(windows) <= DAYS + 1
        assert outcome.error is not ErrorWord.TIMEOUT
