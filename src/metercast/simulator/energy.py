"""What a meter measures: values that move slowly and only depend on its number and the time."""

from math import sin
from random import Random

SECONDS_PER_HOUR = 3600.0


class Energy:
    """`clock` is seconds since 1970 by the meter's own clock in every call."""

    __slots__ = ("_base_wh", "_hourly_wh", "_phase", "_start")

    def __init__(self, seed: str, start: float) -> None:
        random = Random(seed)
        self._start = start
        self._base_wh = random.randrange(1_000_000, 40_000_000)
        self._hourly_wh = random.uniform(150, 2500)
        self._phase = random.uniform(0, 6.28)

    def counted(self, clock: float, share: float) -> int:
        """Wh since the meter was built, `share` of all."""
        hours = max(0.0, clock - self._start) / SECONDS_PER_HOUR
        return int((self._base_wh + self._hourly_wh * hours) * share)

    def power(self, clock: float) -> int:
        """W at that moment."""
        return int(self._hourly_wh * (1 + 0.2 * sin(clock / 600 + self._phase)))

    def voltage(self, clock: float, phase: int) -> int:
        """Tenths of a volt at that moment."""
        return 2300 + int(25 * sin(clock / 900 + self._phase + 2 * phase))

    def current(self, clock: float, phase: int) -> int:
        """Hundredths of an ampere at that moment, a third of the power on each phase."""
        return int(self.power(clock) / 3 * 1000 / self.voltage(clock, phase))
