"""What the driver does with one meter in one session: connecting, associating, and giving it up again."""

import logging
import os
from collections.abc import Callable
from datetime import datetime

import msgspec

from metercast.commands.contract import SelectionUnavailable, StepFailed
from metercast.commands.known_scales import KnownScales
from metercast.commands.object_lists import ObjectLists
from metercast.dlms.association import ClientAssociation
from metercast.dlms.cosem import CosemAttribute, Selection
from metercast.dlms.data import Data
from metercast.dlms.errors import DlmsError, ReplayError, SecurityError
from metercast.dlms.events import Associated, GetResult
from metercast.dlms.hls import MAX_CHALLENGE
from metercast.dlms.notification import EventNotification, Notification
from metercast.dlms.protection import NO_COUNTERS
from metercast.dlms.settings import AssociationSettings, Authentication
from metercast.domain.meter import Meter, Secrets
from metercast.domain.outcome import Phase
from metercast.domain.words import ErrorWord, SecurityEvent
from metercast.driver.contract import Checkpoint
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
from metercast.driver.keeper import Keeper
from metercast.driver.links import link_to
from metercast.driver.memory import MeterMemory
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


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What all sessions of a driver share. Without `keeper` no secret is replaced, without `images` none is sent."""

    connector: Connector
    counters: InvocationCounters
    memory: MeterMemory
    object_lists: ObjectLists
    known_scales: KnownScales
    challenge: Callable[[], bytes]
    clock: Callable[[], datetime]
    keeper: Keeper | None = None
    images: ImageShelf | None = None


class MeterContact:
    """The way to one meter: at most one transport and one association at a time.

    `phase` never goes back, whatever is tried again, but where a change is settled. `notified` counts what the meter
    sent without being asked. `alarms` are the security events of the session, each kind once.
    """

    __slots__ = (
        "_checkpoint",
        "_conversation",
        "_means",
        "_settings",
        "_supply",
        "_transport",
        "_watch",
        "alarms",
        "associated",
        "meter",
        "notified",
        "phase",
        "profile",
        "trace",
    )

    def __init__(self, meter: Meter, profile: Profile, checkpoint: Checkpoint, watch: Watch, means: Means) -> None:
        self.meter = meter
        self.profile = profile
        self.phase = Phase.BEFORE_ASSOCIATION
        self.associated: Associated | None = None
        self.notified = 0
        self.alarms: list[SecurityEvent] = []
        self.trace: SessionTracer | None = None
        self._checkpoint = checkpoint
        self._watch = watch
        self._means = means
        self._conversation: Conversation | None = None
        self._transport: Transport | None = None
        self._supply: CounterSupply | None = None
        self._settings: AssociationSettings | None = None

    async def connect(self, settings: AssociationSettings, before: AssociationSettings | None = None) -> None:
        """Reserves counters, then opens the transport. Raises StepFailed, and GiveBack from the store.

        `before` are the settings that were used up to now, where the keys are others.
        """
        self._means.memory.check_lockout(self.meter.device_id, self.profile.lockout)
        self._supply = await CounterSupply.open(self._means.counters, self.meter.device_id, settings, before)
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
                self._means.memory.refused(self.meter.device_id, self.profile.lockout)
            raise
        self._means.memory.accepted(self.meter.device_id)
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

    async def get(self, attribute: CosemAttribute, selection: Selection | None = None) -> Data:
        return await _read(await self._open(), Step("GET", attribute), attribute, selection)

    async def read_as_public(self, settings: AssociationSettings, attribute: CosemAttribute) -> Data:
        """One GET in an association of the public client, on a transport of its own."""
        conversation = await self._converse(settings, None)
        what = Step("GET (public client)", attribute)
        try:
            conversation.send(conversation.association.associate())
            await conversation.associated()
            data = await _read(conversation, what, attribute)
            await conversation.release()
            return data
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
        return self._means.memory.turn(self.meter.device_id)

    @turn.setter
    def turn(self, turn: int) -> None:
        self._means.memory.set_turn(self.meter.device_id, turn)

    def now(self) -> datetime:
        return self._means.clock()

    async def sleep(self, seconds: float) -> None:
        try:
            await self._watch.sleep(seconds)
        except TransportError as error:
            raise failure_of(error, WAIT) from error

    def may_send(self) -> None:
        """GiveBack without the lease."""
        self._checkpoint.may_send()

    def ask_to_change(self) -> None:
        """Once, before the first change; after that the session finishes what it began."""
        if self.phase is not Phase.CHANGING:
            self._checkpoint.may_change()

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
        challenge = self._means.challenge() if settings.authentication.is_hls else b""
        if settings.authentication is Authentication.HLS_ECDSA:
            challenge = (challenge + self._means.challenge())[:MAX_CHALLENGE]  # 32 octets at least are wanted there
        dedicated_key = os.urandom(settings.key_size) if settings.dedicated else b""
        try:
            association = ClientAssociation(settings, counters, challenge, dedicated_key)
            link, pace = link_to(self.meter.record.connection, settings, self.profile.delays)
        except DlmsError as error:
            raise failure_of(error, ASSOCIATE) from error
        connection = self.meter.record.connection
        where = f"{connection.host}:{connection.port}"
        await self._previous_gone()
        pause = self._means.memory.pause(self.meter.device_id, self.profile.delays)
        if pause:
            await self.sleep(pause)
        self._checkpoint.may_send()
        try:
            transport = await self._watch.connecting(self._means.connector.connect(self.meter))
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
            self._means.memory.ended(self.meter.device_id, self.profile.delays)

    async def _open(self) -> Conversation:
        conversation = self._conversation
        assert conversation is not None
        if conversation.needs_counters:
            await conversation.prepare()
        return conversation


async def _read(
    conversation: Conversation, what: Step, attribute: CosemAttribute, selection: Selection | None = None
) -> Data:
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
