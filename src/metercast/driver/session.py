"""One session with one meter, as commands see it: what they read and change, and how far it came."""

import logging
import os
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from metercast.commands.contract import MeterRefused, SelectionUnavailable, StepFailed
from metercast.commands.object_lists import ObjectLists
from metercast.dlms.association import ClientAssociation
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data
from metercast.dlms.errors import DlmsError, ReplayError, SecurityError
from metercast.dlms.events import ActionResult, Associated, GetResult, SetResult
from metercast.dlms.hls import MAX_CHALLENGE
from metercast.dlms.notification import EventNotification, Notification
from metercast.dlms.protection import NO_COUNTERS
from metercast.dlms.results import ActionResultCode
from metercast.dlms.settings import AssociationSettings, Authentication
from metercast.domain.firmware import FirmwareImage, Transferred
from metercast.domain.meter import Meter, Secrets
from metercast.domain.outcome import Phase
from metercast.domain.words import ErrorWord, SecurityEvent
from metercast.driver.contract import Checkpoint, GiveBack
from metercast.driver.conversation import Conversation, ExceptionAnswer
from metercast.driver.counters import InvocationCounters
from metercast.driver.errors import TransportError
from metercast.driver.failures import (
    ASSOCIATE,
    WAIT,
    Step,
    connect_failure,
    event_of,
    failure_of,
    refused_by,
    unexpected,
)
from metercast.driver.images import ImageShelf
from metercast.driver.links import link_to
from metercast.driver.lists import ListReader
from metercast.driver.memory import MeterMemory
from metercast.driver.session_secrets import Keeper, SessionSecrets
from metercast.driver.supply import CounterSupply
from metercast.driver.tracing import SessionTracer
from metercast.driver.transport import Connector, Transport
from metercast.driver.watch import Watch
from metercast.profiles.model import Profile

_log = logging.getLogger(__name__)

# A meter that finds our counter behind its own may drop what we send, or call it unreadable or a wrong proof.
_COUNTER_SUSPECTS = frozenset(
    {
        ErrorWord.TIMEOUT,
        ErrorWord.CONNECTION_LOST,
        ErrorWord.AUTHENTICATION_FAILED,
        ErrorWord.INVOCATION_COUNTER_ERROR,
    }
)


