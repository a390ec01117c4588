"""A value that travels in blocks, one way or the other; block numbers begin with 1."""

from metercast.dlms.blocks import Block

MAX_TRANSFER = 65_536
MIN_BLOCK = 1


class BlockNumberInvalid(Exception):
    """Not the number that follows."""


class Outgoing:
    """`number` is that of the last block given out, 0 before the first."""

    __slots__ = ("_offset", "_raw", "number")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._offset = 0
        self.number = 0

    def next(self, size: int) -> Block:
        """The next block of at most `size` octets, at least one."""
        end = self._offset + max(MIN_BLOCK, size)
        raw = self._raw[self._offset : end]
        self._offset = end
        self.number += 1
        return Block(end >= len(self._raw), self.number, raw)


class Incoming:
    __slots__ = ("_number", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._number = 0

    def take(self, block: Block) -> bytes | None:
        """The whole value after its last block, else None.

        Raises BlockNumberInvalid, and OverflowError where the value gets larger than a meter keeps.
        """
        if block.number != self._number + 1:
            raise BlockNumberInvalid
        self._number = block.number
        self._size += len(block.raw)
        if self._size > MAX_TRANSFER or self._number > MAX_TRANSFER:
            raise OverflowError(f"more than {MAX_TRANSFER} octets")
        self._parts.append(block.raw)
        return b"".join(self._parts) if block.last else None
