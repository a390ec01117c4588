"""One APDU each way in general blocks: windows, acknowledgements, recovery of lost blocks (catalogue 1.16).

What the blocks carry is an APDU as it would go alone, protected already; the blocks themselves are plain.
"""

from typing import Final

from metercast.dlms.errors import DecodeError, RequestTooLong, TooLongError, UnexpectedAnswer
from metercast.dlms.general_block import MAX_NUMBER, GeneralBlock, decode_general_block, room_for_data

MAX_REPEATS: Final = 8
"""How often one place may be asked for again, and how many blocks in a row may be of no use."""


class BlockExchange:
    """One end of the exchange that belongs to one service: a request, an answer, or both, in blocks.

    `window` is how many blocks are taken at once, `limit` what those of one APDU may add up to in octets. Both sides
    count all the blocks they send from 1, acknowledgements too; a side that counts only those with data is understood.
    """

    def __init__(self, window: int, limit: int) -> None:
        self._window = window
        self._limit = limit
        self._outgoing = _Outgoing()
        self._incoming = _Incoming(window, limit)
        self._number = 0  # of the last acknowledgement sent, or of the last block before the outgoing ones
        self._useless = 0

    @property
    def is_sent(self) -> bool:
        """The last block of what was to be sent has gone out, or there was nothing."""
        return self._outgoing.is_sent

    @property
    def is_under_way(self) -> bool:
        """Blocks were sent or received, and no APDU came in whole: `again` has something to ask for."""
        return self._incoming.is_under_way or (self._outgoing.is_begun and not self._incoming.is_whole)

    def send(self, apdu: bytes, size: int, peer_window: int = 1) -> list[bytes]:
        """Begins to send; the first blocks, none longer than `size`. Without a word of the peer it takes one at once.

        RequestTooLong where so many blocks, or any at all, don't go.
        """
        self._outgoing = _Outgoing(apdu, room_for_data(size), self._number, self._outgoing.peer_window or peer_window)
        return self._next_window()

    def receive(self, apdu: bytes) -> tuple[list[bytes], bytes | None]:
        """(what to send for it, the APDU that it made whole). Neither: the other side goes on by itself.

        DecodeError, UnexpectedAnswer at a number that can't be, TooLongError above the limit.
        """
        block = decode_general_block(apdu)
        outgoing, whole = self._receive_data(block) if block.data else self._receive_acknowledgement(block)
        if whole == b"":
            raise DecodeError("general blocks that carry no APDU")
        return outgoing, whole

    def go_on(self) -> None:
        """The APDU that came whole was not the one that is waited for: another follows, and the numbers go on."""
        self._incoming.is_whole = False

    def again(self) -> list[bytes]:
        """What to send after a silence: it asks for what was lost. Never the end of an APDU: that could run twice."""
        incoming, outgoing = self._incoming, self._outgoing
        if incoming.is_under_way or (outgoing.is_begun and outgoing.is_sent and not incoming.is_whole):
            return [self._acknowledgement()]
        return [] if outgoing.is_sent else outgoing.window(self._window, incoming.received)[-1:]

    # -- steps -----------------------------------------------------------------------------------------------------

    def _receive_data(self, block: GeneralBlock) -> tuple[list[bytes], bytes | None]:
        if not self._outgoing.is_sent:
            raise UnexpectedAnswer(f"block {block.number} of an answer before the last block of the request")
        incoming = self._incoming
        self._outgoing.finish(max(1, block.window))
        if incoming.add(block):
            self._useless = 0
            if incoming.is_whole:
                return [], incoming.take()
        else:
            self._count_useless(f"block {block.number} comes again")
            if incoming.is_whole:
                return [], None
        if block.streaming and not (incoming.window_is_full and block.window):
            return [], None
        return [self._acknowledgement()], None

    def _receive_acknowledgement(self, block: GeneralBlock) -> tuple[list[bytes], bytes | None]:
        outgoing, incoming = self._outgoing, self._incoming
        if outgoing.is_acknowledged:
            if incoming.ends_with(block):
                return [], incoming.take()
            incoming.count(block)
            self._count_useless("an acknowledgement of nothing")
            return ([self._acknowledgement()] if incoming.is_under_way else []), None
        incoming.count(block)
        if outgoing.acknowledge(block.acknowledged):
            self._useless = 0
        else:
            self._count_useless(f"block {block.acknowledged + 1} is asked for again")
        outgoing.peer_window = max(1, block.window)
        return ([], None) if outgoing.is_acknowledged else (self._next_window(), None)

    def _next_window(self) -> list[bytes]:
        blocks = self._outgoing.window(self._window, self._incoming.received)
        self._number = self._outgoing.last_number
        return blocks

    def _acknowledgement(self) -> bytes:
        """Asks for the next window or, where blocks are missing in the last one, for just these."""
        self._number += 1
        incoming = self._incoming
        incoming.begin_window()
        return GeneralBlock(
            last=True,
            streaming=False,
            window=incoming.missing or self._window,
            number=min(self._number, MAX_NUMBER),
            acknowledged=incoming.received,
            data=b"",
        ).encode()

    def _count_useless(self, what: str) -> None:
        self._useless += 1
        if self._useless > MAX_REPEATS + self._window:
            raise UnexpectedAnswer(f"{what}, after {self._useless - 1} blocks of no use")


