"""What was said on one line, frame by frame, as trees for people: framing, segments, ciphering, services."""

from collections.abc import Iterator, Sequence
from typing import Final

from metercast.capture.frames import Found, FrameCutter, PassedOver
from metercast.dlms.deciphering import Keys
from metercast.dlms.describe import ApduReader, Description, unreadable
from metercast.dlms.errors import DecodeError, DlmsError
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame
from metercast.dlms.hdlc_link import LLC_REQUEST, LLC_RESPONSE
from metercast.dlms.hdlc_parameters import decode_parameters
from metercast.dlms.wrapper import MAX_APDU, WrapperFrame

MAX_ASSOCIATIONS: Final = 1024  # pairs of addresses on one line
_MAX_MESSAGE: Final = MAX_APDU + 3
_MODULUS: Final = 8
_LLC: Final = (LLC_REQUEST, LLC_RESPONSE)
_WITH_PARAMETERS: Final = frozenset({FrameKind.SET_NORMAL_RESPONSE_MODE, FrameKind.UNNUMBERED_ACKNOWLEDGE})
_NAMES: Final = {
    FrameKind.INFORMATION: "I",
    FrameKind.RECEIVE_READY: "RR",
    FrameKind.RECEIVE_NOT_READY: "RNR",
    FrameKind.REJECT: "REJ",
    FrameKind.UNNUMBERED_INFORMATION: "UI",
    FrameKind.DISCONNECTED_MODE: "DM",
    FrameKind.DISCONNECT: "DISC",
    FrameKind.UNNUMBERED_ACKNOWLEDGE: "UA",
    FrameKind.SET_NORMAL_RESPONSE_MODE: "SNRM",
    FrameKind.FRAME_REJECT: "FRMR",
}
_SUPERVISORY: Final = frozenset({FrameKind.RECEIVE_READY, FrameKind.RECEIVE_NOT_READY, FrameKind.REJECT})


class _Segments:
    """The information frames from one HDLC address to another."""

    def __init__(self) -> None:
        self.expected: int | None = None
        self.message = bytearray()
        self.frames = 0

    def restart(self) -> None:
        self.expected = 0
        self.drop()

    def drop(self) -> None:
        self.message.clear()
        self.frames = 0


