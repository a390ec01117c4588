"""FIRMWARE_UPDATE through real sessions: a new version really runs, whatever is lost on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.driver.images import Campaign, MemoryImages
from tests.driver.support import execute, meter_of

from metercast.commands.contract import StepFailed
from metercast.domain.meter import Meter
from metercast.domain.outcome import How, OutcomeKind
from metercast.domain.words import ErrorWord
from metercast.driver.images import ImageShelf
from metercast.driver.timeouts import Timeouts
from metercast.profiles.collection import Profiles
from metercast.simulator.faults import AccessError, DropConnection, LoseActionAnswer, LoseImageBlocks, TemporaryFailures
from metercast.simulator.firmware import Firmware, FirmwareSpec, TransferStatus, make_image
from metercast.simulator.log import SessionClosed
from metercast.simulator.meter import SimulatedMeter
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import HdlcSpec
from metercast.store.images import IMAGE_CHUNK

NAME, VERSION = "ACME-2.0", "SIM-2.0"
IMAGE = make_image(NAME, VERSION, 10_000)
PARAMETERS: dict[str, Any] = {"image": NAME, "version": VERSION, "rebootSeconds": 0}
BLOCKS = 20


@dataclass
class Bench:
    simulator: Simulator
    simulated: SimulatedMeter
    meter: Meter
    campaign: Campaign

    @property
    def firmware(self) -> Firmware:
        return self.simulated.state.firmware

    def anew(self, **changes: Any) -> Campaign:
        """Another command for the same meter."""
        return Campaign(self.meter, self.campaign.images, PARAMETERS | changes)


@asynccontextmanager
async def bench(
    image: bytes = IMAGE,
    parameters: dict[str, Any] | None = None,
    *,
    security: str = "hls-gmac",
    hdlc: HdlcSpec | None = None,
    **firmware: Any,
) -> AsyncIterator[Bench]:
    spec = FirmwareSpec(**{"block_size": 512, "reboot_seconds": 0.2} | firmware)
    options: dict[str, Any] = {"security": security, "clock_offset": 0.0, "firmware": spec, "hdlc": hdlc}
    population = Population.build(1, **options)
    async with Simulator(population, keep_events=True) as simulator:
        (document,) = simulator.device_records()
        meter = meter_of(document)
        campaign = Campaign(meter, MemoryImages({NAME: image}), PARAMETERS | (parameters or {}))
        yield Bench(simulator, simulator.meter(document["deviceId"]), meter, campaign)


@pytest.mark.parametrize("security", ["none", "hls-gmac"])
async def test_the_new_version_runs(security: str) -> None:
    async with bench(security=security, enabled=False) as b:
        first = await b.campaign.session()
        assert first.kind is OutcomeKind.CHECKPOINT, first.detail
        assert (first.progress["stage"], first.progress["isAcknowledged"]) == ("activation", True)
        outcome = await b.campaign.run()
        assert outcome.how is How.DONE
        assert outcome.result == {
            "image": {"name": NAME, "sha256": b.campaign.progress["sha256"], "size": len(IMAGE)},
            "versionBefore": "SIM-1.0",
            "version": VERSION,
            "blocksSent": BLOCKS,
            "activated": True,
        }
        assert (b.firmware.initiated, b.firmware.blocks, b.firmware.activated) == (1, BLOCKS, 1)
        again = await b.anew().session()
        assert (again.how, b.firmware.initiated) == (How.ALREADY_SO, 1)


async def test_an_image_by_its_hash() -> None:
    async with bench() as b:
        (image,) = await b.campaign.images.list_images()
        outcome = await b.anew(image=f"sha256:{image.sha256.upper()}", identifier=NAME).run()
        assert outcome.how is How.DONE
        missing = await b.anew(image="another", version="x").session()
        assert missing.error is ErrorWord.IMAGE_MISSING


async def test_blocks_larger_than_the_meter_takes_at_once_are_cut() -> None:
    async with bench(block_size=3000) as b:
        assert (await b.campaign.run()).how is How.DONE
        assert b.firmware.blocks == 4


async def test_blocks_over_hdlc() -> None:
    async with bench(hdlc=HdlcSpec(max_info=128)) as b:
        assert (await b.campaign.run()).how is How.DONE
        assert (b.firmware.initiated, b.firmware.blocks) == (1, BLOCKS)


async def test_a_session_that_is_asked_to_yields_and_the_next_goes_on() -> None:
    async with bench() as b:
        sent = 0

        def after_seven() -> bool:
            nonlocal sent
            sent += 1
            return sent % 7 == 0

        outcome = await b.campaign.session(yields=after_seven)
        assert (outcome.kind, outcome.may_be_left, outcome.delay_seconds) == (OutcomeKind.CHECKPOINT, True, 0.0)
        assert b.firmware.first_missing == outcome.progress["blocksSent"] == 7
        relay = await execute(b.meter, "DISCONNECT")
        assert relay.how is How.DONE
        await b.campaign.session(yields=after_seven)
        assert (await b.campaign.run()).how is How.DONE
        assert (b.firmware.initiated, b.firmware.blocks) == (1, BLOCKS)
        assert not b.simulated.state.relay.output


async def test_each_session_comes_a_block_further() -> None:
    async with bench() as b:
        for blocks in range(1, BLOCKS):
            await b.campaign.session(yields=lambda: True)
            assert b.firmware.first_missing == blocks
        assert (await b.campaign.run()).how is How.DONE
        assert (b.firmware.initiated, b.firmware.blocks) == (1, BLOCKS)


async def test_forgotten_blocks_are_sent_again() -> None:
    async with bench() as b:
        b.simulated.faults = (LoseImageBlocks(blocks=(0, 3, 4, BLOCKS - 1)),)
        assert (await b.campaign.run()).how is How.DONE
        assert (b.firmware.initiated, b.firmware.blocks) == (1, BLOCKS + 4)


async def test_a_block_that_the_meter_cannot_take_now_is_sent_again() -> None:
    async with bench() as b:
        b.simulated.faults = (LoseImageBlocks(busy=(0, 7)),)
        assert (await b.campaign.run()).how is How.DONE
        assert b.firmware.blocks == BLOCKS


@pytest.mark.parametrize("cut", range(1, 24, 2))
async def test_an_answer_is_lost_at_every_step(cut: int) -> None:
    """The connection breaks off behind so many octets of answers, once, wherever that is; the command goes on and the
    image is taken up once more only where no block of it had arrived."""
    async with bench() as b:
        b.simulated.faults = (DropConnection(after_sent=40 * cut, times=1),)
        outcome = await b.campaign.run()
        assert outcome.how is How.DONE
        assert (b.firmware.version, b.firmware.activated) == (VERSION, 1)
        assert b.firmware.initiated <= 2
        assert b.firmware.blocks <= BLOCKS + 2


@pytest.mark.parametrize("lost", [0, 1, 5, 9, 10, 11])
async def test_the_answer_to_an_action_is_lost_at_every_step(lost: int) -> None:
    """The meter does it, and nobody hears of it: initiate, each block, verify, activate."""
    async with bench(block_size=1024) as b:
        b.simulated.faults = (LoseActionAnswer(after=lost),)
        outcome = await b.campaign.run()
        assert outcome.how is How.DONE
        assert (b.firmware.version, b.firmware.activated) == (VERSION, 1)
        assert b.firmware.initiated == (2 if lost == 0 else 1)
        assert not b.campaign.outcomes[0].succeeded


async def test_a_meter_that_reboots_instead_of_answering() -> None:
    async with bench(answers_activation=False) as b:
        first = await b.campaign.session()
        assert first.kind is OutcomeKind.CHECKPOINT, first.detail
        assert first.progress["stage"] == "activation"
        assert "isAcknowledged" not in first.progress
        assert (await b.campaign.run()).how is How.DONE
        assert b.firmware.activated == 1


@pytest.mark.parametrize("before_the_end", range(20, 500, 80))
async def test_a_request_is_lost_at_the_last_steps(before_the_end: int) -> None:
    """Verify, what is to be activated, activate: the connection breaks off before the meter has all of the request."""
    async with bench() as b:
        await b.campaign.session()
        closed = await b.simulator.wait_for(lambda event: isinstance(event, SessionClosed))
        assert isinstance(closed, SessionClosed)
        received = closed.received
    async with bench() as b:
        b.simulated.faults = (DropConnection(after_received=received - before_the_end, times=1),)
        assert (await b.campaign.run()).how is How.DONE
        assert (b.firmware.initiated, b.firmware.activated) == (1, 1)


async def test_a_verification_in_progress_is_waited_for() -> None:
    async with bench(verify_seconds=2.5) as b:
        assert (await b.campaign.run()).how is How.DONE
    async with bench(verify_seconds=1.0) as b:
        blocks_done = False

        def once_sent() -> bool:
            nonlocal blocks_done
            blocks_done = b.firmware.status is TransferStatus.VERIFICATION_INITIATED
            return blocks_done

        outcome = await b.campaign.session(yields=once_sent)
        assert (outcome.kind, outcome.progress["stage"]) == (OutcomeKind.CHECKPOINT, "verification")
        assert outcome.delay_seconds == 10.0
        assert (await b.campaign.run()).how is How.DONE


async def test_a_verification_without_end_fails() -> None:
    async with bench(parameters={"maxVerifyMinutes": 0.001}, verify_seconds=60.0) as b:
        outcome = await b.campaign.session(yields=lambda: b.firmware.status is TransferStatus.VERIFICATION_INITIATED)
        if outcome.kind is OutcomeKind.CHECKPOINT:
            await asyncio.sleep(0.1)
            outcome = await b.campaign.session(yields=lambda: True)
        assert outcome.error is ErrorWord.VERIFICATION_FAILED
        assert "more than 0.001 minutes" in str(outcome.detail)


async def test_how_long_a_model_takes_is_said_by_its_profile(tmp_path: Path) -> None:
    rules = "[image]\nreboot_seconds = 7\nmax_verify_minutes = 0.001\n"
    (tmp_path / "acme.toml").write_text('extends = "generic"\n' + rules)

    def acme(b: Bench) -> Campaign:
        record = msgspec.structs.replace(b.meter.record, profile="acme")
        meter = msgspec.structs.replace(b.meter, record=record)
        return replace(b.campaign, profiles=Profiles.load(tmp_path), meter=meter)

    async with bench(verify_seconds=60.0) as b:
        campaign = acme(b)
        outcome = await campaign.session(yields=lambda: b.firmware.status is TransferStatus.VERIFICATION_INITIATED)
        if outcome.kind is OutcomeKind.CHECKPOINT:
            await asyncio.sleep(0.1)
            outcome = await campaign.session(yields=lambda: True)
        assert "more than 0.001 minutes" in str(outcome.detail)
    async with bench() as b:
        campaign = acme(b)
        del campaign.parameters["rebootSeconds"]
        outcome = await campaign.session()
        assert (outcome.kind, outcome.delay_seconds) == (OutcomeKind.CHECKPOINT, 7.0), outcome.detail


async def test_a_damaged_image_is_not_activated() -> None:
    image = bytearray(IMAGE)
    image[5000] ^= 1
    async with bench(bytes(image)) as b:
        outcome = await b.campaign.session()
        assert outcome.error is ErrorWord.VERIFICATION_FAILED
        assert "verification failed (4)" in str(outcome.detail)
        assert (b.firmware.version, b.firmware.activated) == ("SIM-1.0", 0)
        # A new command tries it from the beginning: the meter may have been to blame.
        assert (await b.anew().session()).error is ErrorWord.VERIFICATION_FAILED
        assert b.firmware.initiated == 2


async def test_blocks_of_another_image_are_found_out_and_the_image_is_sent_anew() -> None:
    """Somebody else has told the meter to take another image of the same size meanwhile."""
    async with bench() as b:
        b.campaign.images.noted = {}
        await b.campaign.session(yields=lambda: b.firmware.first_missing == 5)
        other = make_image("other", "SIM-9", len(IMAGE))
        b.firmware.initiate(b"other", len(other))
        for number in range(8):
            b.firmware.take(number, other[number * 512 : (number + 1) * 512])
        campaign = b.anew()  # which finds noted that the meter holds this image
        assert (await campaign.run()).how is How.DONE
        assert b.firmware.version == VERSION
        assert [each.progress.get("restarts") for each in campaign.outcomes if each.progress].count(1) >= 1


async def test_an_identification_that_is_not_the_one_sent_stops_it() -> None:
    async with bench(parameters={"identifier": "another"}) as b:
        outcome = await b.campaign.session()
        assert outcome.error is ErrorWord.VERIFICATION_FAILED
        assert "not activated" in str(outcome.detail)
        assert b.firmware.activated == 0
        signature = IMAGE[-32:].hex()
        wrong = await b.anew(signatureHex="00" * 32).session()
        assert wrong.error is ErrorWord.VERIFICATION_FAILED
        assert (await b.anew(signatureHex=signature).run()).how is How.DONE
        assert b.firmware.initiated == 1  # the verified image was still there


async def test_a_version_that_is_not_the_one_expected_fails() -> None:
    async with bench(parameters={"version": "SIM-3.0"}) as b:
        outcome = await b.campaign.run(lambda each: each.error is ErrorWord.VERIFICATION_FAILED)
        assert "the version is 'SIM-2.0'" in str(outcome.detail)


async def test_a_meter_that_refuses() -> None:
    async with bench() as b:
        refuses = AccessError(service="action", class_id=18, logical_name="0.0.44.0.0.255", index=1, result=3)
        b.simulated.faults = (refuses,)
        outcome = await b.campaign.session()
        assert outcome.error is ErrorWord.READ_WRITE_DENIED
        assert "method 1" in str(outcome.detail)
        assert b.firmware.blocks == 0


async def test_a_meter_that_can_do_nothing_now() -> None:
    async with bench() as b:
        b.simulated.faults = (TemporaryFailures(services=1),)
        outcome = await b.campaign.session()
        assert outcome.error is ErrorWord.TEMPORARY_FAILURE
        assert (await b.campaign.run()).how is How.DONE


async def test_manual_activation_leaves_the_image_and_a_later_command_activates_it() -> None:
    async with bench(parameters={"activation": {"mode": "manual"}}) as b:
        outcome = await b.campaign.session()
        assert (outcome.how, outcome.result["activated"]) == (How.DONE, False)
        assert outcome.result["toActivate"]["identification"] == NAME
        assert (b.firmware.status, b.firmware.version) == (TransferStatus.VERIFICATION_SUCCESSFUL, "SIM-1.0")
        assert (await b.anew().run()).how is How.DONE
        assert (b.firmware.initiated, b.firmware.blocks) == (1, BLOCKS)


async def test_a_timed_activation_is_planned_and_comes_true() -> None:
    at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    async with bench(parameters={"activation": {"mode": "at", "at": at.isoformat()}}) as b:
        outcome = await b.campaign.session()
        assert outcome.how is How.SCHEDULED, outcome.detail
        assert b.firmware.at == at.timestamp()
        again = await b.campaign.session()
        assert again.how is How.SCHEDULED
        assert outcome.result["activationTime"] == again.result["activationTime"]
        assert b.firmware.initiated == 1
        b.firmware.at = datetime.now(UTC).timestamp()
        with_error = await b.campaign.session()  # the meter reboots under it
        assert not with_error.succeeded
        await asyncio.sleep(0.3)
        assert (await b.campaign.session()).succeeded
        assert b.firmware.version == VERSION


async def test_a_slow_meter_is_waited_for_after_the_activation() -> None:
    async with bench(reboot_seconds=1.0) as b:
        await b.campaign.session()
        refused = await b.campaign.session()
        assert refused.error is ErrorWord.CONNECTION_REFUSED
        await asyncio.sleep(1.1)
        assert (await b.campaign.session()).how is How.DONE


async def test_what_is_noted_of_the_meter_is_written_now_and_then() -> None:
    async with bench() as b:
        await b.campaign.run()
        noted = [(each.blocks, each.total) for each in b.campaign.images.notes]
        assert noted == [(0, 0), (0, BLOCKS), (BLOCKS, BLOCKS)]


async def test_an_image_is_in_memory_once_for_all_meters() -> None:
    images = MemoryImages({NAME: bytes(IMAGE_CHUNK + 1), "small": b"octets"})
    shelf = ImageShelf(images, capacity=100)
    found = await asyncio.gather(*(shelf.get(NAME) for _ in range(50)))
    assert (images.read, len({id(each.octets) for each in found})) == (2, 1)
    await shelf.get("small")
    assert (await shelf.get("small")).octets == b"octets"
    assert images.read == 3
    await shelf.get(NAME)  # which had to leave
    assert images.read == 5
    damaged = MemoryImages({"damaged": b"octets"})
    (sha256,) = damaged.octets
    damaged.octets[sha256] = b"other"
    with pytest.raises(StepFailed, match="damaged"):
        await ImageShelf(damaged).get("damaged")


async def test_a_meter_that_falls_silent_after_the_initiate() -> None:
    async with bench() as b:
        b.campaign.timeouts = Timeouts(connect=5.0, progress=0.3, session=30.0, release=0.2)
        b.simulated.faults = (LoseActionAnswer(actions=1),)
        first = await b.campaign.session()
        assert not first.succeeded
        assert (await b.campaign.run()).how is How.DONE


async def test_the_version_that_runs_is_verified() -> None:
    async with bench(reboot_seconds=0.0) as b:
        read = await execute(b.meter, "VERIFY_FIRMWARE")
        assert read.result == {"version": "SIM-1.0", "imageTransfer": "not initiated (0)"}
        other = await execute(b.meter, "VERIFY_FIRMWARE", {"version": VERSION})
        assert (other.error, other.result) == (ErrorWord.VERIFICATION_FAILED, read.result)
        await b.campaign.run()
        assert (await execute(b.meter, "VERIFY_FIRMWARE", {"version": VERSION})).how is How.DONE
