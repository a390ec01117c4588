"""FIRMWARE_UPDATE against objects: what is asked for, in which order, and what is refused before anything is sent."""

from datetime import timedelta
from typing import Any

import pytest
from tests.commands.fake_session import NOW, FakeSession, run

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.firmware.image_object import version_text
from metercast.commands.registry import command_type, parse_parameters
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.domain.firmware import FirmwareImage, Transferred
from metercast.domain.outcome import How, OutcomeKind
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

IMAGE = FirmwareImage("image", "aa" * 32, bytes(range(250)) * 2)
TRANSFER, VERSION = "0.0.44.0.0.255", "1.0.0.2.0.255"
PARAMETERS: dict[str, Any] = {"image": "image", "version": "2.0"}


class ImageMeter(FakeSession):
    """An image transfer as the catalogue tells it, blocks of 100 octets."""

    def __init__(self, version: str = "1.0", status: int = 0, blocks: int = 0) -> None:
        super().__init__(
            {
                (1, VERSION, 2): Data.octets(version.encode()),
                (18, TRANSFER, 2): Data.double_long_unsigned(100),
                (18, TRANSFER, 5): Data.boolean(True),
            }
        )
        self.images = {"image": IMAGE}
        self.status = status
        self.received = set(range(blocks))
        self.identifier = b"image"
        self.tells_bits = True
        self.actions = {"18/1": self._initiate, "18/2": self._take, "18/3": self._verify, "18/4": self._activate}

    def value_of(self, attribute: CosemAttribute) -> Data:
        if attribute.class_id != 18 or attribute.index in (2, 5):
            return super().value_of(attribute)
        missing = [number for number in range(5) if number not in self.received]
        if attribute.index == 3:
            if not self.tells_bits:
                raise MeterRefused(ErrorWord.OBJECT_UNDEFINED, "attribute 3")
            return Data.bit_string([number in self.received for number in range(8)])
        if attribute.index == 4:
            return Data.double_long_unsigned(missing[0] if missing else 5)
        if attribute.index == 7:
            info = [Data.double_long_unsigned(500), Data.octets(self.identifier), Data.octets(b"sign")]
            return Data.array([Data.structure(info)])
        return Data.enum(self.status)

    def _initiate(self, parameter: Data | None) -> None:
        assert parameter is not None
        self.identifier = parameter.value[0].value
        self.status, self.received = 1, set()

    def _take(self, parameter: Data | None) -> None:
        assert parameter is not None
        number, octets = (each.value for each in parameter.value)
        assert octets == IMAGE.octets[number * 100 : (number + 1) * 100]
        self.received.add(number)

    def _verify(self, parameter: Data | None) -> None:
        self.status = 3

    def _activate(self, parameter: Data | None) -> None:
        self.status = 5


NOTED = Transferred(IMAGE.sha256, 0, 5)


async def test_the_steps_in_their_order() -> None:
    session = ImageMeter()
    outcome = await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert (outcome.kind, outcome.delay_seconds, outcome.may_be_left) == (OutcomeKind.CHECKPOINT, 60, False)
    assert session.log == [
        *("get 1/2", "get 18/6", "get 18/5", "get 18/2", "action 18/1", "get 18/6"),
        *["action 18/2"] * 5,
        *("get 18/4", "get 18/6", "action 18/3", "get 18/6", "get 18/7", "action 18/4"),
    ]
    # Before the initiate it is uncertain what the meter holds, and after it certain.
    assert session.notes == [Transferred(IMAGE.sha256), NOTED, Transferred(IMAGE.sha256, 5, 5)]


async def test_a_version_that_runs_is_all_that_is_read() -> None:
    session = ImageMeter("2.0")
    outcome = await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert (outcome.how, session.log) == (How.ALREADY_SO, ["get 1/2"])
    session.verify_first = True
    assert (await run(session, "FIRMWARE_UPDATE", PARAMETERS)).how is How.DONE


@pytest.mark.parametrize("tells_bits", [True, False])
async def test_only_missing_blocks_are_sent_where_the_meter_holds_this_image(tells_bits: bool) -> None:
    session = ImageMeter(status=1, blocks=3)
    session.received.add(4)
    session.tells_bits = tells_bits
    session.noted = NOTED
    await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert "action 18/1" not in session.log
    assert session.log.count("action 18/2") == (1 if tells_bits else 2)


@pytest.mark.parametrize(
    "noted", [None, Transferred("bb" * 32, 3, 5), Transferred(IMAGE.sha256), Transferred(IMAGE.sha256, 3, 9)]
)
async def test_what_is_not_known_to_be_this_image_is_initiated(noted: Transferred | None) -> None:
    session = ImageMeter(status=1, blocks=3)
    session.noted = noted
    await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert session.log.count("action 18/1") == 1
    assert session.log.count("action 18/2") == 5


async def test_a_verified_image_goes_straight_to_its_activation() -> None:
    session = ImageMeter(status=3, blocks=5)
    session.noted = NOTED
    await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert session.changes == ["action 18/4"]


@pytest.mark.parametrize(("status", "waits"), [(5, True), (3, True), (6, True), (7, False), (0, False)])
async def test_what_the_status_means_after_the_activation(status: int, waits: bool) -> None:
    session = ImageMeter(status=1)
    outcome = await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    session.progress, session.status = outcome.progress, status
    session.log.clear()
    if waits:
        again = await run(session, "FIRMWARE_UPDATE", PARAMETERS)
        assert (again.kind, again.progress["activations"]) == (OutcomeKind.CHECKPOINT, 1)
        session.clock += timedelta(minutes=31)
    with pytest.raises(StepFailed, match=r"after the activation, and the version is '1\.0'") as failed:
        await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert failed.value.error is ErrorWord.VERIFICATION_FAILED
    assert session.changes == []


