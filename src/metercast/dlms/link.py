"""What carries APDUs between two addresses over a byte stream."""

from typing import Protocol

from metercast.dlms.errors import EncodeError, UnexpectedAnswer
from metercast.dlms.wrapper import MAX_APDU, WrapperReader, encode_wrapper


class Link(Protocol):
    """One client's way to one server. Octets in and out; the caller moves them."""

    @property
    def is_open(self) -> bool:
        """APDUs may be sent."""
        ...

    def open(self) -> bytes:
        """What to send first; empty where the link needs no opening of its own."""
        ...

    def send(self, apdu: bytes) -> bytes:
        """What to send for one APDU."""
        ...

    def receive(self, data: bytes) -> list[bytes]:
        """The APDUs that became whole. RemoteProtocolError: wrong version, addresses or checksum, or too long."""
        ...

    def take_outgoing(self) -> bytes:
        """What the link itself wants to send after `receive`: acknowledgements, the next frame."""
        ...

    def listen(self) -> bytes:
        """More is to come without a further question: what lets the other side go on; empty where it needs nothing."""
        ...

    def unblock(self) -> list[bytes]:
        """After a silence, before `poll`: APDUs behind the beginning of a frame that does not come."""
        ...

    def poll(self) -> bytes:
        """After a silence: what asks the other side for what was lost; empty where the link can't."""
        ...

    def close(self) -> bytes:
        """What to send last; empty where the link needs no closing of its own."""
        ...

    @property
    def is_closed(self) -> bool:
        """After `close`: nothing is to come any more."""
        ...


class WrapperLink:
    """The TCP wrapper: client and server SAP are its wPorts; nothing to open, acknowledge or close."""

    def __init__(self, client_sap: int, server_sap: int, max_apdu: int = MAX_APDU) -> None:
        if not 0 <= client_sap <= 0xFFFF or not 0 <= server_sap <= 0xFFFF:
            raise EncodeError(f"client SAP {client_sap} or server SAP {server_sap}")
        self._client_sap = client_sap
        self._server_sap = server_sap
        self._reader = WrapperReader(max_apdu)

    @property
    def is_open(self) -> bool:
        return True

    def open(self) -> bytes:
        return b""

    def send(self, apdu: bytes) -> bytes:
        return encode_wrapper(self._client_sap, self._server_sap, apdu)

    def receive(self, data: bytes) -> list[bytes]:
        apdus = []
        for source, destination, apdu in self._reader.feed(data):
            if source != self._server_sap or destination != self._client_sap:
                raise UnexpectedAnswer(
                    f"a frame from {source} to {destination}, not from {self._server_sap} to {self._client_sap}"
                )
            apdus.append(apdu)
        return apdus

    def take_outgoing(self) -> bytes:
        return b""

    def listen(self) -> bytes:
        return b""

    def unblock(self) -> list[bytes]:
        return []

    def poll(self) -> bytes:
        return b""

    def close(self) -> bytes:
        return b""

    @property
    def is_closed(self) -> bool:
        return True
