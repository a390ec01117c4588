"""Sessions over HDLC with simulated meters, on lines that lose: what a meter does, it does once."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import QUICK, ScriptedCheckpoint, driver, execute, meter_of
from tests.driver.transports import Tampered

from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame
from metercast.domain.meter import Meter
from metercast.domain.outcome import How, OutcomeKind, Phase
from metercast.domain.words import ErrorWord
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import TcpConnector, Transport
from metercast.simulator.log import ActionExecuted, AssociationReleased
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import HdlcSpec

PATIENT = Timeouts(connect=5.0, progress=5.0, session=30.0, release=1.0)


def population(hdlc: HdlcSpec, security: Any = "hls-gmac", **options: Any) -> Population:
    return Population.build(1, security=security, hdlc=hdlc, **options)


def quick(document: dict[str, Any]) -> Meter:
    """Polls soon: a test loses much."""
    document["connection"]["hdlc"]["pollAfterSeconds"] = 0.05
    return meter_of(document)


class LosesWrites:
    """A connector whose transports lose what is written where `lost` says so, by number, from 1."""

    def __init__(self, lost: Any) -> None:
        self._lost = lost
        self.count = 0

    async def connect(self, meter: Meter) -> Transport:
        transport = await TcpConnector().connect(meter)
        write = transport.write

        def lossy(data: bytes) -> None:
            self.count += 1
            if not self._lost(self.count):
                write(data)

        return _With(transport, lossy)


class _With:
    def __init__(self, transport: Transport, write: Any) -> None:
        self.write = write
        self.read, self.nudge, self.interrupt = transport.read, transport.nudge, transport.interrupt
        self.close, self.abort, self.gone = transport.close, transport.abort, transport.gone


@pytest.mark.parametrize("security", ["none", "lls", "hls-gmac"])
@pytest.mark.parametrize(
    "hdlc", [HdlcSpec(), HdlcSpec(address_size=2, physical_device=17), HdlcSpec(address_size=4, physical_device=5000)]
)
async def test_every_authentication_and_address_length(hdlc: HdlcSpec, security: Any) -> None:
    async with Simulator(population(hdlc, security), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        outcome = await execute(meter_of(document))
        assert (outcome.how, outcome.error, outcome.detail) == (How.DONE, None, None)
        assert [event for event in simulator.events if isinstance(event, AssociationReleased)]


@pytest.mark.parametrize(
    "hdlc", [HdlcSpec(max_info=32), HdlcSpec(max_info=100, window=3), HdlcSpec(max_info=1024, window=7)]
)
@pytest.mark.parametrize("max_pdu", [96, 1024])
async def test_long_requests_and_answers_in_segments_and_blocks(hdlc: HdlcSpec, max_pdu: int) -> None:
    async with Simulator(population(hdlc, max_pdu=max_pdu)) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        seasons = [{"name": str(number), "start": {"month": number, "day": 1}, "week": "1"} for number in range(1, 13)]
        outcome = await execute(meter, "SET_TOU", set_tou(seasons=seasons), by=by)
        assert outcome.how is How.DONE, outcome.detail
        outcome = await execute(meter, "GET_TOU", {"which": "active"}, by=by)
        assert len(outcome.result["active"]["seasons"]) == 12


async def executions(simulator: Simulator) -> int:
    return sum(isinstance(event, ActionExecuted) and event.class_id == 70 for event in simulator.events)


@pytest.mark.parametrize("lost", range(1, 13))
@pytest.mark.parametrize("way", ["request", "answer"])
async def test_a_frame_that_is_lost_anywhere_is_recovered_and_nothing_runs_twice(lost: int, way: str) -> None:
    async with Simulator(population(HdlcSpec()), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        connector: LosesWrites | Tampered
        if way == "request":
            connector = LosesWrites(lambda number: number == lost)
        else:
            connector = Tampered(TcpConnector(), lambda data, number: b"" if number == lost else data)
        outcome = await execute(quick(document), "DISCONNECT", by=driver(connector, timeouts=PATIENT))
        assert (outcome.how, outcome.error) == (How.DONE, None), outcome.detail
        assert await executions(simulator) == 1
        written = connector.count if isinstance(connector, LosesWrites) else len(connector.read)
        assert written > lost, "nothing was lost"


@pytest.mark.parametrize("seed", range(6))
async def test_on_a_line_that_loses_and_garbles_all_the_time(seed: int) -> None:
    chance = random.Random(seed)

    def change(data: bytes, number: int) -> bytes:
        if chance.random() < 0.1:
            return b""
        if chance.random() < 0.1:
            at = chance.randrange(len(data) or 1)
            return data[:at] + bytes(each ^ 4 for each in data[at : at + 1]) + data[at + 1 :]
        return b"\xff\x00" + data if chance.random() < 0.2 else data

    async with Simulator(population(HdlcSpec(max_info=64)), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        by = driver(Tampered(TcpConnector(), change), timeouts=PATIENT)
        outcome = await execute(quick(document), "DISCONNECT", by=by)
        assert (outcome.how, outcome.error) == (How.DONE, None), outcome.detail
        assert await executions(simulator) == 1


async def test_a_meter_at_another_address_does_not_answer() -> None:
    async with Simulator(population(HdlcSpec(address_size=2, physical_device=17))) as simulator:
        (document,) = simulator.device_records()
        document["connection"]["hdlc"]["physicalDevice"] = 18
        outcome = await execute(meter_of(document))
        assert (outcome.error, outcome.phase) == (ErrorWord.TIMEOUT, Phase.BEFORE_ASSOCIATION)


async def test_frames_wait_for_the_line() -> None:
    async with Simulator(population(HdlcSpec(), "none")) as simulator:
        (document,) = simulator.device_records()
        document["connection"]["hdlc"]["frameDelaySeconds"] = 0.03
        outcome = await execute(meter_of(document))
        assert outcome.how is How.DONE, outcome.detail


@pytest.mark.parametrize("allowed", range(1, 13))
async def test_without_the_lease_nothing_goes_to_the_meter(allowed: int) -> None:
    """No repetition of a frame and no end of the link: another may be in a session with the meter by then."""
    async with Simulator(population(HdlcSpec())) as simulator:
        (document,) = simulator.device_records()
        connector = LosesWrites(lambda number: False)
        # The first is asked before connecting.
        checkpoint = ScriptedCheckpoint(sends_left=lambda sends: sends <= allowed + 1)
        await execute(quick(document), "DISCONNECT", by=driver(connector, timeouts=PATIENT), checkpoint=checkpoint)
        assert connector.count == allowed


MODEM = bytes.fromhex("4154445431323334350d")  # ATDT12345


def on_one_line(count: int, address_size: Any = 2, security: Any = "hls-gmac", **modem: Any) -> Population:
    built = population_of(count, HdlcSpec(address_size=address_size), security)
    return Population(built.meters, tuple(replace(gateway, **modem) for gateway in built.gateways))


def population_of(count: int, hdlc: HdlcSpec, security: Any) -> Population:
    return Population.build(count, security=security, hdlc=hdlc, gateway=count)


@pytest.mark.parametrize("address_size", [2, 4])
async def test_several_meters_on_one_serial_line(address_size: int) -> None:
    async with Simulator(on_one_line(4, address_size), keep_events=True) as simulator:
        documents = list(simulator.device_records())
        assert len({(each["connection"]["host"], each["connection"]["port"]) for each in documents}) == 1
        assert {each["connection"]["channel"] for each in documents} == {"gw-1"}
        by = driver(timeouts=PATIENT)
        for document in documents:
            outcome = await execute(meter_of(document), "DISCONNECT", by=by)
            assert outcome.how is How.DONE, outcome.detail
        for meter in simulator.meters:
            assert (meter.state.relay.output, meter.session_count, meter.max_concurrent) == (False, 1, 1)
        assert await executions(simulator) == 4
        # The line takes one connection: what does not wait for its channel is turned away.
        first, second = await asyncio.gather(*(execute(meter_of(each), by=by) for each in documents[:2]))
        assert {first.error, second.error} == {None, ErrorWord.CONNECTION_LOST}


async def test_what_other_meters_on_the_line_say_is_passed_over() -> None:
    other = HdlcAddress(1, 99, 2).encode()
    frames = [
        HdlcFrame(b"\x03", other, FrameKind.DISCONNECTED_MODE).encode(),
        HdlcFrame(b"\x03", other, FrameKind.INFORMATION, b"\xe6\xe7\x00\xd8\x01\x01").encode(),
        HdlcFrame(other, b"\x03", FrameKind.DISCONNECT).encode(),
        b"\x7e\x7e\xff\x00RING\r\n",
    ]

    def change(data: bytes, number: int) -> bytes:
        return frames[number % 4] + data + frames[(number + 1) % 4]

    async with Simulator(on_one_line(2), keep_events=True) as simulator:
        document = list(simulator.device_records())[1]
        by = driver(Tampered(TcpConnector(), change), timeouts=PATIENT)
        outcome = await execute(quick(document), "DISCONNECT", by=by)
        assert outcome.how is How.DONE, outcome.detail


@pytest.mark.parametrize(("seconds", "wakes"), [(0.3, True), (0.0, False)])
async def test_a_modem_is_woken_before_the_first_frame(seconds: float, wakes: bool) -> None:
    fleet = on_one_line(2, wake_up=MODEM, wake_up_seconds=0.1)
    async with Simulator(fleet) as simulator:
        document = next(iter(simulator.device_records()))
        connector = LosesWrites(lambda number: False)
        hdlc = document["connection"]["hdlc"]
        hdlc |= {"wakeUpOctets": MODEM.hex(), "wakeUpSeconds": seconds, "pollAfterSeconds": 60}
        by = driver(connector, timeouts=PATIENT if wakes else QUICK)
        outcome = await execute(meter_of(document), by=by)
        assert (outcome.error is None) is wakes, outcome.detail
        del hdlc["wakeUpOctets"]
        asleep = await execute(meter_of(document))
        assert (asleep.error, asleep.phase) == (ErrorWord.TIMEOUT, Phase.BEFORE_ASSOCIATION)


async def test_the_lease_is_asked_again_after_a_delay() -> None:
    """It may end while a frame waits for the line: then nothing goes out, and the session ends at once."""
    async with Simulator(population(HdlcSpec(), "none"), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        document["connection"]["hdlc"]["frameDelaySeconds"] = 0.05
        for allowed in range(2, 9):
            connector = LosesWrites(lambda number: False)
            # One question before connecting; then one when a frame is made and one when it is written.
            checkpoint = ScriptedCheckpoint(sends_left=allowed.__ge__)
            by = driver(connector, timeouts=PATIENT)
            outcome = await execute(meter_of(document), by=by, checkpoint=checkpoint)
            assert outcome.kind is OutcomeKind.GIVEN_BACK
            assert connector.count == (allowed - 1) // 2


async def test_a_frame_that_waits_for_the_line_is_not_asked_for() -> None:
    async with Simulator(population(HdlcSpec(), "none")) as simulator:
        (document,) = simulator.device_records()
        document["connection"]["hdlc"] |= {"frameDelaySeconds": 0.2, "pollAfterSeconds": 0.15}
        connector = LosesWrites(lambda number: False)
        outcome = await execute(meter_of(document), by=driver(connector, timeouts=PATIENT))
        assert outcome.how is How.DONE, outcome.detail
        # SNRM, AARQ, GET of the name, GET of the clock, RLRQ, DISC
        assert connector.count == 6


async def test_a_meter_may_have_timeouts_of_its_own() -> None:
    fleet = population(HdlcSpec(address_size=2, physical_device=17), "none")
    async with Simulator(fleet) as simulator:
        (document,) = simulator.device_records()
        document["connection"]["hdlc"]["physicalDevice"] = 18  # nobody
        document["connection"]["progressTimeoutSeconds"] = 1
        outcome = await execute(meter_of(document), by=driver(timeouts=Timeouts(progress=600.0, session=600.0)))
        assert (outcome.error, outcome.detail) == (ErrorWord.TIMEOUT, "opening the link: no answer for 1 s")
