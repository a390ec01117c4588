"""Meters, API keys and invocation counters."""

import asyncio

import pytest
from tests.store.fleet import at, begun_bucket, create, failure, meter
from tests.store.harness import EPOCH, StoreHarness

from metercast.domain.problem import Conflict, NotFound
from metercast.domain.words import ErrorWord
from metercast.store.counters import CounterExhausted, CounterName
from metercast.store.devices import MeterWrite
from metercast.store.keys import Role

NAME = CounterName("meter-1", "fingerprint", "4D43530000000001")


# Meters


async def test_a_meter_is_stored_whole_and_replaced_whole(harness: StoreHarness) -> None:
    first = MeterWrite("m%'☃", b'{"a": "\xc3\xa9"}', b"\x00\xff", "channel", 3)
    assert await harness.store.put_devices([first]) == 1
    harness.clock.advance(5)
    second = MeterWrite("m%'☃", b"{}", None, "other", 1)
    assert await harness.store.put_devices([second]) == 0
    await harness.reopen()
    found = await harness.store.get_device("m%'☃")
    assert (found.document, found.sealed, found.channel, found.max_sessions) == (b"{}", None, "other", 1)
    assert (found.created_at, found.updated_at) == (EPOCH, at(5))
    assert "☃" in repr(found)
    assert "other" not in repr(found)


async def test_what_is_new_is_counted_once(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("a")])
    assert await harness.store.put_devices([meter("a"), meter("b"), meter("b", b"2"), meter("c")]) == 2
    assert await harness.store.count_devices() == 3
    assert (await harness.store.get_device("b")).document == b"2"
    assert await harness.store.put_devices([]) == 0


async def test_find_returns_those_that_exist(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("a"), meter("b")])
    assert set(await harness.store.find_devices(["a", "x", "b", "a"])) == {"a", "b"}
    assert await harness.store.find_devices([]) == {}
    with pytest.raises(NotFound):
        await harness.store.get_device("x")


async def test_meters_are_listed_by_code_point_and_prefix(harness: StoreHarness) -> None:
    ids = ["B", "a", "a%", "ab", "abc", "b", "é", "\U0001f50c", "\uffee"]
    await harness.store.put_devices([meter(each) for each in reversed(ids)])
    expected = sorted(ids)
    seen: list[str] = []
    cursor = None
    while True:
        page = await harness.store.list_registered(None, 2, cursor)
        seen += [each.device_id for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        await harness.store.put_devices([meter("A" + str(len(seen)))])
    assert seen == expected
    for prefix in ("a", "ab", "a%", "x", "\U0001f50c"):
        found = [each.device_id for each in (await harness.store.list_registered(prefix, 10, None)).items]
        assert found == [each for each in expected if each.startswith(prefix)]


async def test_a_meter_that_a_task_needs_is_not_deleted(harness: StoreHarness) -> None:
    await create(harness, "t", ["m", "n"])
    for status in ("PENDING", "SENT"):
        if status == "SENT":
            bucket = await begun_bucket(harness, "t")
        with pytest.raises(Conflict, match="task t"):
            await harness.store.delete_device("m")
        assert await harness.store.count_devices() == 2
    await harness.store.record_results(bucket.lease, [failure(bucket, ErrorWord.TYPE_UNMATCHED)])
    await harness.store.delete_device("m")
    with pytest.raises(NotFound):
        await harness.store.delete_device("m")
    assert (await harness.store.get_device_command("t", "m")).error is ErrorWord.TYPE_UNMATCHED


async def test_deleting_what_is_not_registered_is_not_found(harness: StoreHarness) -> None:
    await create(harness, "t", ["unknown"], register=False)
    with pytest.raises(NotFound):
        await harness.store.delete_device("unknown")


# Secrets


async def secret_of(harness: StoreHarness) -> bytes | None:
    return (await harness.store.get_device("m")).sealed


async def test_secrets_are_replaced_only_where_they_are_as_expected(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("m", b"{}", b"one"), meter("n", b"{}", b"one")])
    harness.clock.advance(1)
    assert await harness.store.replace_secrets("m", b"one", b"two")
    assert await harness.store.replace_secrets("m", b"one", b"two"), "the answer was lost: the same once more"
    assert not await harness.store.replace_secrets("m", b"one", b"three")
    assert not await harness.store.replace_secrets("m", None, b"three")
    assert not await harness.store.replace_secrets("unknown", b"one", b"two")
    await harness.reopen()
    found = await harness.store.get_device("m")
    assert (found.sealed, found.document, found.channel) == (b"two", b"{}", "gateway-1")
    assert (found.created_at, found.updated_at) == (EPOCH, at(1))
    assert await harness.store.replace_secrets("m", b"two", None)
    assert await harness.store.replace_secrets("m", None, b"four")
    assert (await secret_of(harness), (await harness.store.get_device("n")).sealed) == (b"four", b"one")


async def test_of_many_replacements_at_once_one_is_made(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("m", b"{}", b"old")])
    made = await asyncio.gather(*(harness.store.replace_secrets("m", b"old", b"new-%d" % n) for n in range(8)))
    assert sum(made) == 1
    assert await secret_of(harness) == b"new-%d" % made.index(True)


