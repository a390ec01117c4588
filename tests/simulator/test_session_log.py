"""The log that others take as witness."""

import asyncio
from pathlib import Path

import pytest
from tests.simulator.raw_client import AARQ_NONE, RawClient

from metercast.simulator import Population, Simulator, executions, overlapping_sessions, read_log
from metercast.simulator.log import ActionExecuted, AnyEvent, Refused, SessionLog, SessionOpened, now

MDI_RESET = bytes.fromhex("c301c1000900000a0001ff0101120001")


def opened(session: int, concurrent: int) -> SessionOpened:
    return SessionOpened(meter="m", session=session, peer="p", concurrent=concurrent, **now())


def test_events_come_back_as_written_and_a_cut_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = SessionLog(path)
    events: list[AnyEvent] = [
        opened(1, 1),
        opened(2, 2),
        Refused(meter="m", session=1, reason="\u2028 and \n", **now()),
        ActionExecuted(meter="m", session=2, class_id=9, logical_name="0.0.10.0.1.255", index=1, count=1, **now()),
    ]
    for event in events:
        log.write(event)
    log.close()
    with path.open("ab") as file:
        file.write(b'{"event":"opened","meter":"m')
    assert list(read_log(path)) == events
    assert overlapping_sessions(read_log(path)) == [events[1]]
    assert executions(read_log(path)) == {("m", 9, "0.0.10.0.1.255", 1): 1}


async def test_events_are_in_the_file_soon_without_being_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = SessionLog(path)
    log.write(opened(1, 1))
    assert path.read_bytes() == b""
    for _ in range(1000):
        if path.stat().st_size:
            break
        await asyncio.sleep(0.01)
    assert len(list(read_log(path))) == 1
    log.close()


async def test_many_events_do_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = SessionLog(path)
    for number in range(2000):
        log.write(opened(number, 1))
    assert len(list(read_log(path))) == 2000
    log.close()


async def test_a_second_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for _ in range(2):
        population = Population.build(1, security="none")
        simulator = Simulator(population, log_path=path)
        async with simulator, RawClient(simulator.endpoint("meter-0001")) as client:
            await client.ask(AARQ_NONE)
            await client.ask(MDI_RESET)
    assert executions(read_log(path)) == {("meter-0001", 9, "0.0.10.0.1.255", 1): 2}
    times = [event.monotonic for event in read_log(path)]
    assert times == sorted(times)


async def test_without_log_and_watchers_nothing_is_kept() -> None:
    async with Simulator(Population.build(1, security="none")) as simulator:
        async with RawClient(simulator.endpoint("meter-0001")) as client:
            await client.ask(AARQ_NONE)
        assert simulator.events == []


def test_a_log_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"not json\n")
    with pytest.raises(ValueError, match="malformed"):
        list(read_log(path))
