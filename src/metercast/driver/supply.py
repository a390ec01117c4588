"""The invocation counters of one session: what the store says no with becomes a failed step or a give-back."""

from collections.abc import Awaitable
from typing import TypeVar

from metercast.commands.contract import StepFailed
from metercast.dlms.settings import AssociationSettings
from metercast.domain.problem import Problem
from metercast.domain.words import ErrorWord
from metercast.driver.contract import GiveBack
from metercast.driver.counters import Counter, InvocationCounters, key_fingerprint
from metercast.driver.errors import CounterJump
from metercast.store.counters import CounterExhausted, CounterName

T = TypeVar("T")

WORN_OUT = 2_000_000_000
"""Where a counter is so high that its key should be changed for it (catalogue 2.7)."""


class CounterSupply:
    """Values for one (device, key, client system title)."""

    __slots__ = ("_counter", "_counters")

    def __init__(self, counters: InvocationCounters, counter: Counter) -> None:
        self._counters = counters
        self._counter = counter

    @classmethod
    async def open(
        cls,
        counters: InvocationCounters,
        device_id: str,
        settings: AssociationSettings,
        before: AssociationSettings | None = None,
    ) -> "CounterSupply | None":
        """None where the association needs no counters. GiveBack where the store can't reserve any now.

        A meter may begin anew with a new encryption key, or go on where it was: the counter of a key begins above that
        of the key `before` it, unless that one is worn out.
        """
        if not settings.needs_keys:
            return None
        counter = await _reserved(counters.counter(_name(device_id, settings)))
        if before is not None and before.needs_keys and before.encryption_key != settings.encryption_key:
            previous = await _reserved(counters.counter(_name(device_id, before)))
            if previous.value < WORN_OUT:
                await _reserved(counters.rise(counter, previous.value))
        return cls(counters, counter)

    async def accept(self, sender: bytes, counter: int) -> bool:
        """Whether `counter`, the first of an association that the meter `sender` used, is above all former ones."""
        mine = self._counter.name
        name = CounterName(mine.device_id, mine.key, sender.hex().upper())
        return await _reserved(self._counters.accept(name, counter))

    @property
    def is_low(self) -> bool:
        return self._counter.is_low

    @property
    def last_given(self) -> int:
        """The last value that went out, by anyone."""
        return self._counter.value - 1

    def next(self) -> int:
        return self._counter.next()

    async def refill(self) -> None:
        await _reserved(self._counters.refill(self._counter))

    async def catch_up(self, last_accepted: int, max_jump: int) -> None:
        """Goes on behind what the meter accepted last; StepFailed where that is further than we allow."""
        try:
            await _reserved(self._counters.catch_up(self._counter, last_accepted, max_jump))
        except CounterJump as jump:
            raise StepFailed(ErrorWord.INVOCATION_COUNTER_ERROR, str(jump)) from jump


def _name(device_id: str, settings: AssociationSettings) -> CounterName:
    assert settings.encryption_key is not None
    assert settings.client_system_title is not None
    return CounterName(device_id, key_fingerprint(settings.encryption_key), settings.client_system_title.hex().upper())


async def _reserved(reservation: Awaitable[T]) -> T:
    try:
        return await reservation
    except CounterExhausted as error:
        raise StepFailed(ErrorWord.INVOCATION_COUNTER_ERROR, f"{error}; the key must be changed") from error
    except Problem as problem:
        raise GiveBack(f"no invocation counters could be reserved: {problem.detail}") from problem
