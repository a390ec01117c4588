"""One association over one transport: APDUs go out, events come back, and what goes wrong is a failed step."""

import asyncio
from collections.abc import Callable

from metercast.commands.contract import StepFailed
from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.errors import DlmsError, SecurityError
from metercast.dlms.events import Associated, Event, Ignored, Notified, Rejected, Send, ServiceError, Waiting
from metercast.dlms.link import Link
from metercast.dlms.notification import Notification
from metercast.dlms.service_error import ExceptionResponse
from metercast.domain.words import ErrorWord
from metercast.driver.contract import Checkpoint
from metercast.driver.errors import TransportError
from metercast.driver.failures import ASSOCIATE, LINK, Step, failure_of
from metercast.driver.links import Pace
from metercast.driver.supply import CounterSupply
from metercast.driver.transport import Transport
from metercast.driver.watch import Watch
from metercast.driver.words import exception_word, rejection_text, rejection_word, service_error_word

MAX_IGNORED = 100
_ASK_AGAIN_AFTER = 0.3  # of the limit for a silence: three times, before the session ends
_NOT_THE_END = (Send, Waiting, Ignored, Notified, ExceptionResponse, ServiceError)


def _nothing() -> None:
    """What is told to nobody."""


class ServiceRefused(StepFailed):
    """The meter refused a service as a whole: it was not carried out, no result code came."""


class ExceptionAnswer(ServiceRefused):
    """Refused with an exception-response."""

    def __init__(self, response: ExceptionResponse, what: Step) -> None:
        super().__init__(exception_word(response), f"{what}: exception-response {response}")
        self.response = response