class DlmsSession:
    """Implements commands.contract.MeterSession. `phase` never goes back, whatever is tried again, but by `settle`.

    `notified` counts what the meter sent without being asked. `alarms` are the security events of the session, each
    kind once.
    """

    __slots__ = (
        "_challenge",
        "_checkpoint",
        "_clock",
        "_connector",
        "_conversation",
        "_counters",
        "_images",
        "_lists",
        "_memory",
        "_settings",
        "_supply",
        "_transport",
        "_watch",
        "alarms",
        "associated",
        "keys",
        "meter",
        "notified",
        "object_lists",
        "phase",
        "profile",
        "trace",
    )

    def __init__(
        self,
        meter: Meter,
        checkpoint: Checkpoint,
        connector: Connector,
        counters: InvocationCounters,
        watch: Watch,
        challenge: Callable[[], bytes],
        clock: Callable[[], datetime],
        profile: Profile,
        memory: MeterMemory,
        keeper: Keeper | None = None,
        images: ImageShelf | None = None,
        object_lists: ObjectLists | None = None,
    ) -> None:
        self.meter = meter
        self.keys = SessionSecrets(self, keeper, checkpoint.task_id)
        self.profile = profile
        self.phase = Phase.BEFORE_ASSOCIATION
        self.associated: Associated | None = None
        self.notified = 0
        self.alarms: list[SecurityEvent] = []
        self.trace: SessionTracer | None = None
        self._checkpoint = checkpoint
        self._connector = connector
        self._counters = counters
        self._watch = watch
        self._challenge = challenge
        self._clock = clock
        self._images = images
        self._memory = memory
        self.object_lists = object_lists or ObjectLists()
        self._lists = ListReader(self._open, self.get)
        self._conversation: Conversation | None = None
        self._transport: Transport | None = None
        self._supply: CounterSupply | None = None
        self._settings: AssociationSettings | None = None

    # -- what commands see -----------------------------------------------------------------------------------------

    @property
    def model(self) -> Hashable | None:
        """The record's profile, the maker in the system title, and who asks: each client is shown a list of its own."""
        title, settings = self.proved_system_title, self._settings
        if title is None or settings is None:
            return None
        return self.meter.record.profile, title[:3], settings.client_sap, settings.server_sap

    @property
    def verify_first(self) -> bool:
        return self._checkpoint.verify_first

    @property
    def progress(self) -> Any:
        return self._checkpoint.progress

    @property
    def should_yield(self) -> bool:
        return self._checkpoint.should_yield

    async def image(self, reference: str) -> FirmwareImage:
        return await self._shelf().get(reference)

    async def transferred(self) -> Transferred | None:
        return await self._shelf().transferred(self.meter.device_id)

    async def note_transferred(self, transferred: Transferred) -> None:
        try:
            await self._shelf().note(self.meter.device_id, transferred)
        except GiveBack:
            if not transferred.blocks:
                raise

    @property
    def has_changed(self) -> bool:
        return self.phase is Phase.CHANGING

    async def settle(self, progress: Any) -> None:
        await self._checkpoint.settle(progress)
        if self.phase is Phase.CHANGING:
            self.phase = Phase.READING

    @property
    def send_delay(self) -> float:
        return self._conversation.send_delay if self._conversation is not None else 0.0

    def now(self) -> datetime:
        return self._clock()

    async def sleep(self, seconds: float) -> None:
        try:
            await self._watch.sleep(seconds)
        except TransportError as error:
            raise failure_of(error, WAIT) from error

    async def get(self, attribute: CosemAttribute, selection: Selection | None = None) -> Data:
        conversation = await self._open()
        what = Step("GET", attribute)
        if selection is not None and not conversation.association.negotiated.has_selective_access:
            raise SelectionUnavailable(ErrorWord.SERVICE_NOT_SUPPORTED, f"{what}: selective access was not negotiated")
        try:
            apdu = conversation.association.get(attribute, selection)
        except DlmsError as error:
            raise failure_of(error, what) from error
        conversation.send(apdu)
        event = await conversation.answer(what)
        if not isinstance(event, GetResult):
            raise unexpected(what, event)
        if event.data is None:
            raise refused_by(what, event.error)
        return event.data

    async def get_list(self, attributes: Sequence[CosemAttribute]) -> list[Data | MeterRefused]:
        return await self._lists.read(attributes)

    async def set(self, attribute: CosemAttribute, value: Data | Callable[[], Data]) -> None:
        conversation = await self._open()
        what = Step("SET", attribute)
        self.ask_to_change()
        try:
            apdu = conversation.association.set(attribute, value() if callable(value) else value)
        except DlmsError as error:
            raise failure_of(error, what) from error
        self._send_change(conversation, apdu)
        event = await conversation.answer(what)
        if not isinstance(event, SetResult):
            raise unexpected(what, event)
        if event.error is not None:
            raise refused_by(what, event.error)

    async def action(self, method: CosemMethod, parameter: Data | None = None) -> Data | None:
        conversation = await self._open()
        what = Step("ACTION", method)
        self.ask_to_change()
        try:
            apdu = conversation.association.action(method, parameter)
        except DlmsError as error:
            raise failure_of(error, what) from error
        self._send_change(conversation, apdu)
        event = await conversation.answer(what)
        if not isinstance(event, ActionResult):
            raise unexpected(what, event)
        if event.result is not ActionResultCode.SUCCESS:
            raise refused_by(what, event.result)
        return event.data

    def _shelf(self) -> ImageShelf:
        if self._images is None:
            raise StepFailed(ErrorWord.IMAGE_MISSING, "there is no store of images")
        return self._images

    # -- what the driver does --------------------------------------------------------------------------------------

    async def connect(self, settings: AssociationSettings, before: AssociationSettings | None = None) -> None:
        """Reserves counters, then opens the transport. Raises StepFailed, and GiveBack from the store.

        `before` are the settings that were used up to now, where the keys are others.
        """
        self._memory.check_lockout(self.meter.device_id, self.profile.lockout)
        self._supply = await CounterSupply.open(self._counters, self.meter.device_id, settings, before)
        self._settings = settings
        self._conversation = await self._converse(settings, self._supply)

    async def associate(self) -> None:
        """AARQ to AARE, and with HLS both further passes."""
        conversation = await self._open()
        apdu = conversation.association.associate()
        conversation.send(apdu)
        self.phase = max(self.phase, Phase.ASSOCIATING)
        try:
            self.associated = await conversation.associated()
            await self._check_freshness(conversation.association)
        except StepFailed as failure:
            if failure.error is ErrorWord.AUTHENTICATION_FAILED:
                self._memory.refused(self.meter.device_id, self.profile.lockout)
            raise
        self._memory.accepted(self.meter.device_id)
        self.phase = max(self.phase, Phase.READING)

    async def _check_freshness(self, association: ClientAssociation) -> None:
        """Without HLS nothing that the meter says is an answer to anything new, unless the association has a key of
        its own: a recording of an old association must not pass for a meter. So the meter's counters must rise from
        one to the next."""
        settings, counter = self._settings, association.last_received_counter
        if settings is None or settings.authentication.is_hls or settings.dedicated or counter is None:
            return
        assert self._supply is not None
        title = self.proved_system_title or settings.server_system_title or b""
        if not await self._supply.accept(title, counter):
            error = ReplayError(f"invocation counter {counter} was received before, in another association")
            self._alarm(error)
            self.drop()
            raise failure_of(error, ASSOCIATE) from error

    @property
    def proved_system_title(self) -> bytes | None:
        """The server's system title where it told one, or proved the expected one with its key (HLS)."""
        if self.associated is not None and self.associated.server_system_title is not None:
            return self.associated.server_system_title
        settings = self._settings
        if settings is not None and settings.authentication.proves_titles:
            return settings.server_system_title
        return None

    def suspects_counter(self, failure: StepFailed) -> bool:
        """Whether a counter behind the meter's own could be what `failure` comes from, and it is safe to begin anew."""
        if self._supply is None or self.phase not in (Phase.ASSOCIATING, Phase.READING):
            return False
        if self.phase is Phase.ASSOCIATING:
            return failure.error in _COUNTER_SUSPECTS
        return isinstance(failure, ExceptionAnswer) and failure.error is ErrorWord.INVOCATION_COUNTER_ERROR

    async def catch_up(self, last_accepted: int) -> bool:
        """Moves our counter behind the meter's; False where it was not behind."""
        assert self._supply is not None
        if last_accepted < self._supply.last_given:
            return False
        await self._supply.catch_up(last_accepted, self.profile.association.max_counter_jump)
        return True

    async def read_as_public(self, settings: AssociationSettings, attribute: CosemAttribute) -> Data:
        """One GET in an association of the public client, on a transport of its own."""
        conversation = await self._converse(settings, None)
        what = Step("GET (public client)", attribute)
        try:
            conversation.send(conversation.association.associate())
            await conversation.associated()
            conversation.send(conversation.association.get(attribute))
            event = await conversation.answer(what)
            if not isinstance(event, GetResult):
                raise unexpected(what, event)
            if event.data is None:
                raise refused_by(what, event.error)
            await conversation.release()
            return event.data
        except DlmsError as error:
            raise failure_of(error, what) from error
        finally:
            conversation.abort()

    async def release(self) -> None:
        """Ends the association as well as it goes; never raises."""
        if self._conversation is not None:
            await self._conversation.release()

    @property
    def turn(self) -> int:
        """With which of the secrets that may be the meter's a session begins: 0 the current one, 1 the pending one."""
        return self._memory.turn(self.meter.device_id)

    @turn.setter
    def turn(self, turn: int) -> None:
        self._memory.set_turn(self.meter.device_id, turn)

    def may_send(self) -> None:
        """GiveBack without the lease."""
        self._checkpoint.may_send()

    def use_secrets(self, secrets: Secrets) -> None:
        """From the next association on."""
        self.meter = msgspec.structs.replace(self.meter, secrets=secrets)

    def drop(self) -> None:
        """Gives up the transport; the session may connect anew."""
        if self._conversation is not None:
            self._conversation.abort()
            self._conversation = None

    async def end(self) -> None:
        """Nothing is open any longer when this returns."""
        self._watch.end()
        self.keys.end()
        self.drop()
        await self._previous_gone()

    def alarm(self, event: SecurityEvent) -> None:
        if event not in self.alarms:
            self.alarms.append(event)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _alarm(self, error: SecurityError) -> None:
        self.alarm(event_of(error))

    async def _converse(self, settings: AssociationSettings, supply: CounterSupply | None) -> Conversation:
        counters = supply.next if supply is not None else NO_COUNTERS
        challenge = self._challenge() if settings.authentication.is_hls else b""
        if settings.authentication is Authentication.HLS_ECDSA:
            challenge = (challenge + self._challenge())[:MAX_CHALLENGE]  # 32 octets at least are wanted there
        dedicated_key = os.urandom(settings.key_size) if settings.dedicated else b""
        try:
            association = ClientAssociation(settings, counters, challenge, dedicated_key)
            link, pace = link_to(self.meter.record.connection, settings, self.profile.delays)
        except DlmsError as error:
            raise failure_of(error, ASSOCIATE) from error
        connection = self.meter.record.connection
        where = f"{connection.host}:{connection.port}"
        await self._previous_gone()
        pause = self._memory.pause(self.meter.device_id, self.profile.delays)
        if pause:
            await self.sleep(pause)
        self._checkpoint.may_send()
        try:
            transport = await self._watch.connecting(self._connector.connect(self.meter))
        except (OSError, ValueError) as error:
            raise connect_failure(error, where) from error
        if self.trace is not None:
            twin, _ = link_to(connection, settings, self.profile.delays)
            transport, link = self.trace.listen(transport, link, twin, settings)
        self._transport = transport
        self._watch.attach(transport)
        conversation = Conversation(
            transport, link, association, self._watch, self._checkpoint, supply, pace, self._notify, self._alarm
        )
        conversation.asks_for_release = self.profile.association.release
        try:
            await conversation.open()
        except BaseException:
            conversation.abort()
            raise
        return conversation

    def _notify(self, notification: Notification) -> None:
        """Counted and logged; what it tells is not a command's result, and stays out of the log."""
        self.notified += 1
        if isinstance(notification, EventNotification):
            what = f"event-notification of {notification.attribute}"
        else:
            what = f"data-notification {notification.invoke & 0xFF_FFFF}"
        _log.info("%s: %s in the middle of a session", self.meter.device_id, what)

    async def _previous_gone(self) -> None:
        """A meter must never see two connections of ours: the next one waits until the last is closed."""
        if self._transport is not None:
            await self._transport.gone()
            self._transport = None
            self._memory.ended(self.meter.device_id, self.profile.delays)

    async def _open(self) -> Conversation:
        conversation = self._conversation
        assert conversation is not None
        if conversation.needs_counters:
            await conversation.prepare()
        return conversation

    def ask_to_change(self) -> None:
        """Once, before the first change; after that the session finishes what it began."""
        if self.phase is not Phase.CHANGING:
            self._checkpoint.may_change()

    def _send_change(self, conversation: Conversation, apdu: bytes) -> None:
        conversation.send(apdu)
        self.phase = Phase.CHANGING