class Dialogue:
    """One line, both directions. `keys` open what is ciphered; titles come from AARQ and AARE where keys name none.

    Nothing raises: what can't be read is a node `not readable`.
    """

    def __init__(self, keys: Sequence[Keys] = ()) -> None:
        self._keys = keys
        self._cutters: dict[object, FrameCutter] = {}
        self._readers: dict[frozenset[bytes], ApduReader] = {}
        self._segments: dict[tuple[object, bytes, bytes, bytes], _Segments] = {}
        self._direction: object = None  # of the frame at hand
        self._side = b""  # the LLC octets that the last message began with

    def feed(self, direction: object, octets: bytes) -> list[Description]:
        """The frames that became whole; `direction` is any name of one."""
        cutter = self._cutters.setdefault(direction, FrameCutter())
        self._direction = direction
        return [self._described(found) for found in cutter.feed(octets)]

    def missing(self, direction: object, octets: int) -> list[Description]:
        """So many octets were lost here: what comes does not follow what was there."""
        return [*self.flush(direction), unreadable(f"{octets} octets that were not captured")]

    def flush(self, direction: object) -> list[Description]:
        """What is left of an unfinished frame."""
        cutter = self._cutters.setdefault(direction, FrameCutter())
        self._direction = direction
        return [self._described(found) for found in cutter.flush()]

    def _described(self, found: Found) -> Description:
        if isinstance(found, PassedOver):
            return unreadable(f"{found.reason}, {len(found.octets)} octets", found.octets)
        if isinstance(found, WrapperFrame):
            source, destination = (sap.to_bytes(2, "big") for sap in (found.source, found.destination))
            children = (self._apdu(source, destination, found.apdu),) if found.apdu else ()
            text = f"from {found.source} to {found.destination}, {len(found.apdu)} octets"
            return Description("wrapper frame", text, children)
        return self._hdlc(found)

    def _hdlc(self, frame: HdlcFrame) -> Description:
        parts = [f"{_NAMES[frame.kind]} from {_address(frame.source)} to {_address(frame.destination)}"]
        if frame.kind is FrameKind.INFORMATION:
            parts.append(f"N(S) {frame.send_number}")
        if frame.kind is FrameKind.INFORMATION or frame.kind in _SUPERVISORY:
            parts.append(f"N(R) {frame.receive_number}")
        if frame.poll_final:
            parts.append("poll/final")
        if frame.info:
            parts.append(f"{len(frame.info)} octets")
        if frame.segmented:
            parts.append("more follows")
        return Description("HDLC frame", ", ".join(parts), tuple(self._contents(frame)))

    def _contents(self, frame: HdlcFrame) -> Iterator[Description]:
        kind = frame.kind
        if kind is FrameKind.SET_NORMAL_RESPONSE_MODE:
            ends = {frame.source, frame.destination}
            for (_, source, destination, _), segments in self._segments.items():
                if {source, destination} == ends:
                    segments.restart()
        if kind in _WITH_PARAMETERS and frame.info:
            yield _parameters(frame.info)
        elif kind is FrameKind.INFORMATION:
            yield from self._information(frame)
        elif kind is FrameKind.UNNUMBERED_INFORMATION:
            yield from self._message(frame, frame.info)
        elif frame.info:
            yield Description("information", frame.info.hex())

    def _information(self, frame: HdlcFrame) -> Iterator[Description]:
        segments = self._numbered(frame)
        if segments.expected is not None and frame.send_number != segments.expected:
            if (segments.expected - frame.send_number) % _MODULUS <= _MODULUS // 2:
                yield Description("a repetition")
                return
            segments.drop()
            yield unreadable(f"frames from N(S) {segments.expected} on that were not captured")
        segments.expected = (frame.send_number + 1) % _MODULUS
        if not segments.frames and frame.info[:3] not in _LLC:
            yield unreadable("a message whose beginning was not captured", frame.info)
            return
        if len(segments.message) + len(frame.info) > _MAX_MESSAGE:
            segments.drop()
            yield unreadable(f"a message of more than {_MAX_MESSAGE} octets")
            return
        segments.message += frame.info
        segments.frames += 1
        if not frame.segmented:
            message, frames = bytes(segments.message), segments.frames
            segments.drop()
            if frames > 1:
                yield Description("message", f"{len(message)} octets in {frames} frames")
            yield from self._message(frame, message)

    def _message(self, frame: HdlcFrame, message: bytes) -> Iterator[Description]:
        if message[:3] not in _LLC:
            yield unreadable("no LLC octets E6E600 or E6E700", message)
        elif len(message) > 3:
            yield self._apdu(frame.source, frame.destination, message[3:])

    def _numbered(self, frame: HdlcFrame) -> _Segments:
        """The frames that are numbered with this one. Client 1 and server 1 have the same address: where both speak
        in one stream of octets, the LLC octets tell them apart."""
        side = b""
        if frame.source == frame.destination:
            self._side = side = frame.info[:3] if frame.info[:3] in _LLC else self._side
        key = (self._direction, frame.source, frame.destination, side)
        if key not in self._segments and len(self._segments) >= 2 * MAX_ASSOCIATIONS:
            self._segments.clear()
        return self._segments.setdefault(key, _Segments())

    def _apdu(self, source: bytes, destination: bytes, apdu: bytes) -> Description:
        pair = frozenset((source, destination))
        if pair not in self._readers and len(self._readers) >= MAX_ASSOCIATIONS:
            self._readers.clear()
        reader = self._readers.setdefault(pair, ApduReader(self._keys))
        try:
            return reader.apdu(apdu, (self._direction, source))
        except DlmsError as error:
            return unreadable(str(error), apdu)


def describe_frames(octets: bytes, keys: Sequence[Keys] = ()) -> list[Description]:
    """Frames of either framing, of both directions, one behind the other. DecodeError where there is none at all."""
    dialogue = Dialogue(keys)
    nodes = dialogue.feed("", octets) + dialogue.flush("")
    if all(node.is_unreadable for node in nodes):
        raise DecodeError(nodes[0].value or "no frame" if nodes else "no frame")
    return nodes


def _address(octets: bytes) -> str:
    try:
        address = HdlcAddress.decode(octets)
    except DecodeError:
        return f"0x{octets.hex()}"
    return f"{address.upper}" if address.size == 1 else f"{address.upper}/{address.lower} ({address.size} octets)"


def _parameters(info: bytes) -> Description:
    try:
        found = decode_parameters(info)
    except DecodeError as error:
        return unreadable(str(error), info)
    return Description(
        "parameters",
        f"sends {found.transmit_size} octets a frame and {found.transmit_window} frames at a time, "
        f"takes {found.receive_size} and {found.receive_window}",
    )
