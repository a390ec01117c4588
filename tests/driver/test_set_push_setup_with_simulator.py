"""SET_PUSH_SETUP through real sessions, and what the simulated meter then sends by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.driver.support import ScriptedCheckpoint, driver, execute, meter_of
from tests.driver.transports import Tampered

from metercast.commands.date_text import parse_date_time
from metercast.dlms.data import NULL, Data
from metercast.dlms.notification import DataNotification, decode_notification
from metercast.dlms.wrapper import WrapperReader
from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord
from metercast.driver.dlms import DlmsDriver
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import TcpConnector
from metercast.simulator.population import Population
from metercast.simulator.push_setup import PUSH_SETUPS, PushSetup
from metercast.simulator.simulator import Simulator

CLOCK: dict[str, Any] = {"class": 8, "obis": "0.0.1.0.0.255", "attribute": 2}
PROFILE: dict[str, Any] = {"class": 7, "obis": "1.0.99.1.0.255", "attribute": 2}
NOTHING: dict[str, Any] = {"class": 3, "obis": "1.0.99.8.0.255", "attribute": 2}


def patient() -> DlmsDriver:
    """For a machine that has much else to do."""
    return driver(timeouts=Timeouts(progress=10.0, session=60.0))


def population() -> Population:
    return Population.build(1, security="hls-gmac", clock_offset=0.0)


class Receiver(asyncio.DatagramProtocol):
    """Takes frames over TCP and UDP at one port; `frames` holds (source, destination, APDU)."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[tuple[int, int, bytes]] = asyncio.Queue()
        self.port = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for frame in WrapperReader().feed(data):
            self.frames.put_nowait((frame.source, frame.destination, frame.apdu))

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.datagram_received(await reader.read(), None)
        writer.close()

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["Receiver"]:
        server = await asyncio.start_server(self._taken, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        address = ("127.0.0.1", self.port)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=address)
        async with server:
            yield self
        transport.close()

    async def body(self) -> tuple[int, int, list[Data]]:
        """Of the next data-notification."""
        source, destination, apdu = await self.frames.get()
        notification = decode_notification(apdu)
        assert isinstance(notification, DataNotification)
        return source, destination, notification.value.elements()


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_meter_sends_what_it_was_told(version: int, transport: str) -> None:
    async with Simulator(population()) as simulator, Receiver().listening() as receiver:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), patient()
        raw: dict[str, Any] = {
            "obis": str(PUSH_SETUPS[version]),
            "objects": [CLOCK, NOTHING],
            "destination": {"transport": transport, "address": f"127.0.0.1:{receiver.port}"},
            "windows": [
                {"start": "*-*-* 00:00:00", "end": "*-*-* 12:00:00"},
                {"start": "*-*-* 12:00:00", "end": "*-*-* 00:00:00"},
            ],
            "push": True,
        }
        if version >= 1:
            raw |= {"clientSap": 64}
            raw["objects"] = [*raw["objects"], PROFILE | {"restriction": {"from": 3, "to": 5}}]
        outcome = await execute(meter, "SET_PUSH_SETUP", raw, by=by)
        assert outcome.how is How.DONE, outcome.detail
        assert outcome.result["version"] == version
        source, destination, body = await receiver.body()
        assert (source, destination) == (1, 64 if version else 1)
        assert len(body[0].octet_string(12)) == 12
        assert body[1] == NULL
        if version:
            assert len(body[2].elements()) == 3
        raw.pop("push")
        assert (await execute(meter, "SET_PUSH_SETUP", raw, by=by)).how is How.ALREADY_SO


async def test_rows_of_a_time() -> None:
    async with Simulator(population()) as simulator, Receiver().listening() as receiver:
        (document,) = simulator.device_records()
        begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
        between = {"from": f"{begin:%Y-%m-%d %H:%M:%S}", "to": f"{begin + timedelta(hours=1):%Y-%m-%d %H:%M:%S}"}
        raw: dict[str, Any] = {
            "obis": "0.1.25.9.0.255",
            "objects": [PROFILE | {"restriction": between}],
            "destination": {"address": f"127.0.0.1:{receiver.port}"},
            "push": True,
        }
        await execute(meter_of(document), "SET_PUSH_SETUP", raw, by=patient())
        assert len((await receiver.body())[2][0].elements()) == 5


async def test_what_does_not_get_through_is_sent_again() -> None:
    async with Receiver().listening() as first:
        port = first.port
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        raw: dict[str, Any] = {
            "objects": [CLOCK],
            "destination": {"address": f"127.0.0.1:{port}"},
            "retries": 255,
            "repetitionDelaySeconds": 1,
            "push": True,
        }
        assert (await execute(meter_of(document), "SET_PUSH_SETUP", raw, by=patient())).how is How.DONE
        async with Receiver().listening(port) as receiver:
            assert len((await receiver.body())[2]) == 1


