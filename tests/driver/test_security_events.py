"""Downgraded, replayed and forged answers: the association ends at once, nothing is tried again, and it is counted."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.dlms.secure_meter import Keys, parts
from tests.driver.support import MemoryCounterStore, driver, execute, meter_of
from tests.driver.tap import Tap, tapped

from metercast.dlms.acse import Aare, decode_aare
from metercast.domain.outcome import How, Outcome, Phase
from metercast.domain.words import ErrorWord, SecurityEvent
from metercast.simulator.simulator import Simulator

METER = "meter-0001"
FIRST_SERVICE = 2  # answers before it: the AARE and pass 4


class Attacker:
    """Who holds the meter's own keys, to show that it is not only the tag that is looked at."""

    def __init__(self, simulator: Simulator, suite: int = 0) -> None:
        spec = simulator.meter(METER).spec
        assert spec.encryption_key is not None
        assert spec.authentication_key is not None
        self.keys = Keys(spec.encryption_key, spec.authentication_key, suite)
        self.title = spec.system_title

    def plain(self, apdu: bytes) -> bytes:
        return self.keys.unseal(parts(apdu)[1][-1], self.title)

    def counter(self, apdu: bytes) -> int:
        return int.from_bytes(parts(apdu)[1][-1][1:5], "big")

    def sealed(self, plain: bytes, counter: int, how: int = 0x30, marks: int | None = None) -> bytes:
        keys = Keys(self.keys.encryption, self.keys.authentication, self.keys.marks if marks is None else marks)
        body = keys.seal(plain, counter, how, self.title)
        return bytes(({0xC4: 0xCC, 0xC5: 0xCD, 0xC7: 0xCF}[plain[0]], len(body))) + body


Lie = Callable[[Attacker, Tap, bytes], bytes]

LIES: dict[str, tuple[Lie, SecurityEvent]] = {
    "unprotected": (lambda attacker, tap, apdu: attacker.plain(apdu), SecurityEvent.DOWNGRADED),
    "authenticated only": (
        lambda attacker, tap, apdu: attacker.sealed(attacker.plain(apdu), attacker.counter(apdu), 0x10),
        SecurityEvent.DOWNGRADED,
    ),
    "encrypted only": (
        lambda attacker, tap, apdu: attacker.sealed(attacker.plain(apdu), attacker.counter(apdu), 0x20),
        SecurityEvent.DOWNGRADED,
    ),
    "of another suite": (
        lambda attacker, tap, apdu: attacker.sealed(attacker.plain(apdu), attacker.counter(apdu), marks=1),
        SecurityEvent.DOWNGRADED,
    ),
    "with the broadcast key set": (
        lambda attacker, tap, apdu: attacker.sealed(attacker.plain(apdu), attacker.counter(apdu), marks=0x40),
        SecurityEvent.DOWNGRADED,
    ),
    "with an old counter": (
        lambda attacker, tap, apdu: attacker.sealed(attacker.plain(apdu), attacker.counter(apdu) - 1),
        SecurityEvent.REPLAYED,
    ),
    "with another tag": (lambda attacker, tap, apdu: apdu[:-1] + bytes((apdu[-1] ^ 1,)), SecurityEvent.FORGED),
    "with other contents": (
        lambda attacker, tap, apdu: apdu[:10] + bytes((apdu[10] ^ 1,)) + apdu[11:],
        SecurityEvent.FORGED,
    ),
    "under other keys": (
        lambda attacker, tap, apdu: (
            apdu[:2]
            + Keys(bytes(16), bytes(16)).seal(attacker.plain(apdu), attacker.counter(apdu), 0x30, attacker.title)
        ),
        SecurityEvent.FORGED,
    ),
    "of another sender": (
        lambda attacker, tap, apdu: attacker.keys.general(
            0xDB, attacker.plain(apdu), attacker.counter(apdu), title=b"MMM\0\0\0\0\x63"
        ),
        SecurityEvent.IMPOSTOR,
    ),
}


