"""Every fault over a real socket."""

import asyncio
import time
from typing import Any

import pytest
from tests.simulator.independent_client import independent_client
from tests.simulator.raw_client import AARQ_NONE, GET_CLOCK, RawClient

from metercast.simulator import Faults, Population, Simulator
from metercast.simulator.faults import (
    AccessError,
    AnotherIdentity,
    CutFrames,
    DelayAnswers,
    DropConnection,
    Garbage,
    HoldAssociation,
    HugeLength,
    LoseActionAnswer,
    NeverAnswer,
    RefuseConnections,
    RejectAssociation,
    StaleCounter,
    TemporaryFailures,
    WrongKey,
)
from metercast.simulator.log import ActionExecuted, AnyEvent, FaultPlayed, SessionClosed

METER = "meter-0001"
MDI_RESET = bytes.fromhex("c301c1000900000a0001ff0101120001")
ACCEPTED = "a203020100"


def is_closed(event: AnyEvent) -> bool:
    return isinstance(event, SessionClosed)


class Faulty:
    """One meter with these faults, and raw clients to it."""

    def __init__(self, *faults: Any, security: Any = "none") -> None:
        self.population = Population.build(1, security=security)
        self.faults: Faults = faults
        self.simulator = Simulator(self.population, keep_events=True)

    async def __aenter__(self) -> "Faulty":
        await self.simulator.start()
        await self.simulator.set_faults(METER, self.faults)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.simulator.stop()

    def client(self) -> RawClient:
        return RawClient(self.simulator.endpoint(METER))

    @property
    def played(self) -> list[str]:
        return [event.fault for event in self.simulator.events if isinstance(event, FaultPlayed)]


async def test_refused_means_that_nothing_listens() -> None:
    async with Faulty(RefuseConnections()) as faulty:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await faulty.client().__aenter__()
        await faulty.simulator.set_faults(METER, ())
        async with faulty.client() as client:
            assert ACCEPTED in (await client.ask(AARQ_NONE)).hex()
        await faulty.simulator.set_faults(METER, (RefuseConnections(),))
        with pytest.raises(ConnectionRefusedError):
            await faulty.client().__aenter__()


async def test_refused_for_a_while() -> None:
    async with Faulty(RefuseConnections(seconds=0.05)) as faulty:
        with pytest.raises(ConnectionRefusedError):
            await faulty.client().__aenter__()
        deadline = time.monotonic() + 10
        while True:
            try:
                async with faulty.client() as client:
                    assert ACCEPTED in (await client.ask(AARQ_NONE)).hex()
                    return
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)


async def test_a_meter_that_never_answers_keeps_the_connection() -> None:
    async with Faulty(NeverAnswer()) as faulty, faulty.client() as client:
        client.send(AARQ_NONE)
        await faulty.simulator.wait_for(lambda event: isinstance(event, FaultPlayed))
        client.writer.write_eof()
        assert await client.rest() == b""
        closed = await faulty.simulator.wait_for(is_closed)
        assert isinstance(closed, SessionClosed)
        assert (closed.reason, closed.sent) == ("peer", 0)


async def test_answers_come_late() -> None:
    async with Faulty(DelayAnswers(minimum=0.05, maximum=0.06)) as faulty, faulty.client() as client:
        for apdu in (AARQ_NONE, GET_CLOCK):
            before = time.monotonic()
            await client.ask(apdu)
            assert time.monotonic() - before >= 0.05
        assert faulty.played == ["delay-answers"]


async def test_a_client_that_asks_on_without_answers_is_dropped() -> None:
    async with Faulty(DelayAnswers(minimum=60, maximum=60)) as faulty, faulty.client() as client:
        for _ in range(300):
            client.send(GET_CLOCK)
        assert await client.rest() == b""


@pytest.mark.parametrize("octets", [0, 1, 7, 8, 20, 38])
async def test_the_connection_drops_after_so_many_octets_received(octets: int) -> None:
    async with Faulty(DropConnection(after_received=octets)) as faulty, faulty.client() as client:
        client.send(AARQ_NONE)
        assert await client.rest() == b""
        closed = await faulty.simulator.wait_for(is_closed)
        assert isinstance(closed, SessionClosed)
        assert (closed.reason, closed.received) == ("meter", octets)


