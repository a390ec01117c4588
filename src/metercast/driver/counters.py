"""Invocation counters in memory, ahead of which blocks are reserved durably (catalogue 2.7).

A value is handed out once and never again, whatever crashes: a block is reserved in the store before its first value
is used, and what is left of it is lost when its entry leaves the memory.
"""

from collections import OrderedDict
from hashlib import blake2b

from metercast.dlms.ciphering import MAX_COUNTER
from metercast.dlms.errors import CountersExhausted
from metercast.driver.errors import CounterJump
from metercast.store.counters import CounterName, CounterStore

BLOCK = 1000
CAPACITY = 50_000
LOW = 16  # an APDU and what belongs to it take fewer


class Counter:
    """The reserved values of one counter. `next` gives each once."""

    __slots__ = ("end", "name", "value")

    def __init__(self, name: CounterName) -> None:
        self.name = name
        self.value = 0  # the next to give
        self.end = 0  # behind the last reserved

    @property
    def left(self) -> int:
        return self.end - self.value

    @property
    def is_low(self) -> bool:
        return self.end - self.value < LOW

    def next(self) -> int:
        """The next value; CountersExhausted where none is reserved."""
        value = self.value
        if value >= self.end:
            raise CountersExhausted("no invocation counter is reserved")
        self.value = value + 1
        return value


class InvocationCounters:
    """Counters by name, the least recently used forgotten above `capacity`."""

    def __init__(
        self, store: CounterStore, *, block: int = BLOCK, max_jump: int = MAX_COUNTER, capacity: int = CAPACITY
    ) -> None:
        if block < LOW:
            raise ValueError(f"a block holds at least {LOW} invocation counters, not {block}")
        self._store = store
        self._block = block
        self._max_jump = max_jump
        self._capacity = capacity
        self._counters: OrderedDict[CounterName, Counter] = OrderedDict()

    async def counter(self, name: CounterName) -> Counter:
        """The counter of that name, with values to give. Raises CounterExhausted, and what the store raises."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Counter(name)
            if len(self._counters) > self._capacity:
                self._counters.popitem(last=False)
        else:
            self._counters.move_to_end(name)
        if counter.is_low:
            await self.refill(counter)
        return counter

    async def refill(self, counter: Counter, at_least: int = 0) -> None:
        """Reserves another block. Never lowers: values below what was given before are not given again."""
        first = await self._store.reserve_counters(counter.name, self._block, at_least)
        if first >= counter.end:
            counter.value, counter.end = first, first + self._block

    async def rise(self, counter: Counter, least: int) -> None:
        """Gives nothing below `least` from now on."""
        if counter.value >= least:
            return
        if least + LOW <= counter.end:
            counter.value = least
        else:
            await self.refill(counter, at_least=least)

    async def catch_up(self, counter: Counter, last_accepted: int, max_jump: int = MAX_COUNTER) -> None:
        """Goes on behind the value that a meter says it accepted last.

        The meter's word is not authenticated, so a jump above `max_jump`, or above the limit of all, raises
        CounterJump and changes nothing.
        """
        limit = min(max_jump, self._max_jump)
        if last_accepted + 1 - counter.value > limit:
            raise CounterJump(counter.value, last_accepted, limit)
        await self.rise(counter, last_accepted + 1)

    async def accept(self, name: CounterName, received: int) -> bool:
        """Whether `received` is above all that were accepted under that name; then it is kept, durably.

        A refused one moves nothing: whoever repeats it can't push the mark ahead of the meter.
        """
        value = received + 1  # counters of a name begin with 1
        if value < await self._store.reserve_counters(name, 0):
            return False
        await self._store.reserve_counters(name, 1, value)
        return True


def key_fingerprint(key: bytes) -> str:
    """What names a key without telling it."""
    return blake2b(key, digest_size=8, person=b"metercast-ic").hexdigest()
