"""How requests come off a simulated line and answers go onto it: the TCP wrapper, or HDLC as a meter speaks it."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from metercast.dlms.errors import DlmsError
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame, HdlcReader
from metercast.dlms.hdlc_channel import HdlcChannel
from metercast.dlms.hdlc_link import LLC_REQUEST, LLC_RESPONSE
from metercast.dlms.hdlc_parameters import HdlcParameters, decode_parameters
from metercast.dlms.wrapper import WrapperReader, encode_wrapper

_INTER_OCTET_SECONDS: Final = 0.05
_MAX_REQUEST: Final = 0xFFFF


class Request(NamedTuple):
    """One APDU, and the SAPs that it goes from and to."""

    client_sap: int
    server_sap: int
    apdu: bytes


class Framing(Protocol):
    def feed(self, data: bytes) -> list[Request]:
        """The requests that became whole. DlmsError where the line can't be read any further."""
        ...

    def answer(self, request: Request, apdu: bytes) -> bytes:
        """What to send for the answer to a request."""
        ...

    def outgoing(self) -> bytes:
        """What the link itself has to say."""
        ...


class WrapperFraming:
    def __init__(self) -> None:
        self._reader = WrapperReader()

    def feed(self, data: bytes) -> list[Request]:
        return [Request(*frame) for frame in self._reader.feed(data)]

    def answer(self, request: Request, apdu: bytes) -> bytes:
        return encode_wrapper(request.server_sap, request.client_sap, apdu)

    def outgoing(self) -> bytes:
        return b""


class HdlcFraming:
    """One link at a time, with whichever client opened it last; `ended` is told when one ends.

    A frame with a wrong check, or for another address, is not answered. A frame that stops arriving comes to nothing.
    """

    def __init__(self, address: HdlcAddress, parameters: HdlcParameters, ended: Callable[[], None]) -> None:
        self._here = address.encode()
        self._server_sap = address.upper
        self._parameters = parameters
        self._ended = ended
        self._reader = HdlcReader()
        self._heard = 0.0
        self._client = b""
        self._channel: HdlcChannel | None = None
        self._replies = bytearray()

    def feed(self, data: bytes) -> list[Request]:
        now = time.monotonic()
        frames = self._reader.give_up() if now - self._heard > _INTER_OCTET_SECONDS else []
        self._heard = now
        requests: list[Request] = []
        for frame in frames + self._reader.feed(data):
            if frame.destination == self._here:
                requests += self._take(frame)
        return requests

    @property
    def is_open(self) -> bool:
        return self._channel is not None

    def answer(self, request: Request, apdu: bytes) -> bytes:
        if self._channel is None:
            return b""
        self._channel.send(LLC_RESPONSE + apdu)
        return self._channel.outgoing()

    def outgoing(self) -> bytes:
        replies, self._replies = bytes(self._replies), bytearray()
        return replies + (self._channel.outgoing() if self._channel is not None else b"")

    def _take(self, frame: HdlcFrame) -> list[Request]:
        if frame.kind is FrameKind.SET_NORMAL_RESPONSE_MODE:
            self._connect(frame)
        elif frame.kind is FrameKind.DISCONNECT:
            was_open, self._channel = self._channel is not None, None
            self._reply(frame, FrameKind.UNNUMBERED_ACKNOWLEDGE if was_open else FrameKind.DISCONNECTED_MODE)
            self._ended()
        elif self._channel is None or frame.source != self._client:
            self._reply(frame, FrameKind.DISCONNECTED_MODE)
        else:
            return self._pass(frame, self._channel)
        return []

    def _connect(self, frame: HdlcFrame) -> None:
        try:
            agreed = self._parameters.agreed(decode_parameters(frame.info))
        except DlmsError:
            self._reply(frame, FrameKind.FRAME_REJECT)
            return
        self._client = frame.source
        self._channel = HdlcChannel(self._here, frame.source, agreed, _MAX_REQUEST, has_turn=False)
        self._ended()  # whatever was associated on an earlier link
        self._reply(frame, FrameKind.UNNUMBERED_ACKNOWLEDGE, self._parameters.encode())

    def _pass(self, frame: HdlcFrame, channel: HdlcChannel) -> list[Request]:
        try:
            messages = channel.take(frame)
        except DlmsError:
            self._channel = None
            self._reply(frame, FrameKind.FRAME_REJECT)
            self._ended()
            return []
        client_sap = HdlcAddress.decode(frame.source).upper
        return [
            Request(client_sap, self._server_sap, message[3:])
            for message in messages
            if message.startswith(LLC_REQUEST)
        ]

    def _reply(self, frame: HdlcFrame, kind: FrameKind, info: bytes = b"") -> None:
        self._replies += HdlcFrame(frame.source, self._here, kind, info).encode()