class _Outgoing:
    """What is sent; `peer_window` 0 until the peer told how much it takes."""

    def __init__(self, apdu: bytes = b"", room: int = 1, base: int = 0, peer_window: int = 0) -> None:
        if room < 1:
            raise RequestTooLong("the peer's maximum PDU size leaves no room for a block")
        self._apdu = apdu
        self._room = room
        self._base = base
        self._count = -(-len(apdu) // room)
        self._acknowledged = 0
        self._sent = 0
        self.peer_window = peer_window
        if base + self._count > MAX_NUMBER:
            raise RequestTooLong(f"{len(apdu)} octets make {self._count} blocks, more than there are numbers")

    @property
    def is_sent(self) -> bool:
        return self._sent >= self._count

    @property
    def is_begun(self) -> bool:
        return self._count > 0

    @property
    def is_acknowledged(self) -> bool:
        return self._acknowledged >= self._count

    @property
    def last_number(self) -> int:
        return self._base + self._sent

    def finish(self, peer_window: int) -> None:
        """The answer has begun: all that was sent has arrived."""
        self._acknowledged = self._count
        self.peer_window = peer_window

    def acknowledge(self, number: int) -> bool:
        """Whether it acknowledges more than before. UnexpectedAnswer where it goes back, or beyond what was sent."""
        count = number - self._base
        if not self._acknowledged <= count <= self._sent:
            sent = f"{self._base + self._acknowledged} to {self._base + self._sent}"
            raise UnexpectedAnswer(f"block {number} is acknowledged, where it may be {sent}")
        risen = count > self._acknowledged
        self._acknowledged = count
        return risen

    def window(self, own_window: int, received: int) -> list[bytes]:
        """The blocks behind the last one acknowledged, as many as the peer takes at once."""
        end = min(self._acknowledged + max(1, self.peer_window), self._count)
        self._sent = max(self._sent, end)
        return [
            GeneralBlock(
                last=place == self._count - 1,
                streaming=place < end - 1,
                window=own_window,
                number=self._base + place + 1,
                acknowledged=received,
                data=self._apdu[place * self._room : (place + 1) * self._room],
            ).encode()
            for place in range(self._acknowledged, end)
        ]


class _Incoming:
    """What is received; `received` is the number of the last block with none missing before it."""

    def __init__(self, window: int, limit: int) -> None:
        self._window = window
        self._limit = limit
        self._joined = bytearray()
        self._early: dict[int, GeneralBlock] = {}
        self._early_octets = 0
        self._in_window = 0
        self.received = 0
        self.is_whole = False

    @property
    def is_under_way(self) -> bool:
        return not self.is_whole and bool(self._joined or self._early)

    @property
    def window_is_full(self) -> bool:
        return self._in_window >= self._window

    @property
    def missing(self) -> int:
        """How many blocks are missing before the first one that came early; 0 where none did."""
        return min(self._early) - self.received - 1 if self._early else 0

    def begin_window(self) -> None:
        self._in_window = 0

    def count(self, block: GeneralBlock) -> None:
        """A block without data has a number too."""
        if not self.is_under_way and block.number == self.received + 1:
            self.received += 1

    def ends_with(self, block: GeneralBlock) -> bool:
        """A last block without data."""
        if not (block.last and self.is_under_way and block.number == self.received + 1):
            return False
        self.is_whole = True
        return True

    def add(self, block: GeneralBlock) -> bool:
        """False where it was there already."""
        number = block.number
        if number == 0:
            raise DecodeError("a block with number 0")
        if not self.is_under_way and not self.is_whole and number == 1:
            self.received = 0  # the other side counts only blocks with data
        self._in_window += 1
        if self.is_whole or number <= self.received or number in self._early:
            return False
        if number > self.received + self._window:
            raise UnexpectedAnswer(f"block {number} after block {self.received}, beyond the window of {self._window}")
        if len(self._joined) + self._early_octets + len(block.data) > self._limit:
            raise TooLongError(f"the blocks of one APDU exceed {self._limit} octets")
        self._early[number] = block
        self._early_octets += len(block.data)
        while (following := self._early.pop(self.received + 1, None)) is not None:
            self.received += 1
            self._early_octets -= len(following.data)
            self._joined += following.data
            if following.last:
                self.is_whole = True
                self._early.clear()
        return True

    def take(self) -> bytes:
        joined, self._joined = bytes(self._joined), bytearray()
        return joined