def ended_at_once(outcome: Outcome, event: SecurityEvent, tap: Tap, asked: int, phase: Phase = Phase.READING) -> None:
    """One connection, nothing asked after the lie, an alarm of that kind and no other."""
    assert outcome.error in (ErrorWord.SECURITY_VIOLATION, ErrorWord.IDENTITY_MISMATCH)
    assert outcome.error.error_class == "permanent"
    assert (outcome.alarms, outcome.phase) == ((event,), phase)
    assert (tap.connections, len(tap.asked)) == (1, asked)


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_instead_of_an_answer_to_a_reading(lie: str) -> None:
    forge, event = LIES[lie]
    async with tapped(security="hls-gmac") as (document, tap, simulator):
        attacker = Attacker(simulator)
        tap.says = lambda number, apdu: apdu if number < FIRST_SERVICE else forge(attacker, tap, apdu)
        outcome = await execute(meter_of(document))
        ended_at_once(outcome, event, tap, FIRST_SERVICE + 1)


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_instead_of_an_answer_to_a_change(lie: str) -> None:
    """The meter has made the change, and nobody says that it has not."""
    forge, event = LIES[lie]
    async with tapped(security="hls-gmac") as (document, tap, simulator):
        attacker = Attacker(simulator)
        tap.says = lambda number, apdu: forge(attacker, tap, apdu) if apdu[0] == 0xCF and number > 1 else apdu
        outcome = await execute(meter_of(document), "DISCONNECT")
        asked = len(tap.asked)
        assert tap.asked[-1][0] == 0xCB
        ended_at_once(outcome, event, tap, asked, Phase.CHANGING)
        assert not simulator.meter(METER).state.relay.output
        if outcome.error is ErrorWord.SECURITY_VIOLATION:
            assert outcome.detail is not None
            assert outcome.detail.endswith("the meter may have made it")


async def test_an_answer_played_again_in_the_same_association() -> None:
    async with tapped(security="hls-gmac") as (document, tap, _):
        tap.says = lambda number, apdu: tap.answered[-2] if number == FIRST_SERVICE + 1 else apdu
        outcome = await execute(meter_of(document), "GET_TOU", {"which": "active"})
        ended_at_once(outcome, SecurityEvent.REPLAYED, tap, FIRST_SERVICE + 2)


async def test_an_answer_of_an_earlier_association() -> None:
    async with tapped(security="hls-gmac") as (document, tap, _):
        by = driver()
        assert (await execute(meter_of(document), by=by)).how is How.DONE
        recorded = list(tap.answered)
        tap.connections, tap.asked = 0, []
        tap.says = lambda number, apdu: recorded[FIRST_SERVICE] if number == FIRST_SERVICE else apdu
        ended_at_once(await execute(meter_of(document), by=by), SecurityEvent.REPLAYED, tap, FIRST_SERVICE + 1)


@pytest.mark.parametrize("policy", ["authenticated", "encrypted", "both"])
async def test_a_whole_association_played_again(policy: Any) -> None:
    """Without HLS only the counters tell, from association to association, and over a restart of ours."""
    async with tapped(security="lls", protection=policy) as (document, tap, _):
        store = MemoryCounterStore()
        assert (await execute(meter_of(document), by=driver(store=store))).how is How.DONE
        recorded = list(tap.answered)
        for _attempt in range(3):  # which does not push the mark ahead of the meter
            tap.connections, tap.asked = 0, []
            tap.says = lambda number, apdu: recorded[number]
            outcome = await execute(meter_of(document), by=driver(store=store))
            ended_at_once(outcome, SecurityEvent.REPLAYED, tap, 1, Phase.ASSOCIATING)
        tap.says = lambda number, apdu: apdu
        assert (await execute(meter_of(document), by=driver(store=store))).how is How.DONE


async def test_a_whole_association_played_again_with_a_dedicated_key() -> None:
    """What was recorded is under another key: no counters need to be remembered."""
    async with tapped(security="lls", protection="both", dedicated=True) as (document, tap, _):
        by = driver()
        assert (await execute(meter_of(document), by=by)).how is How.DONE
        recorded = list(tap.answered)
        tap.connections, tap.asked = 0, []
        tap.says = lambda number, apdu: recorded[number]
        ended_at_once(await execute(meter_of(document), by=by), SecurityEvent.FORGED, tap, 2)


async def test_the_global_key_where_a_dedicated_one_was_agreed() -> None:
    async with tapped(security="lls", protection="both", dedicated=True) as (document, tap, simulator):
        attacker = Attacker(simulator)

        def downgraded(number: int, apdu: bytes) -> bytes:
            return attacker.sealed(bytes.fromhex("c401c100") + b"\x00", 0x7FFFFFFF) if number == 1 else apdu

        tap.says = downgraded
        ended_at_once(await execute(meter_of(document)), SecurityEvent.DOWNGRADED, tap, 2)


