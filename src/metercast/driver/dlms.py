"""The driver that speaks DLMS/COSEM: connect, associate, identify, perform and verify, release."""

import logging
import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from metercast.commands.contract import StepFailed
from metercast.commands.known_scales import KnownScales
from metercast.commands.object_lists import ObjectLists, check_target
from metercast.domain.meter import Meter
from metercast.domain.outcome import Outcome, Phase
from metercast.domain.words import ErrorWord
from metercast.driver.contact import Means
from metercast.driver.contract import Checkpoint, Command, GiveBack
from metercast.driver.conversation import ExceptionAnswer
from metercast.driver.counters import InvocationCounters
from metercast.driver.identity import check_identity
from metercast.driver.images import ImageShelf
from metercast.driver.keeper import Keeper
from metercast.driver.memory import MeterMemory
from metercast.driver.resync import resynchronise
from metercast.driver.session import DlmsSession
from metercast.driver.timeouts import Timeouts
from metercast.driver.tracing import Tracer
from metercast.driver.transport import Connector
from metercast.driver.watch import Watchdog
from metercast.profiles.collection import BUILT_IN, Profiles
from metercast.profiles.errors import UnknownProfile

CHALLENGE_OCTETS = 16
MAX_DETAIL = 500

_log = logging.getLogger(__name__)


def _challenge() -> bytes:
    return os.urandom(CHALLENGE_OCTETS)


def _now() -> datetime:
    return datetime.now(UTC)


class DlmsDriver:
    """Implements driver.contract.Driver over the transports of `connector`.

    `profiles` are those that meters' records may name. `keeper` stores new secrets; without one none is replaced.
    `challenge` gives the client's HLS challenge (8 to 64 octets) and `clock` the wall clock in UTC; both are injected
    in tests. `require_identity` False switches off the demand that a relay command's meter names its identity.
    """

    def __init__(
        self,
        connector: Connector,
        counters: InvocationCounters,
        timeouts: Timeouts | None = None,
        *,
        require_identity: bool = True,
        profiles: Profiles = BUILT_IN,
        images: ImageShelf | None = None,
        keeper: Keeper | None = None,
        memory: MeterMemory | None = None,
        tracer: Tracer | None = None,
        challenge: Callable[[], bytes] = _challenge,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._watchdog = Watchdog(timeouts or Timeouts())
        self._require_identity = require_identity
        self._profiles = profiles
        self._tracer = tracer
        self._means = Means(
            connector=connector,
            counters=counters,
            memory=memory or MeterMemory(),
            object_lists=ObjectLists(),
            known_scales=KnownScales(),
            challenge=challenge,
            clock=clock,
            keeper=keeper,
            images=images,
        )
        self.notified = 0

    async def execute(self, command: Command, meter: Meter, checkpoint: Checkpoint) -> Outcome:
        try:
            profile = self._profiles.get(meter.record.profile)
        except UnknownProfile as error:
            detail = f"profile {meter.record.profile!r} of the meter's record: {error}"
            return Outcome.failed(ErrorWord.UNKNOWN_PROFILE, detail[:MAX_DETAIL], Phase.BEFORE_ASSOCIATION)
        watch = self._watchdog.watch(self._watchdog.timeouts.of_meter(meter.record.connection))
        session = DlmsSession(meter, profile, checkpoint, watch, self._means)
        if self._tracer is not None:
            session.trace = self._tracer.begin(command, meter, checkpoint)
        outcome: Outcome | None = None
        try:
            outcome = await self._run(session, command)
        except GiveBack as reason:
            await session.release()  # sends nothing where the lease is over
            outcome = _gave_back(session, reason)
        except Exception as error:  # a defect of ours must not end more than this session
            outcome = _defect(session, error)
        finally:
            self.notified += session.notified
            await session.end()
            if session.trace is not None:
                session.trace.end("given up" if outcome is None else _told(outcome))
        if session.alarms:
            outcome = msgspec.structs.replace(outcome, alarms=tuple(session.alarms))
        if _log.isEnabledFor(logging.DEBUG):
            said = outcome.error or outcome.how or outcome.kind
            _log.debug("%s %s: %s after %s", meter.device_id, command.type.name, said, session.phase.name)
        return outcome

    async def close(self) -> None:
        self._watchdog.close()

    async def _run(self, session: DlmsSession, command: Command) -> Outcome:
        """Twice at most: again only where the invocation counter was out of step and nothing was changed."""
        resynchronised = False
        while True:
            try:
                return await self._attempt(session, command)
            except StepFailed as failure:
                if resynchronised or not session.suspects_counter(failure):
                    await session.release()
                    return _failed(session, failure)
                resynchronised = True
                session.drop()
                try:
                    if not await resynchronise(session, failure):
                        return _failed(session, failure)
                except StepFailed as refused:
                    return _failed(session, refused)
                if failure.error is ErrorWord.AUTHENTICATION_FAILED and not isinstance(failure, ExceptionAnswer):
                    # The meter may count this against our credentials: no second AARQ before the retry's delay.
                    detail = f"{failure.detail}; the invocation counter was behind the meter's and was moved on"
                    return _failed(session, StepFailed(ErrorWord.INVOCATION_COUNTER_ERROR, detail))

    async def _attempt(self, session: DlmsSession, command: Command) -> Outcome:
        record = session.meter.record
        if self._require_identity and command.traits.needs_identity and not record.identity.given:
            detail = f"{command.type.name} needs the meter's identity in its record"
            raise StepFailed(ErrorWord.IDENTITY_REQUIRED, detail)
        await session.keys.associate()
        await check_identity(session)
        await session.keys.adopt()
        await check_target(session, command.type, command.parameters)
        outcome = await command.type.perform(session, command.parameters)
        await session.release()
        return outcome


def _told(outcome: Outcome) -> str:
    """For a trace; the result is not in it."""
    said = outcome.error or outcome.how or outcome.kind
    return f"the session ended: {said}" + (f": {outcome.detail}" if outcome.detail else "")


def _failed(session: DlmsSession, failure: StepFailed) -> Outcome:
    detail = failure.detail[:MAX_DETAIL]
    if failure.error is ErrorWord.SECURITY_VIOLATION and session.phase is Phase.CHANGING:
        detail += "; a change had been sent, and the meter may have made it"
    return Outcome.failed(failure.error, detail, session.phase, failure.result, failure.progress)


def _gave_back(session: DlmsSession, reason: GiveBack) -> Outcome:
    """After a change was sent its end must be found out: a give-back would hide it."""
    if session.phase is Phase.CHANGING:
        detail = f"the session had to stop after a change was sent: {reason}"
        return Outcome.failed(ErrorWord.OUTCOME_UNKNOWN, detail[:MAX_DETAIL], session.phase)
    return Outcome.given_back(str(reason)[:MAX_DETAIL])


def _defect(session: DlmsSession, error: Exception) -> Outcome:
    """The error's own text stays out of log and record: it could hold a secret."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {frame.filename.rpartition('/')[2]}:{frame.lineno}"
    _log.error("%s: internal error: %s", session.meter.device_id, where)
    changing = session.phase is Phase.CHANGING
    word = ErrorWord.OUTCOME_UNKNOWN if changing else ErrorWord.INTERNAL_ERROR
    return Outcome.failed(word, f"internal error: {where}", session.phase)
