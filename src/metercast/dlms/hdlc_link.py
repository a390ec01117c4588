"""The client's HDLC link: SNRM and UA, APDUs behind their LLC octets in numbered frames, DISC (catalogue 4.2)."""

from enum import Enum, auto
from typing import Final

from metercast.dlms.errors import DecodeError, EncodeError, LinkRefused, LocalProtocolError
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame, HdlcReader
from metercast.dlms.hdlc_channel import HdlcChannel
from metercast.dlms.hdlc_parameters import DEFAULT_PARAMETERS, HdlcParameters, decode_parameters
from metercast.dlms.wrapper import MAX_APDU

LLC_REQUEST: Final = b"\xe6\xe6\x00"
LLC_RESPONSE: Final = b"\xe6\xe7\x00"
_NUMBERED: Final = frozenset(
    {FrameKind.INFORMATION, FrameKind.RECEIVE_READY, FrameKind.RECEIVE_NOT_READY, FrameKind.REJECT}
)


class _State(Enum):
    CLOSED = auto()
    CONNECTING = auto()  # SNRM sent
    OPEN = auto()
    REFUSED = auto()  # FRMR came: only DISC is left
    CLOSING = auto()  # DISC sent


class HdlcLink:
    """Implements link.Link. Frames for or from others, and those with a wrong check, are passed over."""

    def __init__(
        self,
        client_sap: int,
        server: HdlcAddress,
        parameters: HdlcParameters = DEFAULT_PARAMETERS,
        max_apdu: int = MAX_APDU,
    ) -> None:
        if not 0 <= client_sap < 1 << 7:
            raise EncodeError(f"client SAP {client_sap} does not fit an HDLC address of one octet")
        self._here = HdlcAddress(client_sap).encode()
        self._there = server.encode()
        self._proposed = parameters
        self._max_apdu = max_apdu
        self._reader = HdlcReader()
        self._state = _State.CLOSED
        self._channel: HdlcChannel | None = None
        self._again = b""

    @property
    def is_open(self) -> bool:
        return self._state is _State.OPEN

    @property
    def is_closed(self) -> bool:
        return self._state is _State.CLOSED

    def open(self) -> bytes:
        self._state = _State.CONNECTING
        return self._unnumbered(FrameKind.SET_NORMAL_RESPONSE_MODE, self._proposed.encode())

    def send(self, apdu: bytes) -> bytes:
        channel = self._channel
        if channel is None or not self.is_open:
            raise LocalProtocolError("the HDLC link is not open")
        channel.send(LLC_REQUEST + apdu)
        return channel.outgoing()

    def receive(self, data: bytes) -> list[bytes]:
        """The APDUs that became whole. LinkRefused where the server ends the link, or doesn't open it."""
        return self._take(self._reader.feed(data))

    def take_outgoing(self) -> bytes:
        if self._again:
            again, self._again = self._again, b""
            return again
        return self._channel.outgoing() if self._channel is not None and self.is_open else b""

    def listen(self) -> bytes:
        channel = self._channel
        return channel.poll() if channel is not None and self.is_open and channel.has_turn else b""

    def poll(self) -> bytes:
        """After a silence: the question again, or a request for what was lost. Nothing is executed twice by it."""
        if self._state is _State.CONNECTING:
            return self.open()
        if self._state is _State.CLOSING:
            return self.close()
        return self._channel.poll() if self._channel is not None and self.is_open else b""

    def unblock(self) -> list[bytes]:
        """Before a poll: what stands behind the beginning of a frame that does not come."""
        return self._take(self._reader.give_up())

    def close(self) -> bytes:
        if self._state is _State.CLOSED:
            return b""
        self._state = _State.CLOSING
        return self._unnumbered(FrameKind.DISCONNECT)

    def _take(self, frames: list[HdlcFrame]) -> list[bytes]:
        apdus: list[bytes] = []
        for frame in frames:
            if frame.destination == self._here and frame.source == self._there:
                apdus += self._take_frame(frame)
        return apdus

    def _take_frame(self, frame: HdlcFrame) -> list[bytes]:
        kind = frame.kind
        if kind is FrameKind.UNNUMBERED_INFORMATION:
            return [_apdu_in(frame.info)]
        if self._state is _State.OPEN and self._channel is not None and kind in _NUMBERED:
            return [_apdu_in(message) for message in self._channel.take(frame)]
        if kind is FrameKind.UNNUMBERED_ACKNOWLEDGE and self._state is _State.CONNECTING:
            agreed = self._proposed.agreed(decode_parameters(frame.info))
            self._channel = HdlcChannel(self._here, self._there, agreed, self._max_apdu + 3, has_turn=True)
            self._state = _State.OPEN
        elif kind in (FrameKind.UNNUMBERED_ACKNOWLEDGE, FrameKind.DISCONNECTED_MODE) and self._state is _State.CLOSING:
            self._state = _State.CLOSED
        elif kind is FrameKind.FRAME_REJECT and self._state is _State.CONNECTING and self._proposed.encode():
            # Some meters know no negotiation: once more, without parameters.
            self._proposed = DEFAULT_PARAMETERS
            self._again = self.open()
        elif kind in (FrameKind.DISCONNECTED_MODE, FrameKind.FRAME_REJECT):
            self._state = _State.CLOSED if kind is FrameKind.DISCONNECTED_MODE else _State.REFUSED
            raise LinkRefused(f"the meter answers with HDLC {kind.name.lower().replace('_', ' ')}")
        return []

    def _unnumbered(self, kind: FrameKind, info: bytes = b"") -> bytes:
        return HdlcFrame(self._there, self._here, kind, info).encode()


def _apdu_in(message: bytes) -> bytes:
    if not message.startswith(LLC_RESPONSE):
        raise DecodeError(f"an HDLC message begins with the LLC octets E6E700, not {message[:3].hex()}")
    return message[3:]