@pytest.mark.parametrize("octets", [0, 1, 8, 30])
async def test_the_connection_drops_after_so_many_octets_sent(octets: int) -> None:
    async with Faulty(DropConnection(after_sent=octets)) as faulty, faulty.client() as client:
        client.send(AARQ_NONE)
        assert len(await client.rest()) == octets
        assert faulty.played == ["drop-connection"]


async def test_frames_come_in_single_octets() -> None:
    async with Faulty(CutFrames(octets=1, pause=0.0)) as faulty, faulty.client() as client:
        assert ACCEPTED in (await client.ask(AARQ_NONE)).hex()
        assert (await client.ask(GET_CLOCK)).hex().startswith("c401c100090c")


async def test_frames_come_in_pieces_with_pauses() -> None:
    async with Faulty(CutFrames(octets=20, pause=0.01)) as faulty, faulty.client() as client:
        client.send(AARQ_NONE)
        pieces = [len(await client.reader.read(4096)) for _ in range(3)]
        assert pieces == [20, 20, 11]


@pytest.mark.parametrize(("result", "code"), [("permanent", 1), ("transient", 2)])
async def test_the_association_is_rejected(result: Any, code: int) -> None:
    async with Faulty(RejectAssociation(result=result, diagnostic=13)) as faulty, faulty.client() as client:
        aare = (await client.ask(AARQ_NONE)).hex()
        assert f"a20302010{code}a305a10302010d" in aare
        assert await client.ask(GET_CLOCK) == bytes.fromhex("d80101")


async def test_a_fault_of_so_many_sessions_ends() -> None:
    async with Faulty(RejectAssociation(times=2)) as faulty:
        answers = []
        for _ in range(3):
            async with faulty.client() as client:
                answers.append(ACCEPTED in (await client.ask(AARQ_NONE)).hex())
        assert answers == [False, False, True]


@pytest.mark.parametrize("security", ["lls", "hls-gmac"])
async def test_a_meter_with_another_key(security: str) -> None:
    async with Faulty(WrongKey(), security=security) as faulty:
        client = independent_client(faulty.population.meters[0], faulty.simulator.endpoint(METER))

        def run() -> Any:
            client.connect()
            client.send(client.dlms_connection.get_aarq())
            aare = client.next_event()
            client.disconnect()
            return aare

        aare = await asyncio.to_thread(run)
        assert (aare.result.value, aare.result_source_diagnostics.value) == (1, 13 if security == "lls" else 1)
        assert faulty.played == ["wrong-key"]


async def test_a_meter_whose_counter_is_ahead_tells_it() -> None:
    async with Faulty(StaleCounter(ahead=5000), security="hls-gmac") as faulty:
        client = independent_client(faulty.population.meters[0], faulty.simulator.endpoint(METER))

        def run() -> Any:
            client.connect()
            client.send(client.dlms_connection.get_aarq())
            answer = bytes(client.dlms_connection.buffer)
            client.disconnect()
            return answer

        assert await asyncio.to_thread(run) == bytes.fromhex("d80106") + (5001).to_bytes(4, "big")
        async with faulty.client() as public:
            public.client_sap = 16
            await public.ask(AARQ_NONE)
            answer = await public.ask(bytes.fromhex("c001c1000100002b0100ff0200"))
            assert answer == bytes.fromhex("c401c10006") + (5000).to_bytes(4, "big")


async def test_a_meter_whose_counter_is_ahead_keeps_silent() -> None:
    async with Faulty(StaleCounter(ahead=5000, silent=True), security="hls-gmac") as faulty:
        spec = faulty.population.meters[0]
        aarq = independent_client(spec, ("", 0)).dlms_connection
        async with faulty.client() as client:
            client.send(aarq.send(aarq.get_aarq()))
            await faulty.simulator.wait_for(lambda event: isinstance(event, FaultPlayed))
            client.writer.write_eof()
            assert await client.rest() == b""
        assert faulty.played == ["stale-counter"]


