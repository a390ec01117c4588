"""Sessions on real sockets, traced: the log tells what was said, the pcap is what went over the line, and no secret
octet is in either."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import ScriptedCheckpoint, command, driver, meter_of

from metercast.capture.files import read_packets
from metercast.capture.packets import segment_in
from metercast.capture.reading import CaptureReader
from metercast.dlms.deciphering import Keys
from metercast.domain.meter import Meter
from metercast.domain.outcome import How, Outcome
from metercast.driver.contract import Checkpoint, Command
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import TcpConnector, TcpTransport, Transport
from metercast.simulator.faults import CutFrames, DropConnection, Garbage, NeverAnswer, StaleCounter
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import BLOCK_TRANSFERS, DEFAULT_CONFORMANCE, GENERAL_BLOCK_TRANSFER, HdlcSpec
from metercast.trace.directory import TraceDirectory
from metercast.trace.session import SessionTrace

PATIENT = Timeouts(connect=5.0, progress=5.0, session=30.0, release=1.0)


class Always:
    """A tracer of every session."""

    def __init__(self, path: Path, limit: int = 64 << 20) -> None:
        self.directory = TraceDirectory(path, limit)
        self.names: list[str] = []

    def begin(self, command: Command, meter: Meter, checkpoint: Checkpoint) -> SessionTrace | None:
        files = self.directory.begin(meter.device_id)
        assert files is not None
        self.names.append(files.name)
        return SessionTrace(self.directory, files, f"device {meter.device_id}, command {command.type.name}")

    def log(self, number: int = -1) -> str:
        return (self.directory.path / f"{self.names[number]}.log").read_text()

    def pcap(self, number: int = -1) -> bytes:
        return (self.directory.path / f"{self.names[number]}.pcap").read_bytes()


class Listening(TcpConnector):
    """Keeps what really went over the line."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def connect(self, meter: Meter) -> Transport:
        transport = await super().connect(meter)
        assert isinstance(transport, TcpTransport)
        transport._transport = cast(Any, _Kept(transport._transport, self.sent))
        return transport


class _Kept:
    """Between the product's transport and the socket."""

    def __init__(self, transport: Any, sent: list[bytes]) -> None:
        self._transport = transport
        self._sent = sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._sent.append(bytes(data))
        self._transport.write(data)


async def run(
    meter: Meter, tracer: Always, name: str = "READ_CLOCK", raw: dict[str, Any] | None = None, **options: Any
) -> Outcome:
    by = driver(timeouts=PATIENT, tracer=tracer, **options)
    return await by.execute(command(name, raw), meter, ScriptedCheckpoint())


def sent_in(pcap: bytes) -> bytes:
    """What the client sent, put together from the segments; the client sends the first one, a SYN."""
    segments = [segment_in(packet.link_type, packet.octets) for packet in read_packets(io.BytesIO(pcap))]
    client = segments[0].source if segments[0] is not None else None
    return b"".join(segment.payload for segment in segments if segment is not None and segment.source == client)


def secrets_of(document: dict[str, Any]) -> list[bytes]:
    found = []
    for association in document["associations"].values():
        if "password" in association:
            found.append(association["password"].encode())
        found += [
            bytes.fromhex(association[key]) for key in ("encryptionKey", "authenticationKey") if key in association
        ]
    return found


def assert_no_secret(tracer: Always, secrets: list[bytes]) -> None:
    assert secrets
    for number in range(len(tracer.names)):
        log, pcap = tracer.log(number), tracer.pcap(number)
        for secret in secrets:
            for at in range(len(secret) - 3):
                piece = secret[at : at + 4]
                assert piece not in pcap
                assert piece.hex() not in log.replace("_", "")
                text = secret[at : at + 7]  # fewer digits stand by chance among the octets that a log shows in hex
                if len(text) == 7 and text.isascii() and text.decode().isprintable():
                    assert text.decode() not in log


