"""The image transfer of a meter (class 18, catalogue 1.10), as commands use it."""

from enum import IntEnum
from typing import Any, NamedTuple

from metercast.commands.contract import MeterRefused, MeterSession
from metercast.commands.steps import read
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, Tag
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName

CLASS_ID = 18
BLOCK_SIZE, BLOCKS_STATUS, FIRST_MISSING, ENABLED, STATUS, TO_ACTIVATE = 2, 3, 4, 5, 6, 7
INITIATE, TRANSFER_BLOCK, VERIFY, ACTIVATE = 1, 2, 3, 4
MAX_BLOCK = 1 << 20


class TransferStatus(IntEnum):
    NOT_INITIATED = 0
    INITIATED = 1
    VERIFICATION_INITIATED = 2
    VERIFICATION_SUCCESSFUL = 3
    VERIFICATION_FAILED = 4
    ACTIVATION_INITIATED = 5
    ACTIVATION_SUCCESSFUL = 6
    ACTIVATION_FAILED = 7

    @property
    def label(self) -> str:
        return f"{self.name.lower().replace('_', ' ')} ({self.value})"


class ImageInfo(NamedTuple):
    """One entry of attribute 7: what the meter says that it will activate."""

    size: int
    identification: bytes
    signature: bytes

    def to_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "identification": octets_text(self.identification),
            "signature": self.signature.hex().upper(),
        }


class ImageObject(NamedTuple):
    logical_name: LogicalName

    def attribute(self, index: int) -> CosemAttribute:
        return CosemAttribute(CLASS_ID, self.logical_name, index)

    def method(self, index: int) -> CosemMethod:
        return CosemMethod(CLASS_ID, self.logical_name, index)

    async def status(self, session: MeterSession) -> TransferStatus:
        return await read(session, self.attribute(STATUS), lambda data: TransferStatus(data.number()))

    async def block_size(self, session: MeterSession) -> int:
        return await read(session, self.attribute(BLOCK_SIZE), _block_size)

    async def first_missing(self, session: MeterSession) -> int:
        """The number of blocks, or more, where none is missing."""
        return await read(session, self.attribute(FIRST_MISSING), Data.number)

    async def missing(self, session: MeterSession, total: int) -> list[int] | None:
        """The numbers of the missing blocks; None where the meter does not tell."""
        try:
            bits = await read(session, self.attribute(BLOCKS_STATUS), _bits)
        except MeterRefused:
            return None
        # A meter may tell of more blocks than the image has; of fewer it tells nothing.
        if len(bits) < total:
            return None
        return [number for number, bit in enumerate(bits[:total]) if bit == "0"]

    async def enable(self, session: MeterSession) -> None:
        """Unless it is enabled."""
        if not await read(session, self.attribute(ENABLED), Data.truth):
            await session.set(self.attribute(ENABLED), Data.boolean(True))

    async def initiate(self, session: MeterSession, identifier: bytes, size: int) -> None:
        """All blocks of an earlier image are lost."""
        parameter = Data.structure([Data.octets(identifier), Data.double_long_unsigned(size)])
        await session.action(self.method(INITIATE), parameter)

    async def transfer(self, session: MeterSession, number: int, octets: bytes) -> None:
        parameter = Data.structure([Data.double_long_unsigned(number), Data.octets(octets)])
        await session.action(self.method(TRANSFER_BLOCK), parameter)

    async def verify(self, session: MeterSession) -> None:
        await session.action(self.method(VERIFY), Data.integer(0))

    async def activate(self, session: MeterSession) -> None:
        await session.action(self.method(ACTIVATE), Data.integer(0))

    async def to_activate(self, session: MeterSession) -> list[ImageInfo]:
        return await read(session, self.attribute(TO_ACTIVATE), _infos)


def version_text(data: Data) -> str:
    """The version that an object of class 1 tells: its text, or the octets in hex where they are none."""
    if data.tag in (Tag.VISIBLE_STRING, Tag.UTF8_STRING) and isinstance(data.value, str):
        return data.value.strip("\0 ")
    return octets_text(data.octet_string().rstrip(b"\0 "))


def octets_text(octets: bytes) -> str:
    """Printable ASCII as it is, else hex."""
    text = octets.decode("ascii", "replace")
    return text if text.isascii() and text.isprintable() else octets.hex().upper()


def _block_size(data: Data) -> int:
    size = data.number()
    if not 1 <= size <= MAX_BLOCK:
        raise DecodeError(f"a block size of {size} octets")
    return size


def _bits(data: Data) -> str:
    if data.tag is not Tag.BIT_STRING:
        raise DecodeError(f"a bit-string was expected, not {data.tag.label}")
    bits: str = data.value.bits
    return bits


def _infos(data: Data) -> list[ImageInfo]:
    entries = [each.elements(3) for each in data.elements()]
    return [ImageInfo(size.number(), name.octet_string(), sign.octet_string()) for size, name, sign in entries]