async def test_outside_of_its_window_and_after_a_reset_nothing_is_sent() -> None:
    async with Simulator(population()) as simulator, Receiver().listening() as receiver:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), patient()
        raw: dict[str, Any] = {
            "obis": "0.2.25.9.0.255",
            "objects": [CLOCK],
            "destination": {"address": f"127.0.0.1:{receiver.port}"},
            "windows": [{"start": "2020-01-01 00:00:00", "end": "2020-01-02 00:00:00"}],
            "push": True,
        }
        assert (await execute(meter, "SET_PUSH_SETUP", raw, by=by)).how is How.DONE
        reset = {"class": 40, "obis": "0.2.25.9.0.255", "method": 2, "parameter": {"tag": "integer", "value": 0}}
        assert (await execute(meter, "ACTION", reset, by=by)).error is None
        opened = raw | {"windows": [], "objects": [CLOCK, CLOCK]}
        assert (await execute(meter, "SET_PUSH_SETUP", opened, by=by)).how is How.DONE
        assert len((await receiver.body())[2]) == 2
        assert receiver.frames.empty()


@pytest.mark.parametrize("destination", [{"address": "nowhere"}, {"transport": "sms", "address": "+31600000000"}])
async def test_a_destination_that_the_simulator_can_not_reach_is_refused(destination: dict[str, Any]) -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        raw = {"objects": [CLOCK], "destination": destination, "push": True}
        outcome = await execute(meter_of(document), "SET_PUSH_SETUP", raw, by=patient())
        if destination["address"] == "nowhere":
            assert outcome.how is How.DONE  # a host name may be right; nothing gets through
        else:
            assert outcome.error is ErrorWord.OTHER_REASON


@pytest.mark.parametrize(
    ("now", "start", "end", "is_open"),
    [
        ("2026-09-17 02:00:00", "*-*-* 01:00:00", "*-*-* 05:00:00", True),
        ("2026-09-17 05:00:00", "*-*-* 01:00:00", "*-*-* 05:00:00", False),
        ("2026-09-17 23:00:00", "*-*-* 22:00:00", "*-*-* 05:00:00", True),
        ("2026-09-17 12:00:00", "*-*-* 22:00:00", "*-*-* 05:00:00", False),
        ("2026-09-17 12:10:00", "*-*-* *:05:00", "*-*-* *:15:00", True),
        ("2026-02-17 12:00:00", "*-*-30 00:00:00", "*-*-31 00:00:00", False),
        ("2026-09-17 12:00:00", "2026-09-17 00:00:00", "2026-09-18 00:00:00", True),
    ],
)
def test_windows(now: str, start: str, end: str, is_open: bool) -> None:
    setup = PushSetup(0)
    edges = [Data.octets(parse_date_time(edge).encode()) for edge in (start, end)]
    setup.values[4] = Data.array([Data.structure(edges)])
    assert setup.is_open(datetime.fromisoformat(now).replace(tzinfo=UTC)) is is_open


def test_delays_of_version_2_grow() -> None:
    setup = PushSetup(2)
    setup.values[7] = Data.structure([Data.long_unsigned(each) for each in (10, 200, 60)])
    assert [setup.delay_before_retry(number) for number in (0, 1, 2, 3, 255)] == [10, 20, 40, 60, 60]


@pytest.mark.parametrize("lost", range(1, 19))
async def test_an_answer_that_is_lost_anywhere(lost: int) -> None:
    async with Simulator(population()) as simulator, Receiver().listening() as receiver:
        (document,) = simulator.device_records()
        raw: dict[str, Any] = {
            "obis": "0.1.25.9.0.255",
            "objects": [CLOCK],
            "destination": {"address": f"127.0.0.1:{receiver.port}"},
            "windows": [{"start": "*-*-* 00:00:00", "end": "*-*-* 23:59:59"}],
            "retries": 1,
        }
        connector = Tampered(TcpConnector(), lambda data, number: b"" if number == lost else data)
        first = await execute(meter_of(document), "SET_PUSH_SETUP", raw, by=driver(connector))
        assert len(connector.read) > lost or first.error is not None, "nothing was lost"
        by = patient()
        checkpoint = ScriptedCheckpoint(verify_first=True)
        second = await execute(meter_of(document), "SET_PUSH_SETUP", raw | {"push": True}, by=by, checkpoint=checkpoint)
        assert second.succeeded, second.detail
        assert len((await receiver.body())[2]) == 1
        assert (await execute(meter_of(document), "SET_PUSH_SETUP", raw, by=by)).how is How.ALREADY_SO
