"""One association over one transport: APDUs go out, events come back, and what goes wrong is a failed step."""

from metercast.commands.contract import StepFailed
from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.errors import DlmsError
from metercast.dlms.events import Associated, Event, Ignored, Rejected, Send, ServiceError
from metercast.dlms.link import Link
from metercast.dlms.service_error import ExceptionResponse
from metercast.domain.words import ErrorWord
from metercast.driver.contract import Checkpoint
from metercast.driver.errors import TransportError
from metercast.driver.failures import ASSOCIATE, Step, failure_of
from metercast.driver.supply import CounterSupply
from metercast.driver.transport import Transport
from metercast.driver.watch import Watch
from metercast.driver.words import exception_word, rejection_text, rejection_word, service_error_word

MAX_IGNORED = 100
_NOT_THE_END = (Send, Ignored, ExceptionResponse, ServiceError)


class ExceptionAnswer(StepFailed):
    """The meter refused a service as a whole, with an exception-response."""

    def __init__(self, response: ExceptionResponse, what: Step) -> None:
        super().__init__(exception_word(response), f"{what}: exception-response {response}")
        self.response = response


class Conversation:
    """Every method raises StepFailed; what the checkpoint raises comes through."""

    __slots__ = ("_association", "_checkpoint", "_inbox", "_link", "_supply", "_transport", "_watch")

    def __init__(
        self,
        transport: Transport,
        link: Link,
        association: ClientAssociation,
        watch: Watch,
        checkpoint: Checkpoint,
        supply: CounterSupply | None,
    ) -> None:
        self._transport = transport
        self._link = link
        self._association = association
        self._watch = watch
        self._checkpoint = checkpoint
        self._supply = supply
        self._inbox: list[bytes] = []

    @property
    def association(self) -> ClientAssociation:
        return self._association

    @property
    def is_associated(self) -> bool:
        return self._association.state is State.ASSOCIATED

    @property
    def needs_counters(self) -> bool:
        return self._supply is not None and self._supply.is_low

    async def prepare(self) -> None:
        """Before an APDU is made: sees to it that there are invocation counters to make it with."""
        if self._supply is not None and self._supply.is_low:
            await self._supply.refill()

    def send(self, apdu: bytes) -> None:
        self._checkpoint.may_send()
        self._transport.write(self._link.send(apdu))

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
                    if self.needs_counters:
                        await self.prepare()
                elif isinstance(event, Ignored):
                    ignored += 1
                    if ignored > MAX_IGNORED:
                        raise StepFailed(ErrorWord.INVALID_RESPONSE, f"{what}: {ignored} answers to nothing")
                elif isinstance(event, ExceptionResponse):
                    raise ExceptionAnswer(event, what)
                else:
                    detail = f"{what}: confirmed-service-error {event.error}"
                    raise StepFailed(service_error_word(event.error), detail)
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
        """RLRQ where the association is open, then close: best effort, in short time, without error.

        What answers the RLRQ is waited for and not looked at: it can change nothing any more.
        """
        if not self.is_associated:
            self._transport.abort()
            return
        try:
            self._watch.attach_release()
            self.send(self._association.release())
            await self._receive()
            await self._transport.close()
        except Exception:  # whatever it is, the session's result stands already
            self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    async def _receive(self) -> bytes:
        inbox = self._inbox
        while not inbox:
            data = await self._transport.read()
            self._watch.progress()
            inbox.extend(self._link.receive(data))
            outgoing = self._link.take_outgoing()
            if outgoing:
                self._transport.write(outgoing)
        return inbox.pop(0)
