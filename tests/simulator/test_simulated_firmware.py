"""The image transfer of a simulated meter: it assembles, verifies, activates and reboots."""

import random

import pytest
from tests.simulator.harness import Bench, associated

from metercast.dlms.action import ActionRequestNormal
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, decode_whole
from metercast.dlms.get import GetRequestNormal
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.set import SetRequestNormal
from metercast.simulator.faults import LoseImageBlocks
from metercast.simulator.firmware import FirmwareSpec, make_image
from metercast.simulator.objects.base import name
from metercast.simulator.objects.image_transfer import ACTIVATION_SCHEDULE, IMAGE_TRANSFER

IMAGE = make_image("ACME", "SIM-2.0", 1000)
OK, TEMPORARY, DENIED, OTHER = 0, 2, 3, 250


def get(bench: Bench, index: int, class_id: int = 18, obis: LogicalName = IMAGE_TRANSFER) -> Data:
    answer = bench.ask(GetRequestNormal(0xC1, CosemAttribute(class_id, obis, index), None).encode())
    assert answer.startswith("c401c100"), answer
    return decode_whole(bytes.fromhex(answer[8:]))


def invoke(bench: Bench, index: int, parameter: Data) -> int:
    answer = bench.ask(ActionRequestNormal(0xC1, CosemMethod(18, IMAGE_TRANSFER, index), parameter).encode())
    return int(answer[6:8], 16)


def initiate(bench: Bench, image: bytes = IMAGE) -> int:
    return invoke(bench, 1, Data.structure([Data.octets(b"ACME"), Data.double_long_unsigned(len(image))]))


def block(bench: Bench, number: int, image: bytes = IMAGE, size: int = 128) -> int:
    octets = image[number * size : (number + 1) * size]
    return invoke(bench, 2, Data.structure([Data.double_long_unsigned(number), Data.octets(octets)]))


def meter(**firmware: object) -> Bench:
    return associated(firmware=FirmwareSpec(block_size=128, **firmware))  # type: ignore[arg-type]


def version(bench: Bench) -> bytes:
    return get(bench, 2, 1, name("1.0.0.2.0.255")).octet_string()


async def test_an_image_becomes_the_version_that_stands_in_it() -> None:
    bench = meter(reboot_seconds=30.0)
    assert (get(bench, 2), get(bench, 6)) == (Data.double_long_unsigned(128), Data.enum(0))
    assert initiate(bench) == OK
    assert (get(bench, 3), get(bench, 4)) == (Data.bit_string("00000000"), Data.double_long_unsigned(0))
    numbers = list(range(8))
    random.Random(3).shuffle(numbers)  # in any order, and some twice
    for number in [*numbers, *numbers[:3]]:
        assert block(bench, number) == OK
    assert (get(bench, 3), get(bench, 4)) == (Data.bit_string("11111111"), Data.double_long_unsigned(8))
    assert get(bench, 7) == Data.array([])
    assert invoke(bench, 3, Data.integer(0)) == OK
    assert get(bench, 6) == Data.enum(3)
    (info,) = get(bench, 7).elements()
    assert info.elements(3)[:2] == [Data.double_long_unsigned(1000), Data.octets(b"ACME")]
    assert version(bench) == b"SIM-1.0"
    assert invoke(bench, 4, Data.integer(0)) == OK
    assert bench.meter.is_down
    assert get(bench, 6) == Data.enum(5)
    bench.true_time.now += 31
    assert (get(bench, 6), version(bench)) == (Data.enum(6), b"SIM-2.0")
    assert not bench.meter.is_down


async def test_a_verification_that_takes_its_time() -> None:
    bench = meter(verify_seconds=5.0)
    initiate(bench)
    for number in range(8):
        block(bench, number)
    for _ in range(2):
        assert invoke(bench, 3, Data.integer(0)) == TEMPORARY
        assert get(bench, 6) == Data.enum(2)
    assert invoke(bench, 4, Data.integer(0)) == OTHER
    bench.true_time.now += 6
    assert get(bench, 6) == Data.enum(3)
    assert invoke(bench, 3, Data.integer(0)) == OK


@pytest.mark.parametrize("damage", [0, 10, 500, 999])
async def test_a_damaged_image_is_not_verified(damage: int) -> None:
    image = bytearray(IMAGE)
    image[damage] ^= 1
    bench = meter()
    initiate(bench)
    for number in range(8):
        assert block(bench, number, bytes(image)) == OK
    assert invoke(bench, 3, Data.integer(0)) == OTHER
    assert get(bench, 6) == Data.enum(4)
    assert invoke(bench, 4, Data.integer(0)) == OTHER
    assert version(bench) == b"SIM-1.0"


async def test_initiate_wipes_what_was_received() -> None:
    bench = meter()
    initiate(bench)
    block(bench, 0)
    assert get(bench, 4) == Data.double_long_unsigned(1)
    initiate(bench)
    assert get(bench, 4) == Data.double_long_unsigned(0)


async def test_what_is_not_enabled_or_not_initiated_is_refused() -> None:
    bench = meter(enabled=False)
    assert block(bench, 0) == OTHER
    assert initiate(bench) == OTHER
    assert bench.ask(SetRequestNormal(0xC1, CosemAttribute(18, IMAGE_TRANSFER, 5), Data.boolean(True)).encode()) == (
        "c501c100"
    )
    assert initiate(bench) == OK
    assert block(bench, 8) == OTHER
    assert block(bench, 0, IMAGE[:100]) == OTHER  # not a whole block
    assert invoke(bench, 3, Data.integer(0)) == OTHER  # blocks are missing
    assert invoke(bench, 1, Data.integer(0)) == 12


async def test_a_block_that_is_acknowledged_and_forgotten() -> None:
    bench = meter()
    bench.meter.faults = (LoseImageBlocks(blocks=(2, 5)),)
    initiate(bench)
    for number in range(8):
        assert block(bench, number) == OK
    assert (get(bench, 3), get(bench, 4)) == (Data.bit_string("11011011"), Data.double_long_unsigned(2))
    assert (block(bench, 2), block(bench, 5)) == (OK, OK)
    assert get(bench, 4) == Data.double_long_unsigned(8)


async def test_a_planned_activation_comes_with_the_clock() -> None:
    bench = meter(reboot_seconds=0.0)
    initiate(bench)
    for number in range(8):
        block(bench, number)
    invoke(bench, 3, Data.integer(0))
    at = Data.array([Data.structure([Data.octets(bytes([15, 0, 0, 0])), Data.octets(bytes.fromhex("07ea0601ff"))])])
    attribute = CosemAttribute(22, ACTIVATION_SCHEDULE, 4)
    assert bench.ask(SetRequestNormal(0xC1, attribute, at).encode()) == "c501c100"
    (planned,) = get(bench, 4, 22, ACTIVATION_SCHEDULE).elements()
    assert planned.elements(2)[0] == Data.octets(bytes([15, 0, 0, 0]))
    assert version(bench) == b"SIM-1.0"
    bench.true_time.now += 3600  # from 14:00 to 15:00 in Amsterdam
    assert version(bench) == b"SIM-2.0"
    assert get(bench, 4, 22, ACTIVATION_SCHEDULE) == Data.array([])


def test_an_image_is_the_same_for_the_same_arguments() -> None:
    assert make_image("a", "1", 500) == make_image("a", "1", 500)
    assert make_image("a", "1", 500) != make_image("a", "1", 500, seed=2)
    assert len(make_image("a", "1", 500)) == 500
    with pytest.raises(ValueError, match="at least"):
        make_image("a", "1", 20)
