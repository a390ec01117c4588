"""Whether, when and how a device command is tried again. Pure: `jitter` and the session's end are arguments."""

from enum import StrEnum
from typing import Annotated

import msgspec

from metercast.domain.outcome import Outcome, OutcomeKind, Phase
from metercast.domain.states import DeviceEvent
from metercast.domain.words import FOUND_BY_READING, ErrorClass, ErrorWord

# Meters lock out: after this many unanswered or refused AARQs in a row nothing more is tried (catalogue 2.9).
MAX_ASSOCIATION_FAILURES = 2

Attempts = Annotated[int, msgspec.Meta(ge=1, le=100)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class RetryPolicy(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Exponential backoff: the n-th delay is `initial_delay_seconds * 2**(n-1)`, at most `max_delay_seconds`."""

    max_attempts: Attempts = 3
    initial_delay_seconds: Seconds = 30.0
    max_delay_seconds: Seconds = 3600.0

    def delay(self, failures: int, jitter: float) -> float:
        """Seconds to wait after `failures` (>= 1) in a row; `jitter` in [0, 1) takes off up to a quarter."""
        exponent = min(failures - 1, 32)
        return min(self.initial_delay_seconds * 2.0**exponent, self.max_delay_seconds) * (1 - 0.25 * jitter)


class Resend(StrEnum):
    """What may be done when a command may have reached the meter and its end is not known (catalogue 0)."""

    SAFE = "safe"  # idempotent: send again
    VERIFY = "verify"  # read the meter first, then decide
    NEVER = "never"  # not sent again


class History(msgspec.Struct, frozen=True):
    """What a device command has been through, this session included in `tries`."""

    tries: int  # sessions begun, this one included
    used: int  # attempts used up before this one
    association_failures: int  # in a row, before this one


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a device command after a session."""

    event: DeviceEvent
    error: ErrorWord | None = None
    used: int = 0
    association_failures: int = 0
    delay_seconds: float = 0.0
    verify_first: bool = False


def decide(
    outcome: Outcome,
    resend: Resend,
    policy: RetryPolicy,
    history: History,
    *,
    live: bool,
    can_read_back: bool,
    verifying: bool,
    jitter: float,
) -> Decision:
    """Decides from the session's outcome.

    `live` is false under a cancelled or expired task, where nothing is resent. `verifying` says that an earlier
    session left the outcome open, which stays so until a session reads the meter. `can_read_back` says that a
    command that is never resent can at least find out what happened.
    """
    if outcome.kind is OutcomeKind.SUCCEEDED:
        return Decision(DeviceEvent.SUCCEED, used=history.used + 1)
    if outcome.kind is OutcomeKind.GIVEN_BACK:
        return Decision(
            DeviceEvent.GIVE_BACK,
            used=history.used,
            association_failures=history.association_failures,
            verify_first=verifying,
        )
    if outcome.kind is OutcomeKind.CHECKPOINT:
        if live:
            return Decision(DeviceEvent.RETRY, used=history.used, delay_seconds=outcome.delay_seconds)
        if outcome.may_be_left:
            return Decision(DeviceEvent.GIVE_BACK, used=history.used)
        return Decision(DeviceEvent.FAIL, ErrorWord.OUTCOME_UNKNOWN, used=history.used)
    assert outcome.error is not None
    error = outcome.error
    before = outcome.phase is Phase.BEFORE_ASSOCIATION
    used = history.used if before else history.used + 1
    failures = _association_failures(outcome, history)
    ambiguous = error.error_class is ErrorClass.AMBIGUOUS and outcome.phase is Phase.CHANGING
    verify_first = (verifying or ambiguous) and resend is not Resend.SAFE

    if error.error_class is ErrorClass.PERMANENT or outcome.final:
        # This session sent no change and did not find out what the earlier one did.
        unseen = verifying and outcome.phase is not Phase.CHANGING and error not in FOUND_BY_READING
        return Decision(DeviceEvent.FAIL, ErrorWord.OUTCOME_UNKNOWN if unseen else error, used)
    if ambiguous and resend is Resend.NEVER and not can_read_back:
        return Decision(DeviceEvent.FAIL, ErrorWord.OUTCOME_UNKNOWN, used)
    exhausted = not before and (used >= policy.max_attempts or failures >= MAX_ASSOCIATION_FAILURES)
    if exhausted or not live:
        # A guess must not look like a plain failure: the meter may have done it.
        return Decision(DeviceEvent.FAIL, ErrorWord.OUTCOME_UNKNOWN if verify_first else error, used, failures)
    return Decision(
        DeviceEvent.RETRY,
        error,
        used,
        failures,
        policy.delay(history.tries, jitter),
        verify_first=verify_first,
    )


def _association_failures(outcome: Outcome, history: History) -> int:
    if outcome.phase is Phase.BEFORE_ASSOCIATION:
        return history.association_failures
    # A meter that says "busy" has not looked at any credentials: it does not count towards a lock-out.
    if outcome.phase is Phase.ASSOCIATING and outcome.error is not ErrorWord.METER_BUSY:
        return history.association_failures + 1
    return 0


def recover(
    resend: Resend,
    policy: RetryPolicy,
    history: History,
    *,
    can_read_back: bool,
    live: bool,
    jitter: float,
) -> Decision:
    """Decides for a device found SENT under a dead lease: its session's end was not seen (design, section 3).

    It uses up no attempt, for the meter is not to blame; the first delay lets the meter drop the lost association.
    """
    if not live or (resend is Resend.NEVER and not can_read_back):
        return Decision(DeviceEvent.FAIL, ErrorWord.OUTCOME_UNKNOWN, history.used)
    return Decision(
        DeviceEvent.RETRY,
        ErrorWord.OUTCOME_UNKNOWN,
        history.used,
        history.association_failures,
        policy.delay(1, jitter),
        verify_first=resend is not Resend.SAFE,
    )
