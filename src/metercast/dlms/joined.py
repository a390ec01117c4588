"""General-block-transfer put together by a reader of a trace, who sees one direction's blocks in any order."""

from typing import Final

from metercast.dlms.general_block import GeneralBlock

MAX_OCTETS: Final = 1 << 20


class JoinedBlocks:
    """The blocks of one sender; a block with number 1 that differs from the one at hand begins another transfer."""

    def __init__(self) -> None:
        self._data: dict[int, bytes] = {}
        self._size = 0
        self._last: int | None = None

    def add(self, block: GeneralBlock) -> bytes | None:
        """The APDU once no block is missing; None until then."""
        if not block.data and not block.last:
            return None  # it only acknowledges
        if block.number == 1 and self._data.get(1, block.data) != block.data:
            self._clear()
        if block.number not in self._data and self._size + len(block.data) <= MAX_OCTETS:
            self._data[block.number] = block.data
            self._size += len(block.data)
        if block.last:
            self._last = block.number
        last = self._last
        if last is None or len(self._data) < last or any(number not in self._data for number in range(1, last + 1)):
            return None
        joined = b"".join(self._data[number] for number in range(1, last + 1))
        self._clear()
        return joined

    def _clear(self) -> None:
        self._data.clear()
        self._size = 0
        self._last = None