async def test_access_errors_on_one_attribute_and_one_method() -> None:
    faults = (
        AccessError(service="get", class_id=8, logical_name="0.0.1.0.0.255", index=2, result=11),
        AccessError(service="action", class_id=9, logical_name="0.0.10.0.1.255", result=2),
        AccessError(service="set", class_id=70, logical_name="0.0.96.3.10.255", index=4, result=1),
    )
    async with Faulty(*faults) as faulty, faulty.client() as client:
        await client.ask(AARQ_NONE)
        assert await client.ask(GET_CLOCK) == bytes.fromhex("c401c1010b")
        assert (await client.ask(bytes.fromhex("c001c100080000010000ff0300"))).hex() == "c401c10010ffc4"
        assert await client.ask(MDI_RESET) == bytes.fromhex("c701c10200")
        assert await client.ask(bytes.fromhex("c101c10046000060030aff04001601")) == bytes.fromhex("c501c101")
        assert faulty.simulator.meter(METER).state.billing_counter == 0


async def test_the_first_services_fail_for_a_while() -> None:
    async with Faulty(TemporaryFailures(services=2)) as faulty:
        async with faulty.client() as client:
            await client.ask(AARQ_NONE)
            assert await client.ask(GET_CLOCK) == bytes.fromhex("c401c10102")
        async with faulty.client() as client:
            await client.ask(AARQ_NONE)
            assert await client.ask(MDI_RESET) == bytes.fromhex("c701c10200")
            assert await client.ask(MDI_RESET) == bytes.fromhex("c701c10000")
        assert faulty.simulator.meter(METER).state.billing_counter == 1


async def test_one_association_at_a_time_held_after_a_drop() -> None:
    async with Faulty(HoldAssociation(seconds=3600)) as faulty:
        async with faulty.client() as first, faulty.client() as second:
            assert ACCEPTED in (await first.ask(AARQ_NONE)).hex()
            assert "a203020102a305a103020101" in (await second.ask(AARQ_NONE)).hex()
            await first.ask(bytes.fromhex("6203800100"))
            assert ACCEPTED in (await second.ask(AARQ_NONE)).hex()
            second.close()
            await faulty.simulator.wait_for(lambda event: is_closed(event) and event.session == 2)
            assert "a203020102" in (await first.ask(AARQ_NONE)).hex()
        async with faulty.client() as third:
            assert "a203020102" in (await third.ask(AARQ_NONE)).hex()


async def test_the_hold_ends() -> None:
    async with Faulty(HoldAssociation(seconds=0.0)) as faulty:
        async with faulty.client() as client:
            assert ACCEPTED in (await client.ask(AARQ_NONE)).hex()
        await faulty.simulator.wait_for(is_closed)
        async with faulty.client() as client:
            assert ACCEPTED in (await client.ask(AARQ_NONE)).hex()


async def test_another_meter_answers() -> None:
    async with Faulty(AnotherIdentity()) as faulty, faulty.client() as client:
        await client.ask(AARQ_NONE)
        answer = await client.ask(bytes.fromhex("c001c1000100002a0000ff0200"))
        name = faulty.population.meters[0].logical_device_name.encode()
        assert len(answer) == len("c401c1000910") // 2 + len(name)
        assert not answer.endswith(name)


async def test_garbage_instead_of_an_answer() -> None:
    async with Faulty(Garbage(octets=50, after_answers=1)) as faulty, faulty.client() as client:
        assert ACCEPTED in (await client.ask(AARQ_NONE)).hex()
        client.send(GET_CLOCK)
        octets = await client.reader.readexactly(50)
        assert octets[:2] != b"\0\1"


async def test_a_huge_length_is_claimed() -> None:
    async with Faulty(HugeLength()) as faulty, faulty.client() as client:
        client.send(AARQ_NONE)
        head = await client.reader.readexactly(8)
        assert head[6:] == b"\xff\xff"
        client.writer.write_eof()
        assert len(await client.rest()) == 43


async def test_an_action_runs_and_its_answer_is_lost() -> None:
    async with Faulty(LoseActionAnswer(actions=1)) as faulty:
        async with faulty.client() as client:
            await client.ask(AARQ_NONE)
            await client.ask(GET_CLOCK)
            client.send(MDI_RESET)
            assert await client.rest() == b""
        assert faulty.simulator.meter(METER).state.billing_counter == 1
        async with faulty.client() as client:
            await client.ask(AARQ_NONE)
            assert await client.ask(MDI_RESET) == bytes.fromhex("c701c10000")
        executed = [event.session for event in faulty.simulator.events if isinstance(event, ActionExecuted)]
        assert executed == [1, 2]
        assert faulty.simulator.meter(METER).state.billing_counter == 2