@pytest.mark.parametrize("hdlc", [None, HdlcSpec(), HdlcSpec(address_size=4, physical_device=17, max_info=40)])
@pytest.mark.parametrize("security", ["none", "lls", "hls-sha256", "hls-gmac"])
async def test_a_session_is_readable_and_a_capture(security: Any, hdlc: HdlcSpec | None, tmp_path: Path) -> None:
    async with Simulator(Population.build(1, security=security, hdlc=hdlc)) as simulator:
        (document,) = simulator.device_records()
        tracer, listening = Always(tmp_path), Listening()
        outcome = await run(meter_of(document), tracer, connector=listening)
        assert outcome.how is How.DONE, outcome.detail
        log, pcap = tracer.log(), tracer.pcap()
        sent = sent_in(pcap)
        really = b"".join(listening.sent)
        assert len(sent) == len(really)
        if security in ("none", "hls-gmac"):
            assert sent == really
        for part in ("AARQ", "AARE", "accepted (0)", "class 8 0.0.1.0.0.255 attribute 2", "RLRQ", "RLRE"):
            assert part in log
        assert "not readable" not in log
        assert re.search(r"connected: 127\.0\.0\.1:\d+ > 127\.0\.0\.1:\d+", log)
        assert log.rstrip().endswith("the session ended: DONE")
        assert ("ciphered" not in log) or ("glo-" in log)
        if security == "hls-gmac":
            assert "glo-get-request" in log  # and what is inside, as the keys are known
            assert "ciphered:" not in log
        if security != "none":
            assert_no_secret(tracer, secrets_of(document))
        keys = [Keys(*map(bytes.fromhex, pair)) for pair in _key_pairs(document)]
        said = list(CaptureReader(keys).read(io.BytesIO(pcap)))
        assert sum(each.frame.faults for each in said) == 0


def _key_pairs(document: dict[str, Any]) -> list[tuple[str, str]]:
    management = document["associations"]["management"]
    if "encryptionKey" not in management:
        return []
    return [(management["encryptionKey"], management["authenticationKey"])]


@pytest.mark.parametrize("hdlc", [None, HdlcSpec(max_info=32)])
@pytest.mark.parametrize("protection", ["none", "authenticated"])
async def test_secrets_that_are_written_or_read_in_the_clear(
    protection: Any, hdlc: HdlcSpec | None, tmp_path: Path
) -> None:
    """PPP authentication and the like are no object of the simulator: the requests are refused, and traced."""
    secret = b"T0PS3CRET-T0PS3CRET-T0PS3CRET-T0PS3CRET-T0PS3CRET"
    fleet = Population.build(1, security="none", protection=protection, hdlc=hdlc)
    async with Simulator(fleet) as simulator:
        (document,) = simulator.device_records()
        tracer = Always(tmp_path)
        value = {"tag": "octet-string", "value": secret.hex()}
        for name, raw in (
            ("SET", {"class": 44, "obis": "0.0.25.3.0.255", "attribute": 5, "value": value, "verify": False}),
            ("ACTION", {"class": 72, "obis": "0.1.24.1.0.255", "method": 8, "parameter": value}),
            ("GET", {"class": 44, "obis": "0.0.25.3.0.255", "attribute": 5}),
        ):
            outcome = await run(meter_of(document), tracer, name, raw)
            assert not outcome.succeeded
        assert_no_secret(tracer, [secret])
        for number in (0, 1) if protection == "none" else ():
            assert "a secret, not shown" in tracer.log(number)
        for number in range(3):
            said = list(CaptureReader().read(io.BytesIO(tracer.pcap(number))))
            assert sum(each.frame.faults for each in said) == 0


async def test_long_sessions_in_blocks_and_segments(tmp_path: Path) -> None:
    async with Simulator(Population.build(1, security="hls-gmac", hdlc=HdlcSpec(window=3), max_pdu=200)) as simulator:
        (document,) = simulator.device_records()
        tracer = Always(tmp_path)
        outcome = await run(meter_of(document), tracer, "SET_TOU", set_tou())
        assert outcome.succeeded, outcome.detail
        assert "not readable" not in tracer.log()
        assert "SetRequestFirstBlock" in tracer.log() or "SetRequestNormal" in tracer.log()
        assert_no_secret(tracer, secrets_of(document))


