"""Octets to throw at parsers: random ones, and good ones that were changed."""

from random import Random
from typing import Final

from tests.dlms.test_dlms_rubbish import GOOD

from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame
from metercast.dlms.hdlc_parameters import HdlcParameters
from metercast.dlms.wrapper import encode_wrapper

_GOLDEN: Final = [
    # catalogue 0.1, and services with lists, blocks, pushes and general forms
    "c101c1001400000d0000ff070001010203090131090cffff0401ff000000ff8000ff090131",
    "c101c1001400000d0000ff080001010208090131110111011101110111011102110200",
    "c101c1001400000d0000ff090001010202110101010203090407000000090600000a0064ff120001",
    "c001c100070100630100ff0201010204020412000809060000010000ff0f02120000090c07ea0901ff000000008000ff090c07ea0902ff"
    "000000008000ff0100",
    "c001c100070100630100ff02010202040600000001060000000a120001120000",
    "c003c10200030100010800ff020000030100020800ff0200",
    "c403c1020006000003e801" + "04",
    "c402c101000000010009" + "0102030405060708",
    "c102c1001400000d0000ff0800010000000100050102030405",
    "c103c1000000000201" + "0102",
    "c301c1004000002b0000ff020101010202160009181fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
    "c701c100010009104142434445464748494a4b4c4d4e4f50",
    "0f00000001000202060000007b1105",
    "0f000000010c07ea0911040c0f06ff000000" + "0202060000007b1105",
    "c2000008000001" + "0000ff0209" + "0c07ea0911040c0f06ff000000",
    "d9200000010002" + "010008000001" + "0000ff0202" + "0000",
    "da2000000100" + "00" + "0101" + "0001",
    "e0c1000100000ac401c1000602000001",
    "dc084d4d4d0000bc614e1e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b",
    "dd0801020304050607080841424344454647480000001e30012345670102030405060708",
    # Data alone: an object list, an association's rights, a compact array, floats, deltas, deep arrays
    "01010204120008110009060000010000ff0202010203" + "0f011601000f0216030" + "00f031601000101" + "02020f011601",
    "130202110612000c" + "0e0102030405060708090a0b0c0d0e0f",
    "02031740490fdb" + "18400921fb54442d18" + "041a0aabcdef",
    "0202" + "1c01" + "1f02",
    "0101010101010101010100",
    "02030f00161e" + "090c07ea0911040c0f06ff000000",
    "010302031200011200021200030203120001120002120003" + "0000" + "00",
]
_FRAMES: Final = [
    HdlcFrame(b"\x03", HdlcAddress(1, 17, 2).encode(), FrameKind.UNNUMBERED_ACKNOWLEDGE, HdlcParameters(256).encode()),
    HdlcFrame(b"\x03", HdlcAddress(1, 17, 2).encode(), FrameKind.INFORMATION, b"\xe6\xe7\x00\xc4\x01\xc1\x00\x11\x07"),
    HdlcFrame(b"\x03", HdlcAddress(1, 17, 2).encode(), FrameKind.RECEIVE_READY, receive_number=1),
    HdlcFrame(b"\x03", HdlcAddress(1, 17, 2).encode(), FrameKind.INFORMATION, b"\xe6\xe7\x00\xc4", segmented=True),
    HdlcFrame(HdlcAddress(1, 17, 2).encode(), b"\x03", FrameKind.SET_NORMAL_RESPONSE_MODE),
    HdlcFrame(HdlcAddress(1, 17, 2).encode(), b"\x03", FrameKind.INFORMATION, b"\xe6\xe6\x00" + GOOD[0]),
    HdlcFrame(HdlcAddress(1, 17, 2).encode(), b"\x03", FrameKind.DISCONNECT),
]


def _even(text: str) -> bytes:
    return bytes.fromhex(text if len(text) % 2 == 0 else text[:-1])


APDUS: Final[list[bytes]] = [*GOOD, *(_even(each) for each in _GOLDEN)]
FRAMES: Final[list[bytes]] = [
    *(frame.encode() for frame in _FRAMES),
    *(encode_wrapper(1, 1, apdu) for apdu in APDUS[:6]),
]
_TELLING: Final = bytes((0x00, 0x01, 0x02, 0x7E, 0x7F, 0x80, 0x81, 0x82, 0x83, 0x84, 0x88, 0xA0, 0xFE, 0xFF))
_MOST: Final = 64 * 1024


def some(random: Random, seeds: list[bytes]) -> bytes:
    """At most 64 KiB; one in eight owes nothing to a seed."""
    if not seeds or random.random() < 0.125:
        return random.randbytes(random.choice((1, 4, 16, 64, 300)))
    octets = bytearray(random.choice(seeds))
    for _ in range(random.choice((0, 1, 1, 2, 2, 3, 5, 9))):
        _change(random, octets, seeds)
    return bytes(octets[:_MOST])


def _change(random: Random, octets: bytearray, seeds: list[bytes]) -> None:
    at = random.randrange(len(octets) + 1)
    end = at + random.randrange(1, 9)
    match random.randrange(9):
        case 0:
            octets[at : at + 1] = bytes((random.randrange(256),))
        case 1:
            octets[at : at + 1] = bytes((random.choice(_TELLING),))
        case 2 if at < len(octets):
            octets[at] ^= 1 << random.randrange(8)
        case 3:
            del octets[at:end]
        case 4:
            octets[at:at] = random.randbytes(end - at)
        case 5:
            octets[at:at] = octets[at:end] * random.choice((1, 2, 30, 1000))
        case 6:
            del octets[at:]
        case 7:
            other = random.choice(seeds)
            octets[at:end] = other[random.randrange(len(other) + 1) :]
        case _:
            octets[at : at + 4] = random.choice((b"\xff\xff\xff\xff", b"\x84\x7f\xff\xff\xff", b"\x00\x00\x00\x00"))
