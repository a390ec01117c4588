"""What the driver remembers of a meter between its sessions: wrong passwords, and when its last connection ended.

It is of this process and ends with it: several servers, or one that starts anew, count for themselves.
"""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from metercast.commands.contract import StepFailed
from metercast.domain.words import ErrorWord
from metercast.profiles.model import Delays, Lockout

CAPACITY = 200_000


class _Meter:
    __slots__ = ("ended_at", "refusals", "refused_at", "turn")

    def __init__(self) -> None:
        self.refusals = 0
        self.refused_at = 0.0
        self.ended_at: float | None = None
        self.turn = 0


class MeterMemory:
    """By device id, the least recently met forgotten above CAPACITY. `clock` gives seconds that only rise."""

    def __init__(self, clock: Callable[[], float] = monotonic, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._meters: OrderedDict[str, _Meter] = OrderedDict()

    def check_lockout(self, device_id: str, rule: Lockout) -> None:
        """StepFailed(AuthenticationFailed) where one more wrong password could lock the meter.

        The count begins anew after the rule's time, or with an association that was accepted.
        """
        meter = self._meters.get(device_id)
        if not rule.attempts or meter is None or meter.refusals < max(rule.attempts - 1, 1):
            return
        left = meter.refused_at + rule.seconds - self._clock()
        if left <= 0:
            meter.refusals = 0
            return
        detail = (
            f"not tried: the meter refused {meter.refusals} times and locks at {rule.attempts} (profile, lockout); "
            f"again in {left:.0f} s"
        )
        raise StepFailed(ErrorWord.AUTHENTICATION_FAILED, detail)

    def refused(self, device_id: str, rule: Lockout) -> None:
        """The meter refused a password or a proof of ours."""
        if rule.attempts:
            meter = self._of(device_id)
            meter.refusals += 1
            meter.refused_at = self._clock()

    def accepted(self, device_id: str) -> None:
        meter = self._meters.get(device_id)
        if meter is not None:
            meter.refusals = 0

    def turn(self, device_id: str) -> int:
        """Which of the secrets that may be the meter's comes next; the first, where nothing else was told."""
        meter = self._meters.get(device_id)
        return 0 if meter is None else meter.turn

    def set_turn(self, device_id: str, turn: int) -> None:
        if turn != self.turn(device_id):
            self._of(device_id).turn = turn

    def pause(self, device_id: str, delays: Delays) -> float:
        """Seconds to wait before the next connection with the meter."""
        meter = self._meters.get(device_id)
        if not delays.between_associations or meter is None or meter.ended_at is None:
            return 0.0
        return max(meter.ended_at + delays.between_associations - self._clock(), 0.0)

    def ended(self, device_id: str, delays: Delays) -> None:
        """A connection with the meter is over."""
        if delays.between_associations:
            self._of(device_id).ended_at = self._clock()

    def _of(self, device_id: str) -> _Meter:
        meter = self._meters.get(device_id)
        if meter is None:
            meter = self._meters[device_id] = _Meter()
            if len(self._meters) > self._capacity:
                self._meters.popitem(last=False)
        else:
            self._meters.move_to_end(device_id)
        return meter
