"""Numbered information between two HDLC stations: windows, segments, acknowledgement, repetition (catalogue 4.2).

Normal response mode: the station that has the turn sends its frames, the last with the poll/final bit, and waits for
those of the other. Both sides of a link are one of these; what a frame's loss costs is one more turn.
"""

from collections import deque
from typing import Final, NamedTuple

from metercast.dlms.errors import TooLongError, UnexpectedAnswer
from metercast.dlms.hdlc import FrameKind, HdlcFrame
from metercast.dlms.hdlc_parameters import HdlcParameters

_MODULUS: Final = 8
_MAX_REPEATS: Final = 8


class _Part(NamedTuple):
    info: bytes
    segmented: bool


class HdlcChannel:
    """`here` and `there` are the addresses as on the line; the client's side begins with the turn."""

    def __init__(
        self, here: bytes, there: bytes, parameters: HdlcParameters, max_message: int, *, has_turn: bool
    ) -> None:
        self._here = here
        self._there = there
        self._parameters = parameters
        self._max_message = max_message
        self._is_client = has_turn
        self._has_turn = has_turn
        self._waiting: deque[_Part] = deque()
        self._sent: deque[_Part] = deque()  # not yet acknowledged
        self._next_send = 0
        self._next_receive = 0
        self._repeats = 0
        self._owes_answer = False
        self._peer_is_busy = False
        self._received = bytearray()

    @property
    def has_turn(self) -> bool:
        return self._has_turn

    def send(self, message: bytes) -> None:
        size = self._parameters.transmit_size
        last = len(message) - size
        self._waiting.extend(_Part(message[at : at + size], at < last) for at in range(0, len(message), size))

    def take(self, frame: HdlcFrame) -> list[bytes]:
        """The messages that became whole. UnexpectedAnswer at a number that can't be, TooLongError at too much."""
        self._acknowledge(frame.receive_number)
        self._peer_is_busy = frame.kind is FrameKind.RECEIVE_NOT_READY
        messages: list[bytes] = []
        in_order = True
        if frame.kind is FrameKind.INFORMATION:
            in_order = frame.send_number == self._next_receive
            if in_order:
                self._next_receive = (self._next_receive + 1) % _MODULUS
                messages = self._append(frame)
        if frame.poll_final:
            self._has_turn = True
            self._repeat_unacknowledged()
            self._owes_answer = not self._is_client or not in_order or bool(self._received)
        elif frame.kind is FrameKind.REJECT:
            self._repeat_unacknowledged()
        return messages

    def outgoing(self) -> bytes:
        """What may be sent now; empty where the other has the turn or there is nothing to say."""
        if not self._has_turn:
            return b""
        frames = self._information_frames()
        if not frames and self._owes_answer:
            frames = [self._supervisory()]
        if not frames:
            return b""
        self._has_turn = self._owes_answer = False
        return b"".join(frame.encode() for frame in frames)

    def poll(self) -> bytes:
        """Asks the other to speak, whoever has the turn: for what was lost, or what was not ready."""
        self._has_turn = self._owes_answer = False
        return self._supervisory().encode()

    def _information_frames(self) -> list[HdlcFrame]:
        if self._peer_is_busy:
            return []
        frames: list[HdlcFrame] = []
        while self._waiting and len(self._sent) < self._parameters.transmit_window:
            part = self._waiting.popleft()
            self._sent.append(part)
            is_last = not self._waiting or len(self._sent) == self._parameters.transmit_window
            frames.append(
                HdlcFrame(
                    self._there,
                    self._here,
                    FrameKind.INFORMATION,
                    part.info,
                    self._next_send,
                    self._next_receive,
                    is_last,
                    part.segmented,
                )
            )
            self._next_send = (self._next_send + 1) % _MODULUS
        return frames

    def _supervisory(self) -> HdlcFrame:
        return HdlcFrame(self._there, self._here, FrameKind.RECEIVE_READY, receive_number=self._next_receive)

    def _acknowledge(self, number: int) -> None:
        count = (number - self._next_send + len(self._sent)) % _MODULUS
        if count > len(self._sent):
            raise UnexpectedAnswer(f"an HDLC frame acknowledges number {number}, which was not sent")
        if count:
            self._repeats = 0
        for _ in range(count):
            self._sent.popleft()

    def _repeat_unacknowledged(self) -> None:
        if not self._sent:
            return
        self._repeats += 1
        if self._repeats > _MAX_REPEATS:
            raise UnexpectedAnswer(f"an HDLC frame was not acknowledged after {_MAX_REPEATS} repetitions")
        self._next_send = (self._next_send - len(self._sent)) % _MODULUS
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()

    def _append(self, frame: HdlcFrame) -> list[bytes]:
        if len(self._received) + len(frame.info) > self._max_message:
            raise TooLongError(f"an HDLC message of more than {self._max_message} octets")
        self._received += frame.info
        if frame.segmented:
            return []
        message, self._received = bytes(self._received), bytearray()
        return [message]