class Conversation:
    """Every method raises StepFailed; what the checkpoint raises comes through.

    `notified` is told what the meter sends by itself between its answers, and `alarmed` of what it failed to prove.
    """

    __slots__ = (
        "_alarmed", "_association", "_checkpoint", "_inbox", "_link", "_loop", "_notified", "_pace", "_supply",
        "_transport", "_watch", "asks_for_release",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        link: Link,
        association: ClientAssociation,
        watch: Watch,
        checkpoint: Checkpoint,
        supply: CounterSupply | None,
        pace: Pace | None = None,
        notified: Callable[[Notification], None] = lambda notification: None,
        alarmed: Callable[[SecurityError], None] = lambda error: None,
    ) -> None:
        self._transport = transport
        self._link = link
        self._association = association
        self._watch = watch
        self._checkpoint = checkpoint
        self._supply = supply
        self._pace = pace
        self._notified = notified
        self._alarmed = alarmed
        self._loop = asyncio.get_running_loop()
        self._inbox: list[bytes] = []
        self.asks_for_release = True

    @property
    def association(self) -> ClientAssociation:
        return self._association

    @property
    def is_associated(self) -> bool:
        return self._association.state is State.ASSOCIATED

    @property
    def needs_counters(self) -> bool:
        return self._supply is not None and self._supply.is_low

    @property
    def send_delay(self) -> float:
        """Seconds that each sending waits for the line."""
        return 0.0 if self._pace is None else self._pace.delay

    async def prepare(self) -> None:
        """Before an APDU is made: sees to it that there are invocation counters to make it with."""
        if self._supply is not None and self._supply.is_low:
            await self._supply.refill()

    async def open(self) -> None:
        """The link, where it has an opening of its own."""
        try:
            await self._wake()
            octets = self._link.open()
            if not octets:
                return
            self._write(octets)
            while not self._link.is_open:
                await self._read()
        except (TransportError, DlmsError) as error:
            raise failure_of(error, LINK) from error

    async def _wake(self) -> None:
        """What a modem or a sleeping line needs before the first frame; what it says is no frame, and passed over."""
        if self._pace is None:
            return
        if self._pace.wake_up:
            self._checkpoint.may_send()
            self._transport.write(self._pace.wake_up)
        if self._pace.wake_up_delay:
            await self._watch.sleep(self._pace.wake_up_delay)

    def send(self, apdu: bytes, going: Callable[[], None] = _nothing) -> None:
        """`going` is told right before octets of it go out: a frame may wait for the line, and be held back yet."""
        if octets := self._link.send(apdu):
            self._write(octets, going)
        else:
            going()  # it goes with whatever the link sends next

    async def answer(self, what: Step) -> Event:
        """The event that ends the service that was sent. Blocks are asked for, stray APDUs are passed over."""
        ignored = 0
        try:
            while True:
                event = self._association.receive(await self._receive())
                if not isinstance(event, _NOT_THE_END):
                    return event
                if isinstance(event, Send):
                    self.send(event.apdu)
                    for apdu in event.more:
                        self.send(apdu)
                    if self.needs_counters:
                        await self.prepare()
                elif isinstance(event, Waiting):
                    self._listen()
                elif isinstance(event, (Ignored, Notified)):
                    if isinstance(event, Notified):
                        self._notified(event.notification)
                    self._listen()
                    ignored += 1
                    if ignored > MAX_IGNORED:
                        raise StepFailed(ErrorWord.INVALID_RESPONSE, f"{what}: {ignored} answers to nothing")
                elif isinstance(event, ExceptionResponse):
                    raise ExceptionAnswer(event, what)
                else:
                    detail = f"{what}: confirmed-service-error {event.error}"
                    raise ServiceRefused(service_error_word(event.error), detail)
        except SecurityError as error:
            self._alarmed(error)
            raise failure_of(error, what) from error
        except (TransportError, DlmsError) as error:
            raise failure_of(error, what) from error

    async def associated(self) -> Associated:
        """The end of the association that was asked for with an AARQ."""
        event = await self.answer(ASSOCIATE)
        if isinstance(event, Rejected):
            raise StepFailed(rejection_word(event), f"AARQ: {rejection_text(event)}")
        if not isinstance(event, Associated):
            raise StepFailed(ErrorWord.INVALID_RESPONSE, f"AARQ: answered with {type(event).__name__}")
        return event

    async def release(self) -> None:
        """RLRQ where the association is open, the link's end, then close: best effort, in short time, without error.

        No RLRQ where the meter knows none (`asks_for_release`). What answers it is waited for and not looked at: it
        can change nothing any more.
        """
        if not self.is_associated and self._link.is_closed:
            self._transport.abort()
            return
        try:
            self._watch.attach_release()
            if self.is_associated and self.asks_for_release and self._link.is_open:
                self.send(self._association.release())
                await self._receive()
            await self._close_link()
            await self._transport.close()
        except Exception:  # whatever it is, the session's result stands already
            self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    async def _close_link(self) -> None:
        octets = self._link.close()
        if octets:
            self._write(octets)
        while not self._link.is_closed:
            await self._read()

    async def _receive(self) -> bytes:
        inbox = self._inbox
        while not inbox:
            await self._read()
        return inbox.pop(0)

    async def _read(self) -> None:
        """What comes next, or after a silence the question for it: the link's own, or that for lost blocks."""
        pace, link = self._pace, self._link
        if pace is None and not self._association.awaits_blocks:
            data = await self._transport.read()
        else:
            silence = self._watch.patience * _ASK_AGAIN_AFTER if pace is None else pace.delay + pace.poll_after
            timer = self._loop.call_later(silence, self._transport.nudge)
            try:
                data = await self._transport.read()
            finally:
                timer.cancel()
        if data:
            self._watch.progress()
            self._inbox.extend(link.receive(data))
            outgoing = link.take_outgoing()
        else:
            self._inbox.extend(link.unblock())
            outgoing = link.take_outgoing() or link.poll()
            if pace is None:
                outgoing += b"".join(map(link.send, self._association.again()))
        if outgoing:
            self._write(outgoing)

    def _listen(self) -> None:
        """The meter has more to say: lets it, where the link's turn is ours."""
        if not self._inbox and (octets := self._link.listen()):
            self._write(octets)

    def _write(self, octets: bytes, going: Callable[[], None] = _nothing) -> None:
        """The only way to the meter. Without the lease nothing goes out: no repetition, no end of the link."""
        self._checkpoint.may_send()
        if self._pace is not None and self._pace.delay:
            self._loop.call_later(self._pace.delay, self._write_late, octets, going)
        else:
            going()
            self._transport.write(octets)

    def _write_late(self, octets: bytes, going: Callable[[], None]) -> None:
        """After a delay in which the lease may have ended: whoever waits for the answer is told."""
        try:
            self._checkpoint.may_send()
        except Exception as reason:
            self._transport.interrupt(reason)
        else:
            going()
            self._transport.write(octets)
