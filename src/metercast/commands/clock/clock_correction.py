"""What all commands that correct a clock share: when it is near enough, how sure a reading is, a set (catalogue 1.4).

Half the round trip is added to what is written and to what a read-back may differ; a link too slow for that is none
to set a clock over.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple, Protocol, Self
from zoneinfo import ZoneInfo

import msgspec

from metercast.commands.clock.clock_object import ClockObject, Reading, encode_clock
from metercast.commands.contract import MeterSession, StepFailed
from metercast.dlms.data import Data
from metercast.domain.words import ErrorWord

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]


class _Parameters(Protocol):
    @property
    def threshold_seconds(self) -> float: ...

    @property
    def tolerance_seconds(self) -> float: ...

    @property
    def max_uncertainty_seconds(self) -> float: ...


class Limits(NamedTuple):
    """Seconds: of difference that is left alone, that a read-back may show, and of half a round trip."""

    threshold: float
    tolerance: float
    uncertainty: float

    @classmethod
    def of(cls, parameters: _Parameters) -> Self:
        return cls(parameters.threshold_seconds, parameters.tolerance_seconds, parameters.max_uncertainty_seconds)

    def is_near(self, reading: Reading) -> bool:
        return not reading.is_invalid and abs(reading.difference) <= self.threshold

    def check_uncertainty(self, reading: Reading, result: dict[str, Any] | None = None) -> None:
        """StepFailed(ClockUncertain) where the link is too slow."""
        if reading.half_round_trip > self.uncertainty:
            detail = f"half the round trip is {reading.half_round_trip:.1f} s, above {self.uncertainty:g} s"
            raise StepFailed(ErrorWord.CLOCK_UNCERTAIN, detail, result)

    def verify(self, after: Reading, what: str, result: dict[str, Any]) -> None:
        """StepFailed where the clock, after it was corrected, is not where it was put or can't be told."""
        self.check_uncertainty(after, result)
        tolerance = self.tolerance + after.half_round_trip
        if after.is_invalid or abs(after.difference) > tolerance:
            found = "an invalid time" if after.is_invalid else f"{after.difference:+.3f} s"
            detail = f"read-back of {what}: {found}, tolerance {tolerance:.3f} s"
            raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, result)


async def set_now(session: MeterSession, clock: ClockObject, zone: ZoneInfo, before: Reading) -> None:
    """Attribute 2, with the time that it will be when it arrives."""

    def value() -> Data:
        return time_data(session, session.now() + timedelta(seconds=before.lead), zone)

    await session.set(clock.time, value)


def time_data(session: MeterSession, instant: datetime, zone: ZoneInfo) -> Data:
    """The instant as this meter is told one."""
    return encode_clock(instant, zone, session.profile.dates)