def changed(apdu: bytes, **changes: Any) -> bytes:
    """An AARE with other fields."""
    aare = decode_aare(apdu)
    fields = {name: getattr(aare, name) for name in aare.__struct_fields__}
    return Aare(**fields | changes).encode()


PLAIN_INITIATE = bytes.fromhex("0800065f1f0400001c1d04000007")


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        ({"application_context": 1}, SecurityEvent.DOWNGRADED),
        ({"user_information": PLAIN_INITIATE}, SecurityEvent.DOWNGRADED),
        ({"authentication": None, "mechanism": None, "diagnostic": 0}, SecurityEvent.DOWNGRADED),
        ({"mechanism": 1}, SecurityEvent.DOWNGRADED),
        ({"responding_ap_title": b"MMM\0\0\0\0\x63"}, SecurityEvent.IMPOSTOR),
        ({"authentication": b"short"}, SecurityEvent.FORGED),
    ],
    ids=str,
)
async def test_lies_in_the_answer_to_the_aarq(changes: dict[str, Any], event: SecurityEvent) -> None:
    async with tapped(security="hls-gmac") as (document, tap, _):
        tap.says = lambda number, apdu: changed(apdu, **changes) if number == 0 else apdu
        ended_at_once(await execute(meter_of(document)), event, tap, 1, Phase.ASSOCIATING)


async def test_our_own_challenge_comes_back() -> None:
    async with tapped(security="hls-md5", protection="none") as (document, tap, _):
        by = driver(challenge=lambda: b"our-challenge-16")
        tap.says = lambda number, apdu: changed(apdu, authentication=b"our-challenge-16") if number == 0 else apdu
        outcome = await execute(meter_of(document), by=by)
        ended_at_once(outcome, SecurityEvent.REPLAYED, tap, 1, Phase.ASSOCIATING)


MECHANISMS = ["hls", "hls-md5", "hls-sha1", "hls-gmac", "hls-sha256", "hls-ecdsa"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("proof", ["wrong", "ours", "cut", "none"])
async def test_a_meter_that_does_not_prove_itself(mechanism: Any, proof: str) -> None:
    """It says yes to everything: whoever answers without the secret gets no command."""
    async with tapped(security=mechanism, protection="none") as (document, tap, _):

        def lie(number: int, apdu: bytes) -> bytes:
            if number != 1:
                return apdu
            head, given, ours = apdu[:8], apdu[8:], tap.asked[1][15:]
            said = {"wrong": given[:-1] + bytes((given[-1] ^ 1,)), "ours": ours, "cut": given[:-1], "none": b""}[proof]
            return head[:4] + b"\x00" if proof == "none" else head[:7] + bytes((len(said),)) + said

        tap.says = lie
        outcome = await execute(meter_of(document), "SET_TOU", set_tou())
        ended_at_once(outcome, SecurityEvent.FORGED, tap, 2, Phase.ASSOCIATING)


async def test_a_proof_played_again() -> None:
    """With the very challenge of an earlier association, as a broken source of randomness would give."""
    async with tapped(security="hls-gmac", protection="both") as (document, tap, simulator):
        by = driver(challenge=lambda: b"our-challenge-16")
        assert (await execute(meter_of(document), by=by)).how is How.DONE
        attacker = Attacker(simulator)
        old = attacker.plain(tap.answered[1])
        tap.connections, tap.asked = 0, []
        tap.says = lambda number, apdu: (
            attacker.sealed(old[:2] + attacker.plain(apdu)[2:3] + old[3:], attacker.counter(apdu))
            if number == 1
            else apdu
        )
        ended_at_once(await execute(meter_of(document), by=by), SecurityEvent.REPLAYED, tap, 2, Phase.ASSOCIATING)


async def test_another_meter_at_the_address_is_an_alarm() -> None:
    async with tapped(security="none") as (document, tap, _):
        outcome = await execute(meter_of(document, logicalDeviceName="MMM0000000000099"))
        assert (outcome.error, outcome.alarms) == (ErrorWord.IDENTITY_MISMATCH, (SecurityEvent.IMPOSTOR,))
        assert tap.connections == 1


async def test_an_honest_session_alarms_nobody() -> None:
    async with tapped(security="hls-gmac") as (document, tap, _):
        outcome = await execute(meter_of(document))
        assert (outcome.how, outcome.alarms) == (How.DONE, ())
        assert tap.connections == 1
