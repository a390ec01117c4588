"""One association of a probe: what it agreed on, and GET after GET. Nothing is set; only the HLS proof is an ACTION."""

import os
from typing import Final

from metercast.dlms.acse import AARE, Aare, decode_aare
from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.errors import DlmsError, NotNegotiated, UnexpectedAnswer
from metercast.dlms.events import Associated, Event, GetResult, Ignored, Notified, Rejected, Send, Waiting
from metercast.dlms.protection import NO_COUNTERS, Counters
from metercast.dlms.service_error import ExceptionResponse
from metercast.dlms.settings import AssociationSettings, Authentication
from metercast.driver.errors import TransportError
from metercast.driver.words import rejection_text
from metercast.probe.line import Line

MAX_STRAY: Final = 20  # answers to nothing
MAX_STEPS: Final = 1 << 17  # blocks of one answer
_CHALLENGE, _LONG_CHALLENGE = 16, 32


class NotOpened(Exception):
    """The association did not come about; the text says why."""


class NotRead(Exception):
    """One attribute could not be read; the text says why. `is_over`: nothing more can be asked here."""

    def __init__(self, reason: str, *, is_over: bool = False) -> None:
        super().__init__(reason)
        self.is_over = is_over


class ProbeAssociation:
    """On a line that is open."""

    def __init__(self, line: Line, settings: AssociationSettings, counters: Counters = NO_COUNTERS) -> None:
        size = _LONG_CHALLENGE if settings.authentication is Authentication.HLS_ECDSA else _CHALLENGE
        challenge = os.urandom(size) if settings.authentication.is_hls else b""
        dedicated_key = os.urandom(settings.key_size) if settings.dedicated else b""
        self._line = line
        self._association = ClientAssociation(settings, counters, challenge, dedicated_key)

    async def open(self) -> Associated:
        """Asks once. Raises NotOpened."""
        try:
            event = await self._answer(self._association.associate())
        except (DlmsError, TransportError) as error:
            raise NotOpened(str(error)) from error
        if isinstance(event, Rejected):
            raise NotOpened(rejection_text(event))
        if not isinstance(event, Associated):
            raise NotOpened(_told(event))
        return event

    async def get(self, attribute: CosemAttribute) -> Data:
        """Raises NotRead."""
        try:
            event = await self._answer(self._association.get(attribute))
        except NotNegotiated as error:
            raise NotRead(str(error)) from error
        except (DlmsError, TransportError) as error:
            raise NotRead(str(error), is_over=True) from error
        if isinstance(event, GetResult) and event.data is not None:
            return event.data
        if isinstance(event, GetResult) and event.error is not None:
            raise NotRead(event.error.label)
        raise NotRead(_told(event), is_over=self._association.state is not State.ASSOCIATED)

    async def release(self) -> bool | None:
        """Whether the RLRQ was answered; None where there was nothing to release."""
        if self._association.state is not State.ASSOCIATED:
            return None
        try:
            await self._answer(self._association.release())
        except (DlmsError, TransportError):
            return False
        return True

    async def _answer(self, apdu: bytes) -> Event:
        """The event that ends the service; blocks are asked for, what a meter tells by itself is passed over."""
        await self._line.send(apdu)
        strays = 0
        for _ in range(MAX_STEPS):
            event = self._association.receive(await self._line.receive())
            if isinstance(event, Send):
                for each in (event.apdu, *event.more):
                    await self._line.send(each)
            elif isinstance(event, Waiting | Ignored | Notified):
                await self._line.listen()
                strays += not isinstance(event, Waiting)
                if strays > MAX_STRAY:
                    raise UnexpectedAnswer(f"{strays} answers to nothing")
            else:
                return event
        raise UnexpectedAnswer("an answer in endless blocks")


def decoded_answer(apdu: bytes | None) -> Aare | str:
    """The AARE that came back to an AARQ, or what came in its place."""
    if apdu is None:
        return "no answer"
    if apdu[:1] != bytes([AARE]):
        return f"an APDU 0x{apdu[:1].hex()}"
    try:
        return decode_aare(apdu)
    except DlmsError as error:
        return f"an AARE that can't be read: {error}"


def _told(event: Event) -> str:
    if isinstance(event, ExceptionResponse):
        return f"exception-response {event}"
    return f"answered with {type(event).__name__}"
