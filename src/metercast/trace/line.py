"""Listens in on one connection of a session: what goes out is recorded as it would have been without its secrets.

A second link, the twin, is led exactly as the one in use, but is given APDUs that are masked. Both cut, number and
check alike, so its octets are those of the line with the secrets struck out and every checksum right. Whatever goes
wrong with the twin, the session does not notice.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from metercast.capture.frames import Found, FrameCutter, PassedOver
from metercast.dlms.hdlc_link import LLC_REQUEST, LLC_RESPONSE
from metercast.dlms.link import Link
from metercast.dlms.masked import MASK, Masker
from metercast.dlms.wrapper import WrapperFrame, encode_wrapper
from metercast.driver.errors import PeerClosed
from metercast.driver.transport import Transport

_MAX_UNSENT: Final = 1000

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Where a connection's octets go; none of its methods raises."""

    def sent(self, octets: bytes) -> None: ...

    def received(self, octets: bytes) -> None: ...

    def closed(self, *, by_client: bool, broken: bool) -> None:
        """Once; later calls are passed over."""
        ...


class TracedLink:
    """Implements dlms.link.Link over the link in use."""

    def __init__(self, link: Link, twin: Link) -> None:
        self._link = link
        self._twin = twin
        self._masker = Masker()
        self._incoming = FrameCutter()
        self.unsent: deque[bytes] = deque(maxlen=_MAX_UNSENT)
        self._is_told = False

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    @property
    def is_closed(self) -> bool:
        return self._link.is_closed

    def open(self) -> bytes:
        return self._both(self._link.open(), self._twin.open)

    def send(self, apdu: bytes) -> bytes:
        octets = self._link.send(apdu)
        try:
            self.unsent.append(self._twin.send(self._masker.mask(apdu)))
        except Exception as error:
            self._tell(error)
        return octets

    def receive(self, data: bytes) -> list[bytes]:
        with contextlib.suppress(Exception):
            self._twin.receive(data)
        apdus = self._link.receive(data)
        with contextlib.suppress(Exception):
            for apdu in apdus if self._masker.awaits_secret else ():
                self._masker.mask(apdu)  # it may be the last of the answer that is awaited
        return apdus

    def take_outgoing(self) -> bytes:
        return self._both(self._link.take_outgoing(), self._twin.take_outgoing)

    def unblock(self) -> list[bytes]:
        with contextlib.suppress(Exception):
            self._twin.unblock()
        return self._link.unblock()

    def listen(self) -> bytes:
        return self._both(self._link.listen(), self._twin.listen)

    def poll(self) -> bytes:
        return self._both(self._link.poll(), self._twin.poll)

    def close(self) -> bytes:
        return self._both(self._link.close(), self._twin.close)

    def masked(self, sent: bytes) -> bytes:
        """What to record for octets that go out now. Where the twin has none of that length all is struck out."""
        while self.unsent:
            twin = self.unsent.popleft()
            if len(twin) == len(sent):
                return twin
        return MASK * len(sent)

    def masked_incoming(self, data: bytes) -> bytes:
        """The octets as they came, unless a secret was asked for in the clear: then its frames, once they are whole."""
        if not self._masker.awaits_secret:
            self._incoming = FrameCutter()
            return data
        try:
            return b"".join(map(self._masked_frame, self._incoming.feed(data)))
        except Exception as error:
            self._tell(error)
            return MASK * len(data)

    def _masked_frame(self, found: Found) -> bytes:
        if isinstance(found, PassedOver):
            return MASK * len(found.octets)
        if isinstance(found, WrapperFrame):
            return encode_wrapper(found.source, found.destination, self._masker.mask(found.apdu))
        begins = found.info[:3] in (LLC_REQUEST, LLC_RESPONSE)
        if begins and not found.segmented:
            return found._replace(info=found.info[:3] + self._masker.mask(found.info[3:])).encode()
        kept = 3 if begins else 0  # a segment alone does not show where the secret is
        return found._replace(info=found.info[:kept] + MASK * (len(found.info) - kept)).encode()

    def _both(self, octets: bytes, of_twin: Callable[[], bytes]) -> bytes:
        try:
            twin = of_twin()
            if octets:
                self.unsent.append(twin)
        except Exception as error:
            self._tell(error)
        return octets

    def _tell(self, error: Exception) -> None:
        """No fault here is the session's: what is missing then is struck out, and it is logged once.

        The error's own text stays out of the log: it could hold the secret.
        """
        if not self._is_told:
            self._is_told = True
            _log.warning("a trace strikes out more than secrets: %s", type(error).__name__)


class TracedTransport:
    """Implements driver.transport.Transport over the one in use."""

    def __init__(self, transport: Transport, recorder: Recorder, link: TracedLink | None = None) -> None:
        """Without a link nothing is struck out: for octets that are known to hold no secret."""
        self._transport = transport
        self._link = link
        self._recorder = recorder

    def write(self, data: bytes) -> None:
        self._recorder.sent(data if self._link is None else self._link.masked(data))
        self._transport.write(data)

    async def read(self) -> bytes:
        try:
            data = await self._transport.read()
        except PeerClosed as error:
            self._recorder.closed(by_client=False, broken="broke" in str(error))
            raise
        if data:
            self._recorder.received(data if self._link is None else self._link.masked_incoming(data))
        return data

    def nudge(self) -> None:
        self._transport.nudge()

    def interrupt(self, error: Exception) -> None:
        self._transport.interrupt(error)

    async def close(self) -> None:
        self._recorder.closed(by_client=True, broken=False)
        await self._transport.close()

    def abort(self) -> None:
        self._recorder.closed(by_client=True, broken=True)
        self._transport.abort()

    async def gone(self) -> None:
        await self._transport.gone()
