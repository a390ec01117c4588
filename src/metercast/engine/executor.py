"""The executor: what happens to one device, as named steps: resolve, lock, mark, drive, record.

`begin` locks and marks a batch in the store; `run` resolves the meter, drives the session and decides what to record.
"""

import asyncio
import math
import random
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
import structlog

from metercast.domain.meter import Meter, SealedMeter
from metercast.domain.outcome import Outcome, OutcomeKind, Phase
from metercast.domain.retry import Decision, History, decide, recover
from metercast.domain.states import DeviceEvent, DeviceStatus, device_after
from metercast.domain.words import ErrorWord, SecurityEvent
from metercast.driver.contract import Driver
from metercast.engine.bucket import ActiveBucket
from metercast.engine.session import Session
from metercast.store.attempts import AttemptStore, Begun, BegunDevice, OpenDevice, Result

log = structlog.get_logger()

# Octets of a result's JSON: what every store can hold in one piece, and an answer of the API in memory.
MAX_RESULT_OCTETS = 12 * 1024 * 1024


class Vault(Protocol):
    """Opens what a store keeps of a meter."""

    def open(self, stored: SealedMeter) -> Meter:
        """The record and its secrets; raises ValueError where they can't be opened."""
        ...


class Executor:
    def __init__(
        self,
        store: AttemptStore,
        driver: Driver,
        vault: Vault,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
        alarm: Callable[[SecurityEvent], None] = lambda event: None,
        slice_seconds: float = math.inf,
    ) -> None:
        """`alarm` is told of security events, which are logged too."""
        self._store = store
        self._driver = driver
        self._vault = vault
        self._clock = clock
        self._jitter = jitter
        self._alarm = alarm
        self._slice_seconds = slice_seconds

    async def begin(self, bucket: ActiveBucket, devices: Sequence[OpenDevice]) -> Begun:
        """Locks the meters and marks the devices SENT, durably. Raises LeaseLost and StoreUnavailable."""
        return await self._store.begin_attempts(bucket.lease, devices)

    def session(self, bucket: ActiveBucket, device: OpenDevice, begun: BegunDevice) -> Session:
        return Session(bucket, device, begun, self._clock, self._store.keep_progress, self._slice_seconds)

    async def run(self, session: Session) -> Result:
        """Resolve, drive, decide: the result to record. Raises nothing but CancelledError."""
        outcome = await self._drive(session)
        try:
            return self._decide(session, outcome)
        except Exception as error:
            return self._decide(session, _internal_error(session, error))

    async def _drive(self, session: Session) -> Outcome:
        try:
            meter = self._vault.open(session.begun.meter)
        except ValueError as error:
            detail = f"the meter's secrets can't be opened: {error}"
            return Outcome.failed(ErrorWord.CREDENTIALS_MISSING, detail, Phase.BEFORE_ASSOCIATION)
        except Exception as error:
            return _internal_error(session, error)
        try:
            outcome = await self._driver.execute(session.bucket.command, meter, session)
            for event in outcome.alarms:
                self._alarm(event)
                device_id = session.device.device_id
                log.warning("security.event", device_id=device_id, event_kind=event.value, detail=outcome.detail)
            return _bounded(outcome)
        except Exception as error:  # a fault of ours must not take the other meters with it
            return _internal_error(session, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _internal_error(session, error)  # nobody cancelled this session: it leaked out of the driver

    def _decide(self, session: Session, outcome: Outcome) -> Result:
        bucket, device = session.bucket, session.device
        traits = bucket.command.traits
        if outcome.kind is OutcomeKind.SUCCEEDED:
            return Result(
                session.begun.position, device.device_id, session.begun.tries, DeviceStatus.SUCCESS, device.used + 1,
                how=outcome.how, result=outcome.result,
            )  # fmt: skip
        decision = decide(
            outcome,
            traits.resend,
            bucket.task.retry,
            History(session.begun.tries, device.used, device.association_failures),
            live=bucket.live(self._clock()),
            can_read_back=traits.can_read_back,
            verifying=device.verify_first and not session.settled,
            jitter=self._jitter(),
        )
        return _result(device, session.begun.tries, decision, outcome)

    def recover(self, bucket: ActiveBucket, devices: Sequence[OpenDevice]) -> list[Result]:
        """Decides for devices found SENT under a dead lease: the results to record before anything starts."""
        traits = bucket.command.traits
        live = bucket.live(self._clock())
        results = []
        for device in devices:
            decision = recover(
                traits.resend,
                bucket.task.retry,
                History(device.tries, device.used, device.association_failures),
                can_read_back=traits.can_read_back,
                live=live,
                jitter=self._jitter(),
            )
            outcome = Outcome.failed(ErrorWord.OUTCOME_UNKNOWN, "the session's end was not seen", Phase.CHANGING)
            results.append(_result(device, device.tries, decision, outcome))
        return results


def _bounded(outcome: Outcome) -> Outcome:
    """Without a result that is too long to be kept; a success whose result it was is none."""
    if outcome.result is None:
        return outcome
    octets = len(msgspec.json.encode(outcome.result))
    if octets <= MAX_RESULT_OCTETS:
        return outcome
    if not outcome.succeeded:
        return msgspec.structs.replace(outcome, result=None)
    detail = f"the result has {octets} octets of JSON, and at most {MAX_RESULT_OCTETS} are kept: ask for less at a time"
    return Outcome.failed(ErrorWord.RESULT_TOO_LARGE, detail, Phase.READING)


def _internal_error(session: Session, error: BaseException) -> Outcome:
    """The error's own text stays out of log and record: it could hold a secret. Its place does not."""
    kind = type(error).__name__
    log.error(
        "session.internal_error",
        device_id=session.device.device_id,
        command=session.bucket.task.command_type,
        error=kind,
        where="".join(traceback.format_tb(error.__traceback__)),
    )
    return Outcome.failed(ErrorWord.INTERNAL_ERROR, f"internal error: {kind}", Phase.CHANGING)


def _result(device: OpenDevice, tries: int, decision: Decision, outcome: Outcome) -> Result:
    return Result(
        device.position,
        device.device_id,
        tries,
        device_after(DeviceStatus.SENT, decision.event),
        decision.used,
        decision.association_failures,
        decision.error,
        outcome.detail if decision.error is not None else None,
        delay_seconds=decision.delay_seconds,
        verify_first=decision.verify_first,
        count_try=decision.event is not DeviceEvent.GIVE_BACK,
        result=outcome.result,
        progress=outcome.progress if decision.event is DeviceEvent.RETRY else None,
    )