@pytest.mark.parametrize(
    ("faults", "part"),
    [
        ((NeverAnswer(),), "the session ended: Timeout"),
        ((DropConnection(after_sent=20),), "the meter"),
        ((Garbage(),), "not readable"),
        ((CutFrames(octets=3, pause=0.0),), "the session ended: DONE"),
        ((StaleCounter(silent=False),), "client 16"),
    ],
)
async def test_sessions_that_go_wrong(faults: Any, part: str, tmp_path: Path) -> None:
    async with Simulator(Population.build(1, security="hls-gmac")) as simulator:
        await simulator.set_faults("meter-0001", faults)
        (document,) = simulator.device_records()
        tracer = Always(tmp_path)
        by = driver(timeouts=Timeouts(connect=2.0, progress=0.5, session=5.0, release=0.2), tracer=tracer)
        await by.execute(command("READ_CLOCK"), meter_of(document), ScriptedCheckpoint())
        assert part in tracer.log()
        assert_no_secret(tracer, secrets_of(document))
        list(CaptureReader().read(io.BytesIO(tracer.pcap())))


async def test_a_full_or_broken_trace_ends_and_the_session_does_not(tmp_path: Path) -> None:
    async with Simulator(Population.build(1, security="none")) as simulator:
        (document,) = simulator.device_records()
        small = Always(tmp_path / "small", 8 * 600)
        assert (await run(meter_of(document), small)).how is How.DONE
        assert "the limit of 600 octets is reached" in small.log()
        assert len(small.pcap()) < 2000
        broken = Always(tmp_path / "broken")
        begin = broken.begin

        def closes(command: Command, meter: Meter, checkpoint: Checkpoint) -> SessionTrace | None:
            trace = begin(command, meter, checkpoint)
            assert trace is not None
            assert trace._files is not None
            trace._files.log.close()
            return trace

        broken.begin = closes  # type: ignore[method-assign]
        assert (await run(meter_of(document), broken)).how is How.DONE


@pytest.mark.parametrize(
    ("security", "options"),
    [
        ("hls-gmac", {"suite": 2, "dedicated": True}),
        ("hls-gmac", {"suite": 1, "general": True}),
        ("hls-ecdsa", {}),
        ("lls", {"protection": "authenticated"}),
    ],
)
async def test_every_suite_and_dedicated_keys(security: Any, options: dict[str, Any], tmp_path: Path) -> None:
    async with Simulator(Population.build(1, security=security, **options)) as simulator:
        (document,) = simulator.device_records()
        tracer = Always(tmp_path)
        outcome = await run(meter_of(document), tracer, "READ_ASSOCIATION")
        assert outcome.succeeded, outcome.detail
        log = tracer.log()
        assert "class 15 0.0.40.0.0.255 attribute 2" in log
        assert "ciphered:" not in log
        assert "not readable" not in log
        if options.get("dedicated"):
            assert "ded-get-request" in log
            assert "dedicated key: " in log
        if security != "hls-ecdsa":  # which has no secret but the private key, and that goes nowhere
            assert_no_secret(tracer, secrets_of(document))


@pytest.mark.parametrize("hdlc", [None, HdlcSpec(window=3)])
async def test_general_blocks(hdlc: HdlcSpec | None, tmp_path: Path) -> None:
    fleet = Population.build(1, security="lls", hdlc=hdlc, max_pdu=150)
    conformance = (DEFAULT_CONFORMANCE | GENERAL_BLOCK_TRANSFER) & ~BLOCK_TRANSFERS
    fleet = Population((replace(fleet.meters[0], conformance=conformance),), ())
    async with Simulator(fleet) as simulator:
        (document,) = simulator.device_records()
        tracer = Always(tmp_path)
        outcome = await run(meter_of(document), tracer, "SET_TOU", set_tou())
        assert outcome.succeeded, outcome.detail
        log = tracer.log()
        assert "general-block-transfer" in log
        assert "class 20 0.0.13.0.0.255 attribute 7" in log
        assert "not readable" not in log
        assert_no_secret(tracer, secrets_of(document))
        said = list(CaptureReader().read(io.BytesIO(tracer.pcap())))
        assert sum(each.frame.faults for each in said) == 0
