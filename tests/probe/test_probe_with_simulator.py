"""Probes of simulated meters in their shapes: what is found is what the meter is, and no meter is treated roughly."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.driver.support import execute, meter_of
from tests.probe.servers import answering

from metercast.domain.outcome import How
from metercast.driver.credentials import management_settings
from metercast.probe.report import Report
from metercast.probe.settings import Credentials
from metercast.profiles.collection import BUILT_IN, load_one
from metercast.profiles.files import parse_text
from metercast.profiles.model import GENERIC
from metercast.simulator.faults import DropConnection, NeverAnswer, RejectAssociation, StaleCounter
from metercast.simulator.log import AssociationAnswered, SessionOpened
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import BLOCK_TRANSFERS, DEFAULT_CONFORMANCE, GENERAL_BLOCK_TRANSFER, HdlcSpec

PATIENT: dict[str, Any] = {"timeout": 5.0}


def population(security: Any = "hls-gmac", **options: Any) -> Population:
    return Population.build(1, security=security, **options)


def with_spec(fleet: Population, **changes: Any) -> Population:
    return Population((replace(fleet.meters[0], **changes),), fleet.gateways)


def credentials(simulator: Simulator) -> Credentials:
    (document,) = simulator.device_records()
    return Credentials(settings=management_settings(meter_of(document), BUILT_IN.get(GENERIC)))


async def drives(simulator: Simulator, report: Report) -> None:
    """The drafted record, with the secrets put in, is one that commands run with."""
    assert report.draft is not None
    (document,) = simulator.device_records()
    device = msgspec.json.decode(msgspec.json.encode(report.draft.device))
    assert "password" not in str(device)
    assert "Key" not in str(device)
    device["associations"]["management"] = document["associations"]["management"]
    device["profile"] = "generic"
    outcome = await execute(meter_of(device))
    assert (outcome.how, outcome.error, outcome.detail) == (How.DONE, None, None)


@pytest.mark.parametrize("security", ["none", "lls", "hls-md5", "hls-sha256", "hls-gmac"])
async def test_wrapper(security: Any) -> None:
    async with Simulator(population(security), keep_events=True) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, **PATIENT)
        assert (report.line.framing, report.line.server_sap) == ("wrapper", 1)
        assert report.public.is_open
        assert report.public.released is True
        assert report.public.max_pdu_size == 1024
        assert "selective-access" in report.public.conformance
        assert report.identity.logical_device_name == simulator.meter("meter-0001").spec.logical_device_name
        assert report.identity.manufacturer == "MMM"
        assert [each.sap for each in report.logical_devices] == [1]
        assert report.clock is not None
        assert report.clock.sign == "standard"
        assert report.clock.difference_seconds is not None
        assert abs(report.clock.difference_seconds) < 60
        assert report.security.invocation_counters == {"0.0.43.1.0.255": 0}
        assert {each["class"] for each in report.objects} == {1, 8, 15, 17}
        assert report.notes == []
        assert report.draft is not None
        assert report.draft.device["profile"] == "generic"
        assert report.draft.profile.splitlines()[0] == 'extends = "generic"'
        await drives(simulator, report)


@pytest.mark.parametrize(
    "hdlc",
    [
        HdlcSpec(max_info=256, window=3),
        HdlcSpec(address_size=2, physical_device=17),
        HdlcSpec(address_size=2, physical_device=16),
        HdlcSpec(address_size=4, physical_device=17),
    ],
)
async def test_hdlc(hdlc: HdlcSpec) -> None:
    async with Simulator(population(hdlc=hdlc)) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, timeout=1.0)
        line = report.line
        assert (line.framing, line.address_size, line.physical_device) == (
            "hdlc",
            hdlc.address_size,
            hdlc.physical_device,
        )
        assert (line.transmit_size, line.transmit_window) == (hdlc.max_info, hdlc.window)
        assert report.public.is_open
        assert report.identity.logical_device_name
        assert report.draft is not None
        assert report.draft.device["connection"]["hdlc"]["transmitSize"] == hdlc.max_info
        await drives(simulator, report)


async def test_an_hdlc_address_of_its_own_is_found_where_it_is_told() -> None:
    hdlc = HdlcSpec(address_size=4, physical_device=5432)
    async with Simulator(population(hdlc=hdlc)) as simulator:
        _, port = simulator.endpoint("meter-0001")
        unknown = await answering(port, framing="hdlc")
        assert not unknown.is_meter
        assert "silent at 1, 1/17 in 2 octets" in unknown.notes[0]
        assert unknown.draft is None
        report = await answering(port, framing="hdlc", physical_devices=(5432,), timeout=1.0)
        assert (report.line.address_size, report.line.physical_device) == (4, 5432)


@pytest.mark.parametrize("security", ["lls", "hls-sha1", "hls-gmac"])
async def test_credentials_open_one_more_association(security: Any) -> None:
    async with Simulator(population(security), keep_events=True) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, credentials(simulator), **PATIENT)
        assert report.management is not None
        assert report.management.is_open
        assert report.identity.serial_number == simulator.meter("meter-0001").spec.serial
        assert report.identity.firmware
        assert report.objects_client_sap == 1
        assert len(report.objects) > 40
        assert report.security.suite == 0
        assert report.security.associations[0].mechanism == security
        if security == "hls-gmac":
            assert report.identity.system_title == simulator.meter("meter-0001").spec.system_title.hex().upper()
        asked = [event.client_sap for event in simulator.events if isinstance(event, AssociationAnswered)]
        assert asked == [16, 16, 1]


async def test_nothing_but_gets_is_sent_and_one_connection_at_a_time() -> None:
    async with Simulator(population(), keep_events=True) as simulator:
        _, port = simulator.endpoint("meter-0001")
        await answering(port, credentials(simulator), **PATIENT)
        opened = [event for event in simulator.events if isinstance(event, SessionOpened)]
        assert [event.concurrent for event in opened] == [1, 1, 1]
        services = {event.service for event in simulator.events if hasattr(event, "service")}
        assert services == {"get"}


async def test_no_public_client() -> None:
    async with Simulator(with_spec(population(), has_public_client=False)) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, **PATIENT)
        assert report.is_meter
        assert report.public.answer == "rejected-permanent (1), calling-ap-title-not-recognized (3)"
        assert report.reads == []
        assert report.draft is not None
        known = credentials(simulator)
        refused = await answering(port, known, **PATIENT)
        assert refused.management is not None
        assert refused.management.answer is not None
        assert "invocation counter can't be read" in refused.management.answer
        told = msgspec.structs.replace(known, next_counter=1)
        report = await answering(port, told, **PATIENT)
        assert report.management is not None
        assert report.management.is_open
        assert report.identity.logical_device_name


@pytest.mark.parametrize("security", ["lls", "hls-gmac"])
async def test_wrong_credentials_are_tried_once(security: Any) -> None:
    async with Simulator(population(security), keep_events=True) as simulator:
        _, port = simulator.endpoint("meter-0001")
        known = credentials(simulator)
        changed = msgspec.structs.replace(
            known.settings,
            password=b"wrong-password" if known.settings.password else None,
            encryption_key=bytes(16) if known.settings.encryption_key else None,
        )
        report = await answering(port, Credentials(settings=changed), **PATIENT)
        assert report.public.is_open
        assert report.management is not None
        assert not report.management.is_open
        asked = [event.client_sap for event in simulator.events if isinstance(event, AssociationAnswered)]
        assert asked.count(1) <= 1
        assert "wrong-password" not in str(msgspec.to_builtins(report))


async def test_a_counter_that_moved_on_is_read_first() -> None:
    fleet = population()
    async with Simulator(fleet) as simulator:
        await simulator.set_faults("meter-0001", (StaleCounter(ahead=5000),))
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, credentials(simulator), **PATIENT)
        assert report.management is not None
        assert report.management.answer == "accepted"


async def test_the_first_meter_behind_a_gateway_is_found_by_its_usual_number() -> None:
    async with Simulator(Population.build(2, security="none", gateway=2)) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, **PATIENT)
        assert report.line.server_sap == 16
        assert report.identity.logical_device_name == simulator.meter("meter-0001").spec.logical_device_name


async def test_a_meter_that_says_that_the_server_is_another() -> None:
    async with Simulator(with_spec(population("none"), server_sap=17)) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, **PATIENT)
        assert report.line.server_sap == 17
        assert report.public.is_open
        alone = await answering(port, servers=(1,), **PATIENT)
        assert alone.line.server_sap == 1
        assert alone.public.answer == "rejected-permanent (1), 7"


async def test_meters_behind_a_gateway_answer_at_their_own_server() -> None:
    async with Simulator(Population.build(2, security="none", gateway=2)) as simulator:
        _, port = simulator.endpoint("meter-0002")
        report = await answering(port, servers=(17,), **PATIENT)
        assert report.line.server_sap == 17
        assert report.identity.logical_device_name == simulator.meter("meter-0002").spec.logical_device_name


@pytest.mark.parametrize(
    ("faults", "part"),
    [
        ((NeverAnswer(),), "silent"),
        ((RejectAssociation(result="transient", diagnostic=1),), "rejected-transient"),
        ((DropConnection(after_sent=60),), "closed"),
    ],
)
async def test_meters_that_do_not_talk(faults: Any, part: str) -> None:
    async with Simulator(population("none")) as simulator:
        await simulator.set_faults("meter-0001", faults)
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port)
        assert part in " ".join([report.public.answer or "", *report.notes])
        assert not report.public.is_open or report.identity.logical_device_name is None


async def test_the_draft_of_a_profile_loads() -> None:
    async with Simulator(with_spec(population("none"), conformance=0x001019)) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, **PATIENT)
        assert report.draft is not None
        loaded = load_one(parse_text(report.draft.profile, report.draft.profile_name, "draft"))
        assert not loaded.profile.buffers.by_range
        assert report.draft.device["profile"] == "mmm-meter"


@pytest.mark.parametrize("hdlc", [None, HdlcSpec(window=2)])
async def test_long_answers_in_general_blocks(hdlc: HdlcSpec | None) -> None:
    fleet = population("lls", hdlc=hdlc)
    conformance = (DEFAULT_CONFORMANCE | GENERAL_BLOCK_TRANSFER) & ~BLOCK_TRANSFERS
    async with Simulator(with_spec(fleet, conformance=conformance, max_pdu=150)) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, credentials(simulator), **PATIENT)
        assert "general-block-transfer" in report.public.conformance
        assert report.management is not None
        assert report.management.is_open
        assert len(report.objects) > 40
        assert [note for note in report.notes if "over" in note] == []


@pytest.mark.parametrize(
    ("security", "options"),
    [
        ("hls-gmac", {"suite": 2, "dedicated": True}),
        ("hls-gmac", {"suite": 1, "general": True}),
        ("hls-ecdsa", {}),
        ("lls", {"protection": "authenticated", "dedicated": True, "general": True}),
    ],
)
async def test_every_kind_of_credentials(security: Any, options: dict[str, Any]) -> None:
    async with Simulator(population(security, **options)) as simulator:
        _, port = simulator.endpoint("meter-0001")
        report = await answering(port, credentials(simulator), **PATIENT)
        assert report.management is not None
        assert report.management.answer == "accepted"
        assert len(report.objects) > 40
