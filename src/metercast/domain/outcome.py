"""What one session with a meter came to. One constructor per legal result."""

from enum import IntEnum, StrEnum
from typing import Any, Self

import msgspec

from metercast.domain.words import ErrorWord, SecurityEvent


class How(StrEnum):
    """How a success came about."""

    DONE = "DONE"
    ALREADY_SO = "ALREADY_SO"  # the meter was already as asked
    ARMED = "ARMED"  # a reconnect that waits for the customer's button
    SCHEDULED = "SCHEDULED"  # an activation that the meter will do itself


class Phase(IntEnum):
    """How far a session came before it ended."""

    BEFORE_ASSOCIATION = 0  # no answer to connect, refused: nothing of the application was sent
    ASSOCIATING = 1  # an AARQ was sent
    READING = 2  # associated; nothing that changes the meter was sent
    CHANGING = 3  # at least one byte of a request that changes the meter was sent


class OutcomeKind(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CHECKPOINT = "checkpoint"
    GIVEN_BACK = "given back"


class Outcome(msgspec.Struct, frozen=True):
    """Built only by the constructors below, so that no field can disagree with another."""

    kind: OutcomeKind
    phase: Phase
    how: How | None = None
    error: ErrorWord | None = None
    detail: str | None = None
    result: Any = None
    progress: Any = None
    delay_seconds: float = 0.0
    may_be_left: bool = False
    final: bool = False  # it is not tried again, whatever its word says
    alarms: tuple[SecurityEvent, ...] = ()  # what the session met that only an attack or a wrong record explains

    @classmethod
    def done(cls, result: Any = None) -> Self:
        return cls(OutcomeKind.SUCCEEDED, Phase.CHANGING, How.DONE, result=result)

    @classmethod
    def already_so(cls, result: Any = None) -> Self:
        return cls(OutcomeKind.SUCCEEDED, Phase.READING, How.ALREADY_SO, result=result)

    @classmethod
    def armed(cls, result: Any = None) -> Self:
        """A reconnect that ends in ready-for-reconnection: the customer presses the button (catalogue 1.8)."""
        return cls(OutcomeKind.SUCCEEDED, Phase.CHANGING, How.ARMED, result=result)

    @classmethod
    def scheduled(cls, result: Any = None) -> Self:
        """The meter will do it by itself at a time it holds (catalogue 1.1, attribute 10)."""
        return cls(OutcomeKind.SUCCEEDED, Phase.CHANGING, How.SCHEDULED, result=result)

    @classmethod
    def failed(cls, error: ErrorWord, detail: str, phase: Phase, result: Any = None, progress: Any = None) -> Self:
        """`progress` is what the session after this one need not do again."""
        return cls(OutcomeKind.FAILED, phase, error=error, detail=detail, result=result, progress=progress)

    @classmethod
    def gave_up(cls, error: ErrorWord, detail: str, phase: Phase, result: Any = None) -> Self:
        """A failure that is decided: what was worth another try had it, and all else is done."""
        return cls(OutcomeKind.FAILED, phase, error=error, detail=detail, result=result, final=True)

    @classmethod
    def checkpoint(cls, progress: Any, *, delay_seconds: float = 0.0, may_be_left: bool = False) -> Self:
        """A long command ends this session with its progress and goes on in another, after `delay_seconds`; no failed
        attempt. `may_be_left`: the meter works as before, so a task that is over may leave it as it is.
        """
        return cls(
            OutcomeKind.CHECKPOINT,
            Phase.CHANGING,
            progress=progress,
            delay_seconds=delay_seconds,
            may_be_left=may_be_left,
        )

    @classmethod
    def given_back(cls, detail: str) -> Self:
        """Nothing that changes the meter was sent, and now is not the time: back to PENDING."""
        return cls(OutcomeKind.GIVEN_BACK, Phase.BEFORE_ASSOCIATION, detail=detail)

    @property
    def succeeded(self) -> bool:
        return self.kind is OutcomeKind.SUCCEEDED