async def test_a_lost_activation_is_sent_three_times_at_most() -> None:
    session = ImageMeter(status=3, blocks=5)
    session.noted = NOTED
    session.fail["action 18/4"] = StepFailed(ErrorWord.TIMEOUT, "no answer")
    for number in range(1, 4):
        outcome = await run(session, "FIRMWARE_UPDATE", PARAMETERS)
        session.progress = outcome.progress
        assert outcome.progress["activations"] == number
        session.status = 3
    again = await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert again.progress["activations"] == 3
    session.clock += timedelta(minutes=31)
    with pytest.raises(StepFailed, match="after the activation"):
        await run(session, "FIRMWARE_UPDATE", PARAMETERS)


async def test_the_activation_of_an_earlier_update_is_none_of_this_one() -> None:
    session = ImageMeter(status=6)
    session.verify_first = True
    session.noted = Transferred("bb" * 32, 9, 9)
    await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert "action 18/1" in session.log


async def test_an_image_that_is_not_verified_is_permanent() -> None:
    session = ImageMeter()
    session.actions["18/3"] = lambda parameter: setattr(session, "status", 4)
    with pytest.raises(StepFailed, match=r"verification failed \(4\)") as failed:
        await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert failed.value.error is ErrorWord.VERIFICATION_FAILED


@pytest.mark.parametrize("word", [ErrorWord.TIMEOUT, ErrorWord.CONNECTION_LOST, ErrorWord.INVOCATION_COUNTER_ERROR])
async def test_a_way_that_breaks_off_after_blocks_is_no_failed_attempt(word: ErrorWord) -> None:
    session = ImageMeter()
    session.fail["action 18/2"] = [None, None, StepFailed(word, "broke off")]
    outcome = await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert (outcome.kind, outcome.may_be_left, outcome.delay_seconds) == (OutcomeKind.CHECKPOINT, True, 15.0)
    assert outcome.progress["blocksSent"] == 2
    assert session.noted == Transferred(IMAGE.sha256, 2, 5)


async def test_before_the_first_block_it_is_one() -> None:
    session = ImageMeter()
    session.fail["action 18/2"] = StepFailed(ErrorWord.TIMEOUT, "no answer")
    with pytest.raises(StepFailed, match="no answer"):
        await run(session, "FIRMWARE_UPDATE", PARAMETERS)


async def test_blocks_are_noted_now_and_then() -> None:
    session = ImageMeter()
    session.latency = 4.0
    await run(session, "FIRMWARE_UPDATE", PARAMETERS)
    assert [each.blocks for each in session.notes] == [0, 0, 3, 5]


def test_a_timed_activation_is_followed_by_a_look_at_the_version() -> None:
    update = command_type("FIRMWARE_UPDATE")
    at = NOW + timedelta(days=1)
    raw = PARAMETERS | {"activation": {"mode": "at", "at": at.isoformat()}}
    found = update.follow_up_of(parse_parameters(update, raw, NOW))
    assert found is not None
    assert (found.due_at, found.command_type) == (at + timedelta(minutes=16), "VERIFY_FIRMWARE")
    parse_parameters(command_type(found.command_type), found.command_params, NOW)
    assert found.command_params["version"] == "2.0"
    assert update.follow_up_of(parse_parameters(update, PARAMETERS, NOW)) is None


BAD: list[tuple[dict[str, Any], str]] = [
    ({"image": "a/b"}, "image"),
    ({"image": "sha256:12"}, "image"),
    ({"version": ""}, "version"),
    ({"identifier": "é"}, "identifier"),
    ({"identifierHex": "0"}, "identifierHex"),
    ({"identifier": "a", "identifierHex": "00"}, "identifierHex"),
    ({"activation": {"mode": "at"}}, "activation.at"),
    ({"activation": {"mode": "at", "at": (NOW - timedelta(1)).isoformat()}}, "activation.at"),
    ({"activation": {"mode": "manual", "at": (NOW + timedelta(1)).isoformat()}}, "activation.at"),
    ({"activation": {"mode": "none"}}, "activation.mode"),
    ({"rebootSeconds": -1}, "rebootSeconds"),
    ({"versionObis": "1.0.0.2.0.256"}, "versionObis"),
    ({"scheduleObis": "x"}, "scheduleObis"),
]


@pytest.mark.parametrize(("changes", "path"), BAD)
def test_wrong_parameters(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_parameters(command_type("FIRMWARE_UPDATE"), PARAMETERS | changes, NOW)
    assert caught.value.path == f"commandParams.{path}"


def test_which_image_stored_parameters_name() -> None:
    update = command_type("FIRMWARE_UPDATE")
    assert update.image_named(PARAMETERS) == "image"
    assert update.image_named({"image": 7}) is None
    assert command_type("READ_CLOCK").image_named(None) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (Data.octets(b"2.0"), "2.0"),
        (Data.octets(b"2.0\0\0"), "2.0"),
        (Data.octets(b"\x02\x00\x01"), "020001"),
        (Data.visible_string("V2 "), "V2"),
        (Data.utf8_string("ü2"), "ü2"),
    ],
)
def test_versions_as_meters_tell_them(data: Data, text: str) -> None:
    assert version_text(data) == text