async def test_a_write_never_hides_secrets_that_it_was_not_made_from(harness: StoreHarness) -> None:
    def write(sealed: bytes | None, replaces: bytes | None, device_id: str = "m") -> MeterWrite:
        return MeterWrite(device_id, b"{}", sealed, "channel", 1, replaces)

    assert await harness.store.put_devices([write(b"one", None)]) == 1
    assert await harness.store.put_devices([write(b"one", None)]) == 0, "the answer was lost: the same once more"
    assert await harness.store.put_devices([write(b"two", b"one")]) == 0
    for others in ([], [write(b"x", None, "new")]):
        for replaces in (b"one", None):
            with pytest.raises(Conflict, match="'m'"):
                await harness.store.put_devices([write(b"three", replaces), *others])
    assert await secret_of(harness) == b"two"
    assert await harness.store.put_devices([write(b"one", b"two"), write(b"x", None, "new")]) == 1
    assert await harness.store.put_devices([meter("m", b"{}", b"whatever")]) == 0, "without a guard it is replaced"


# Keys


async def test_keys_come_and_go(harness: StoreHarness) -> None:
    first = await harness.store.add_key("k1", "näme", Role.ADMIN, b"hash-1")
    harness.clock.advance(1)
    second = await harness.store.add_key("k2", "billing", Role.ENGINEER, b"hash-2")
    await harness.reopen()
    assert await harness.store.list_keys() == [first, second]
    assert await harness.store.find_key(b"hash-2") == second
    assert await harness.store.find_key(b"hash-3") is None
    harness.clock.advance(1)
    revoked = await harness.store.revoke_key("k1")
    assert revoked.revoked_at == at(2)
    harness.clock.advance(1)
    assert await harness.store.revoke_key("k1") == revoked
    assert await harness.store.find_key(b"hash-1") == revoked
    with pytest.raises(NotFound):
        await harness.store.revoke_key("k3")


async def test_a_key_is_added_once(harness: StoreHarness) -> None:
    await harness.store.add_key("k1", "a", Role.OPERATOR, b"hash-1")
    for key_id, secret_hash in (("k1", b"hash-2"), ("k2", b"hash-1")):
        with pytest.raises(Conflict):
            await harness.store.add_key(key_id, "b", Role.ADMIN, secret_hash)
    assert [(key.key_id, key.role) for key in await harness.store.list_keys()] == [("k1", Role.OPERATOR)]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("other", list(Role))
def test_roles_include_those_below(role: Role, other: Role) -> None:
    order = ["viewer", "operator", "engineer", "admin"]
    assert role.includes(other) == (order.index(role) >= order.index(other))


# Counters


async def test_no_value_is_ever_given_twice(harness: StoreHarness) -> None:
    given: set[int] = set()
    for round_ in range(4):
        firsts = await asyncio.gather(*(harness.store.reserve_counters(NAME, count) for count in (1, 100, 7, 3) * 5))
        for first, count in zip(firsts, (1, 100, 7, 3) * 5, strict=True):
            values = set(range(first, first + count))
            assert not values & given, round_
            given |= values
        await harness.reopen()
    assert max(given) == len(given)


async def test_counters_are_of_device_key_and_client(harness: StoreHarness) -> None:
    names = [NAME, CounterName("meter-2", NAME.key, NAME.client_system_title)]
    names += [
        CounterName(NAME.device_id, "other", NAME.client_system_title),
        CounterName(NAME.device_id, NAME.key, "0"),
    ]
    for _ in range(2):
        firsts = [await harness.store.reserve_counters(name, 10) for name in names]
        assert len(set(firsts)) == 1


async def test_a_counter_jumps_ahead_and_never_back(harness: StoreHarness) -> None:
    first = await harness.store.reserve_counters(NAME, 5)
    assert await harness.store.reserve_counters(NAME, 5, at_least=1000) == 1000
    assert await harness.store.reserve_counters(NAME, 5, at_least=first) == 1005
    assert await harness.store.reserve_counters(NAME, 1) == 1010


async def test_where_a_counter_stands_is_told_without_moving_it(harness: StoreHarness) -> None:
    assert await harness.store.reserve_counters(NAME, 0) == 1
    await harness.store.reserve_counters(NAME, 5, at_least=1000)
    for _ in range(2):
        assert await harness.store.reserve_counters(NAME, 0) == 1005
        assert await harness.store.reserve_counters(NAME, 0, at_least=2000) == 2000
        await harness.reopen()
    assert await harness.store.reserve_counters(NAME, 1, at_least=2**32 - 1) == 2**32 - 1
    assert await harness.store.reserve_counters(NAME, 0) == 2**32
    with pytest.raises(ValueError, match="-1"):
        await harness.store.reserve_counters(NAME, -1)


async def test_a_counter_ends_at_its_last_value(harness: StoreHarness) -> None:
    last = 2**32 - 1
    assert await harness.store.reserve_counters(NAME, 1, at_least=last - 1) == last - 1
    with pytest.raises(CounterExhausted):
        await harness.store.reserve_counters(NAME, 2)
    assert await harness.store.reserve_counters(NAME, 1) == last
    with pytest.raises(CounterExhausted):
        await harness.store.reserve_counters(NAME, 1)
    with pytest.raises(CounterExhausted):
        await harness.store.reserve_counters(NAME, 1, at_least=2**40)
