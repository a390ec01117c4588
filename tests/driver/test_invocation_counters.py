"""Invocation counters in memory: reserved ahead, given once, never lowered."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.driver.support import MemoryCounterStore

from metercast.dlms.errors import CountersExhausted
from metercast.driver.counters import LOW, InvocationCounters, key_fingerprint
from metercast.driver.errors import CounterJump
from metercast.store.counters import CounterExhausted, CounterName

NAME = CounterName("meter-1", "k", "4D43530000000001")


async def test_a_block_is_reserved_before_its_first_value() -> None:
    store = MemoryCounterStore()
    counter = await InvocationCounters(store, block=20).counter(NAME)
    assert store.reserved == [(1, 20)]
    assert [counter.next() for _ in range(20)] == list(range(1, 21))
    with pytest.raises(CountersExhausted):
        counter.next()


async def test_a_low_block_is_filled_before_it_runs_out() -> None:
    store = MemoryCounterStore()
    counters = InvocationCounters(store, block=20)
    counter = await counters.counter(NAME)
    for _ in range(20 - LOW + 1):
        counter.next()
    assert counter.is_low
    assert await counters.counter(NAME) is counter
    assert store.reserved == [(1, 20), (21, 20)]
    assert counter.next() == 21


async def test_names_have_counters_of_their_own() -> None:
    counters = InvocationCounters(MemoryCounterStore())
    other = CounterName("meter-1", "k", "4D43530000000002")
    assert (await counters.counter(NAME)).next() == 1
    assert (await counters.counter(other)).next() == 1


async def test_what_is_forgotten_is_never_given_again() -> None:
    store = MemoryCounterStore()
    counters = InvocationCounters(store, block=100, capacity=2)
    first = await counters.counter(NAME)
    assert first.next() == 1
    for number in range(2):
        await counters.counter(CounterName(f"other-{number}", "k", "t"))
    again = await counters.counter(NAME)
    assert again.next() == 101
    assert first.next() == 2  # a session that still holds the forgotten one stays in its own block


async def test_catching_up() -> None:
    store = MemoryCounterStore()
    counters = InvocationCounters(store, block=100, max_jump=10_000)
    counter = await counters.counter(NAME)
    await counters.catch_up(counter, 50)  # inside the block
    assert counter.next() == 51
    await counters.catch_up(counter, 20)  # behind us: nothing happens
    assert counter.next() == 52
    await counters.catch_up(counter, 5000)
    assert counter.next() == 5001
    with pytest.raises(CounterJump, match="is 10001 ahead"):
        await counters.catch_up(counter, 5002 + 10_001)
    assert counter.next() == 5002
    await counters.catch_up(counter, 5002 + 10_000)
    assert counter.next() == 15_003
    assert [first for first, _ in store.reserved] == [1, 5001, 15_003]


async def test_the_end_of_32_bits() -> None:
    counters = InvocationCounters(MemoryCounterStore(first=2**32 - 10))
    with pytest.raises(CounterExhausted):
        await counters.counter(NAME)


async def test_a_store_that_says_no() -> None:
    store = MemoryCounterStore()
    counters = InvocationCounters(store)
    store.error = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        await counters.counter(NAME)
    store.error = None
    assert (await counters.counter(NAME)).next() == 1


async def test_reservations_that_end_in_another_order_never_lower() -> None:
    store = MemoryCounterStore()
    counters = InvocationCounters(store, block=100)
    counter = await counters.counter(NAME)
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reserve = store.reserve_counters

    async def slowly(name: CounterName, count: int, at_least: int = 0) -> int:
        first = await reserve(name, count, at_least)
        await held
        return first

    store.reserve_counters = slowly  # type: ignore[method-assign]
    late = asyncio.create_task(counters.refill(counter))
    await asyncio.sleep(0)
    store.reserve_counters = reserve  # type: ignore[method-assign]
    await counters.refill(counter)
    assert counter.next() == 201
    held.set_result(None)
    await late
    assert counter.next() == 202


def test_blocks_hold_what_a_session_needs_at_least() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        InvocationCounters(MemoryCounterStore(), block=15)


def test_a_fingerprint_tells_keys_apart_and_not_the_key() -> None:
    key = bytes(range(16))
    assert key_fingerprint(key) == key_fingerprint(bytes(range(16)))
    assert key_fingerprint(key) != key_fingerprint(bytes(16))
    assert key.hex() not in key_fingerprint(key)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 30)),
        st.tuples(st.just("catch up"), st.integers(0, 3000)),
        st.tuples(st.just("forget"), st.just(0)),
        st.tuples(st.just("both"), st.just(0)),
    ),
    max_size=30,
)


@given(steps)
def test_values_only_rise_whatever_happens(script: list[tuple[str, int]]) -> None:
    async def play() -> None:
        store = MemoryCounterStore()
        counters = InvocationCounters(store, block=32, max_jump=2000)
        given_out: list[int] = []
        for what, number in script:
            counter = await counters.counter(NAME)
            if what == "take":
                for _ in range(number):
                    if counter.is_low:
                        await counters.refill(counter)
                    given_out.append(counter.next())
            elif what == "catch up":
                try:
                    await counters.catch_up(counter, number)
                except CounterJump:
                    assert number + 1 - counter.value > 2000
                else:
                    given_out.append(counter.next())
                    assert given_out[-1] > number
            elif what == "forget":
                counters = InvocationCounters(store, block=32, max_jump=2000)
            else:
                await asyncio.gather(counters.refill(counter), counters.refill(counter))
                given_out.append(counter.next())
        assert given_out == sorted(set(given_out))

    asyncio.run(play())
