"""The services an association offers (catalogue 2.3). Bit 0 of the standard is the highest of 24."""

from collections.abc import Iterable
from enum import IntFlag


def _bit(number: int) -> int:
    return 1 << (23 - number)


class Conformance(IntFlag):
    GENERAL_PROTECTION = _bit(1)
    GENERAL_BLOCK_TRANSFER = _bit(2)
    READ = _bit(3)
    WRITE = _bit(4)
    UNCONFIRMED_WRITE = _bit(5)
    DELTA_VALUE_ENCODING = _bit(6)
    ATTRIBUTE0_SET = _bit(8)
    PRIORITY_MANAGEMENT = _bit(9)
    ATTRIBUTE0_GET = _bit(10)
    BLOCK_TRANSFER_GET = _bit(11)
    BLOCK_TRANSFER_SET = _bit(12)
    BLOCK_TRANSFER_ACTION = _bit(13)
    MULTIPLE_REFERENCES = _bit(14)
    INFORMATION_REPORT = _bit(15)
    DATA_NOTIFICATION = _bit(16)
    ACCESS = _bit(17)
    PARAMETERIZED_ACCESS = _bit(18)
    GET = _bit(19)
    SET = _bit(20)
    SELECTIVE_ACCESS = _bit(21)
    EVENT_NOTIFICATION = _bit(22)
    ACTION = _bit(23)


CLIENT_DEFAULT = Conformance(
    Conformance.GENERAL_BLOCK_TRANSFER
    | Conformance.PRIORITY_MANAGEMENT
    | Conformance.BLOCK_TRANSFER_GET
    | Conformance.BLOCK_TRANSFER_SET
    | Conformance.BLOCK_TRANSFER_ACTION
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.ACCESS
    | Conformance.GET
    | Conformance.SET
    | Conformance.SELECTIVE_ACCESS
    | Conformance.ACTION
)
"""What this client proposes unless told otherwise."""


_NAMES = {name.lower().replace("_", "-"): bit.value for name, bit in Conformance.__members__.items()}


def bits(services: Iterable[str]) -> int:
    """The bits of those names, as in "block-transfer-get"; KeyError where one is unknown."""
    found = 0
    for name in services:
        found |= _NAMES[name]
    return found


def names(conformance: int) -> list[str]:
    """The names of the set bits, as in "block-transfer-get", in the standard's order."""
    return [name for name, bit in _NAMES.items() if conformance & bit]
