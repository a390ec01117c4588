"""REPLACE_KEYS through real sessions: what is lost at any step, and what is found out again, on a real store."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.driver.head_end import PATIENT, HeadEnd, cut_after, losing
from tests.driver.support import ScriptedCheckpoint
from tests.driver.transports import Tampered

from metercast.domain.meter import AssociationSecrets, Secrets, password_octets
from metercast.domain.outcome import How, Outcome, OutcomeKind, Phase
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import give
from metercast.domain.words import ErrorWord, SecurityEvent
from metercast.driver.counters import InvocationCounters
from metercast.driver.dlms import DlmsDriver
from metercast.driver.keeper import Change, SecretKeeper
from metercast.driver.memory import MeterMemory
from metercast.driver.transport import TcpConnector
from metercast.profiles.collection import Profiles
from metercast.simulator.faults import AccessError, LoseActionAnswer, StaleCounter
from metercast.simulator.keys import MeterKeys
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import HdlcSpec
from metercast.store.errors import StoreUnavailable
from metercast.store.sqlite import SqliteStore

KEYS = {"keys": ["encryption", "authentication"]}
MANY = 60


@asynccontextmanager
async def head_end(tmp_path: Path, security: str = "hls-gmac", **spec: Any) -> AsyncIterator[HeadEnd]:
    """`spec` are options of the population, or of its one meter."""
    options = {name: spec.pop(name) for name in ("hdlc", "protection", "suite", "dedicated", "general") if name in spec}
    population = Population.build(1, security=security, **options)  # type: ignore[arg-type]
    meters = Population((replace(population.meters[0], **spec),))
    store = await SqliteStore.open(tmp_path / "store.db")
    try:
        async with Simulator(meters, keep_events=True) as simulator:
            end = HeadEnd(store, simulator)
            await end.register()
            yield end
    finally:
        await store.close()


@pytest.mark.parametrize("new_keys", ["next-association", "at-once"])
@pytest.mark.parametrize("counter_restarts", [True, False])
@pytest.mark.parametrize("hdlc", [None, HdlcSpec()])
async def test_both_keys(tmp_path: Path, new_keys: str, counter_restarts: bool, hdlc: HdlcSpec | None) -> None:
    async with head_end(tmp_path, new_keys=new_keys, counter_restarts=counter_restarts, hdlc=hdlc) as end:
        before = await end.secrets()
        outcome = await end.run("REPLACE_KEYS", KEYS)
        assert (outcome.how, outcome.result) == (How.DONE, {"replaced": ["authentication", "encryption"]}), (
            outcome.detail
        )
        after = await end.secrets()
        assert await end.is_settled()
        assert after.encryption_key != before.encryption_key
        assert after.authentication_key != before.authentication_key
        assert outcome.alarms == (), "an answer under the new key is no forgery"
        assert (await end.run("DISCONNECT")).how is How.DONE
        assert max(end.refusals()) == 0


async def test_the_authentication_key_is_proved_before_the_encryption_key_is_staged(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        for sends in range(1, MANY):
            outcome = await end.run("REPLACE_KEYS", KEYS, sends_left=cut_after(sends))
            if outcome.succeeded:
                return
            secrets, held = await end.secrets(), end.simulated.state.keys
            assert len(secrets.pending) <= 1
            if secrets.pending == [SecretKind.ENCRYPTION_KEY]:
                assert held.authentication == bytes.fromhex(secrets.authentication_key or "")
        raise AssertionError("it never came to an end")


@pytest.mark.parametrize(
    ("keys", "security", "spec"),
    [
        (["authentication", "encryption"], "hls-gmac", {}),
        (["authentication", "encryption"], "hls-gmac", {"counter_restarts": False, "new_keys": "at-once"}),
        (["authentication", "encryption", "broadcast", "master"], "hls-gmac", {"security_version": 1}),
        (["password"], "lls", {}),
        (["password"], "hls-sha256", {}),
        (["password", "authentication", "encryption"], "hls-md5", {"protection": "both"}),
        (["encryption"], "lls", {"protection": "encrypted"}),
        (["authentication", "encryption", "broadcast"], "hls-gmac", {"suite": 2, "dedicated": True, "general": True}),
        (["authentication", "broadcast"], "lls", {"protection": "both", "key_set": "broadcast"}),
        (["password", "authentication"], "hls", {"protection": "authenticated", "suite": 1}),
        (["authentication"], "hls-ecdsa", {"protection": "both"}),
    ],
)
async def test_killed_before_any_step(tmp_path: Path, keys: list[str], security: str, spec: dict[str, Any]) -> None:
    """Nothing happens any more from some step on, on the wire or in the store: another command reaches the meter all
    the same, and the task, taken up again, replaces each key once."""
    for sends in range(1, MANY):
        folder = tmp_path / str(sends)
        folder.mkdir()
        async with head_end(folder, security, **spec) as end:
            killed = await end.run("REPLACE_KEYS", {"keys": keys}, sends_left=cut_after(sends))
            assert await end.lost_to() == []
            if killed.succeeded:
                assert await end.is_settled()
                assert sends > 2 * len(keys)
                return
            reached = await end.run("DISCONNECT", task_id="task-2")
            assert reached.how is How.DONE, (sends, reached.detail)
            assert await end.lost_to() == []
            again = await end.run("REPLACE_KEYS", {"keys": keys}, verify_first=True)
            assert again.how is How.DONE, (sends, again.detail)
            assert sorted(again.result["replaced"]) == sorted(keys)
            assert await end.is_settled(), sends
            assert max(end.refusals()) <= 1, "a meter must not be locked out"
            once = len(keys) - keys.count("password")
            assert 0 <= end.simulated.state.keys.version - once <= 1 + keys.count("password")
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize(
    ("keys", "security", "spec"),
    [
        (["authentication", "encryption"], "hls-gmac", {}),
        (["encryption"], "hls-gmac", {"counter_restarts": False, "new_keys": "at-once"}),
        (["broadcast", "master"], "hls-gmac", {"security_version": 1}),
        (["password"], "lls", {}),
        (["password"], "hls-sha1", {}),
    ],
)
async def test_a_lost_answer_at_every_step(
    tmp_path: Path, keys: list[str], security: str, spec: dict[str, Any]
) -> None:
    for number in range(1, MANY):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with head_end(folder, security, **spec) as end:
            lost = await end.run("REPLACE_KEYS", {"keys": keys}, connector=losing(number))
            assert await end.lost_to() == []
            if lost.succeeded and number > MANY // 3:
                return
            reached = await end.run("READ_CLOCK", task_id="task-2")
            assert reached.how is How.DONE, (number, reached.detail)
            again = await end.run("REPLACE_KEYS", {"keys": keys}, verify_first=True)
            assert again.how is How.DONE, (number, again.detail)
            assert await end.is_settled(), number
            assert max(end.refusals()) <= 1
    raise AssertionError("it never came to an end")


async def test_two_lost_answers_and_a_kill_after_each(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        await end.simulator.set_faults(end.simulated.meter_id, (LoseActionAnswer(actions=2),))
        progress = [await end.run("REPLACE_KEYS", KEYS, verify_first=bool(n)) for n in range(3)]
        assert progress[-1].how is How.DONE
        assert await end.is_settled()


async def test_a_lost_answer_is_found_out_in_the_same_session(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        await end.simulator.set_faults(end.simulated.meter_id, (LoseActionAnswer(actions=1),))
        outcome = await end.run("REPLACE_KEYS", KEYS)
        assert outcome.how is How.DONE, outcome.detail
        assert await end.is_settled()
        assert max(end.refusals()) == 0


async def test_a_wrong_master_key_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    async with head_end(tmp_path, security_version=1) as end:
        right = (await end.secrets()).master_key
        for keys in (["authentication", "encryption"], ["broadcast"], ["master"]):
            await end.register(masterKey="5A" * 16)
            before = await end.secrets()
            outcome = await end.run("REPLACE_KEYS", {"keys": keys})
            assert outcome.error is ErrorWord.VERIFICATION_FAILED
            assert outcome.detail is not None
            assert "masterKey" in outcome.detail
            assert outcome.result == {"replaced": []}
            assert await end.secrets() == before
            assert (await end.run("READ_CLOCK")).how is How.DONE
        await end.register(masterKey=right)
        every = {"keys": ["master", "authentication", "encryption", "broadcast"]}
        assert (await end.run("REPLACE_KEYS", every)).how is How.DONE
        assert await end.is_settled()


async def test_version_0_takes_no_master_key(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        outcome = await end.run("REPLACE_KEYS", {"keys": ["broadcast", "master"]})
        assert (outcome.error, outcome.result) == (ErrorWord.TYPE_UNMATCHED, {"replaced": ["broadcast"]})
        assert await end.is_settled()


async def test_what_may_pass_stays_pending_and_is_sent_again(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        busy = AccessError(service="action", class_id=64, logical_name="0.0.43.0.0.255", result=2, times=1)
        await end.simulator.set_faults(end.simulated.meter_id, (busy,))
        refused = await end.run("REPLACE_KEYS", {"keys": ["authentication"]})
        assert refused.error is ErrorWord.TEMPORARY_FAILURE
        pending = (await end.secrets()).replacement(SecretKind.AUTHENTICATION_KEY).pending
        assert (await end.run("REPLACE_KEYS", {"keys": ["authentication"]})).how is How.DONE
        assert (await end.secrets()).authentication_key == pending


async def test_a_refusal_withdraws_what_was_staged(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        denied = AccessError(service="action", class_id=64, logical_name="0.0.43.0.0.255", index=2, result=3)
        await end.simulator.set_faults(end.simulated.meter_id, (denied,))
        before = await end.secrets()
        outcome = await end.run("REPLACE_KEYS", KEYS)
        assert outcome.error is ErrorWord.READ_WRITE_DENIED
        assert await end.secrets() == before


async def test_what_one_task_left_another_one_ends(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        await end.simulator.set_faults(end.simulated.meter_id, (LoseActionAnswer(actions=1),))
        await end.run("REPLACE_KEYS", {"keys": ["broadcast"]})
        assert (await end.secrets()).pending == [SecretKind.BROADCAST_KEY]
        outcome = await end.run("REPLACE_KEYS", {"keys": ["authentication"]}, task_id="task-2")
        assert outcome.result == {"replaced": ["broadcast", "authentication"]}
        assert await end.is_settled()


async def test_neither_key_is_the_meters(tmp_path: Path) -> None:
    """Two associations are tried and no more; both keys stay."""
    async with head_end(tmp_path) as end:
        await end.run("REPLACE_KEYS", {"keys": ["authentication"]}, sends_left=cut_after(7))
        staged = await end.secrets()
        assert staged.pending == [SecretKind.AUTHENTICATION_KEY]
        keys = end.simulated.state.keys
        keys._keys[2] = b"\x5a" * 16
        keys.version += 1
        answered = len(end.refusals())
        outcome = await end.run("READ_CLOCK")
        assert outcome.error is ErrorWord.AUTHENTICATION_FAILED
        assert len(end.refusals()) == answered + 2
        assert await end.secrets() == staged


async def test_what_can_not_be_proved_is_not_replaced(tmp_path: Path) -> None:
    for number, (security, protection, keys) in enumerate(
        [
            ("hls-gmac", None, ["password"]),
            ("none", None, ["password"]),
            ("none", None, ["authentication"]),
            ("lls", "encrypted", ["encryption", "authentication"]),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with head_end(folder, security, protection=protection) as end:
            outcome = await end.run("REPLACE_KEYS", {"keys": keys})
            assert outcome.error is ErrorWord.CREDENTIALS_MISSING, keys
            assert end.simulated.state.keys.version == 0
            assert (await end.secrets()).pending == []


async def test_without_a_master_key_in_the_record(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        end.document["associations"]["management"].pop("masterKey")
        await end.register()
        outcome = await end.run("REPLACE_KEYS", KEYS)
        assert outcome.error is ErrorWord.CREDENTIALS_MISSING
        assert "masterKey" in (outcome.detail or "")


async def test_a_task_that_is_cancelled_stages_nothing(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:
        outcome = await end.run("REPLACE_KEYS", KEYS, checkpoint=ScriptedCheckpoint(change=lambda: False))
        assert outcome.kind is OutcomeKind.GIVEN_BACK
        assert (await end.secrets()).pending == []


async def test_counters_begin_above_those_of_the_key_before(tmp_path: Path) -> None:
    async with head_end(tmp_path, counter_restarts=False) as end:
        for _ in range(5):
            await end.run("READ_CLOCK")
        before = end.simulated.security.client_counter
        assert before > 3000
        assert (await end.run("REPLACE_KEYS", {"keys": ["encryption"]})).how is How.DONE
        assert end.simulated.security.client_counter > before
        assert max(end.refusals()) == 0


async def test_a_meter_that_locks_at_the_second_refusal_is_tried_with_one_secret_a_time(tmp_path: Path) -> None:
    """The profile's rule is kept: after one refusal nothing more is tried for its time, then the other secret."""
    (tmp_path / "strict.toml").write_text(
        'extends = "generic"\ndescription = "Locks early"\n[lockout]\nattempts = 2\nseconds = 600\n'
    )
    profiles = Profiles.load(tmp_path)
    seconds = [0.0]
    async with head_end(tmp_path) as end:
        end.document["profile"] = "strict"
        await end.register()
        by = DlmsDriver(
            TcpConnector(),
            InvocationCounters(end.store),
            PATIENT,
            profiles=profiles,
            keeper=SecretKeeper(end.store, end.vault),
            memory=MeterMemory(lambda: seconds[0]),
        )
        for sends in range(7, MANY):
            await end.run("REPLACE_KEYS", {"keys": ["authentication"]}, by=by, sends_left=cut_after(sends))
            secrets = await end.secrets()
            held = end.simulated.state.keys.authentication
            if secrets.pending and held != bytes.fromhex(secrets.authentication_key or ""):
                break
        refused = await end.run("READ_CLOCK", by=by)
        assert (refused.error, refused.phase) == (ErrorWord.METER_BUSY, Phase.ASSOCIATING)
        assert "locks at 2" in (refused.detail or "")
        answered = len(end.refusals())
        again = await end.run("READ_CLOCK", by=by)
        assert again.error is ErrorWord.METER_BUSY
        assert len(end.refusals()) == answered, "nothing more was tried"
        seconds[0] += 601
        assert (await end.run("READ_CLOCK", by=by)).how is How.DONE
        assert max(end.refusals()) == 1
        assert await end.is_settled()


async def test_a_counter_out_of_step_and_a_key_that_is_pending(tmp_path: Path) -> None:
    """The meter tells that it can read us: it is the counter, and no other key is tried."""
    async with head_end(tmp_path) as end:
        await end.run("REPLACE_KEYS", {"keys": ["encryption"]}, sends_left=cut_after(7))
        assert (await end.secrets()).pending == [SecretKind.ENCRYPTION_KEY]
        await end.simulator.set_faults(end.simulated.meter_id, (StaleCounter(ahead=5000),))
        assert (await end.run("READ_CLOCK", task_id="task-2")).how is How.DONE
        assert (await end.run("REPLACE_KEYS", {"keys": ["encryption"]})).how is How.DONE
        assert await end.is_settled()


async def test_no_secret_is_in_a_log_or_an_outcome(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    outcomes: list[Outcome] = []
    keys = ["password", "authentication", "encryption", "broadcast", "master"]
    for number in range(1, MANY, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with head_end(folder, "hls-sha256", protection="both", security_version=1) as end:
            outcomes.append(await end.run("REPLACE_KEYS", {"keys": keys}, connector=losing(number)))
            outcomes.append(await end.run("READ_CLOCK", task_id="task-2"))
            outcomes.append(await end.run("REPLACE_KEYS", {"keys": keys}, verify_first=True))
            await end.register(masterKey="5A" * 16)
            outcomes.append(await end.run("REPLACE_KEYS", {"keys": keys}, task_id="task-3"))
            stored = (folder / "store.db").read_bytes() + (folder / "store.db-wal").read_bytes()
            assert len(end.seen) >= 2 * len(keys) - 1
            told = caplog.text + repr(outcomes) + msgspec.json.encode(outcomes).decode()
            assert "REPLACE_KEYS" in told
            for secret in end.seen:
                assert secret not in told
                assert secret.lower() not in told
                assert secret.encode() not in stored
                assert (password_octets(secret) or b"") not in stored


async def test_a_key_from_an_old_file_costs_one_wrong_try(tmp_path: Path) -> None:
    """As an import leaves it that names the key with which the meter came."""
    async with head_end(tmp_path) as end:
        came_with = await end.secrets()
        assert (await end.run("REPLACE_KEYS", KEYS)).how is How.DONE
        await import_again(end, came_with)
        for _ in range(3):
            assert (await end.run("READ_CLOCK", task_id="task-2")).how is How.DONE
        assert await end.is_settled()
        assert sum(end.refusals()) == 1


async def import_again(end: HeadEnd, came_with: AssociationSecrets) -> None:
    def change(secrets: AssociationSecrets) -> AssociationSecrets:
        for kind in (SecretKind.ENCRYPTION_KEY, SecretKind.AUTHENTICATION_KEY):
            secrets = give(secrets, kind, came_with.value(kind))
        return secrets

    await SecretKeeper(end.store, end.vault).change(end.simulated.meter_id, "management", change)
    secrets = await end.secrets()
    assert len(secrets.pending) == 2
    assert secrets.authentication_key == came_with.authentication_key


@pytest.mark.parametrize("name", ["READ_CLOCK", "REPLACE_KEYS"])
async def test_a_meter_that_holds_the_keys_of_the_file_after_all(tmp_path: Path, name: str) -> None:
    """It was exchanged for a new one: what was made for the old one is given up, not sent."""
    async with head_end(tmp_path) as end:
        came_with = await end.secrets()
        keys = MeterKeys(end.simulated.spec)
        assert (await end.run("REPLACE_KEYS", KEYS)).how is How.DONE
        made = await end.secrets()
        await import_again(end, came_with)
        end.simulated.state.keys._keys |= keys._keys
        end.simulated.state.keys.version += 1
        outcome = await end.run(name, KEYS if name == "REPLACE_KEYS" else None, task_id="task-2")
        assert outcome.how is How.DONE, outcome.detail
        assert await end.is_settled()
        assert (await end.secrets()).authentication_key != made.authentication_key
        assert max(end.refusals()) == 0


class Interrupted:
    """A keeper before whose change `number` an old record is put."""

    def __init__(self, keeper: SecretKeeper, number: int, old: AssociationSecrets) -> None:
        self._keeper, self._left, self._old = keeper, number, old

    async def change(self, device_id: str, association: str, change: Change) -> Secrets:
        self._left -= 1
        if self._left == 0:
            kind = SecretKind.AUTHENTICATION_KEY
            await self._keeper.change(device_id, association, lambda found: give(found, kind, self._old.value(kind)))
        return await self._keeper.change(device_id, association, change)


async def test_an_old_record_that_is_put_between_two_keys(tmp_path: Path) -> None:
    """The authentication key that was just proved is unsure again: the encryption key waits for it."""
    async with head_end(tmp_path) as end:
        keeper = Interrupted(SecretKeeper(end.store, end.vault), 3, await end.secrets())
        by = DlmsDriver(TcpConnector(), InvocationCounters(end.store), PATIENT, keeper=keeper)
        outcome = await end.run("REPLACE_KEYS", KEYS, by=by)
        assert (outcome.error, outcome.result) == (ErrorWord.OUTCOME_UNKNOWN, {"replaced": ["authentication"]})
        assert (await end.secrets()).pending == [SecretKind.AUTHENTICATION_KEY]
        assert (await end.run("READ_CLOCK", task_id="task-2")).how is How.DONE
        assert (await end.run("REPLACE_KEYS", KEYS, verify_first=True)).how is How.DONE
        assert await end.is_settled()
        assert max(end.refusals()) == 1


async def test_a_store_that_is_away_stages_nothing_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with head_end(tmp_path) as end:

        async def away(*arguments: object) -> bool:
            raise StoreUnavailable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(end.store, "replace_secrets", away)
            outcome = await end.run("REPLACE_KEYS", KEYS)
        assert (outcome.kind, outcome.detail) == (
            OutcomeKind.GIVEN_BACK,
            "the secrets could not be stored: the disk is full",
        )
        assert end.simulated.state.keys.version == 0
        await end.run("REPLACE_KEYS", {"keys": ["authentication"]}, connector=losing(9))
        with monkeypatch.context() as patch:
            patch.setattr(end.store, "replace_secrets", away)
            for _ in range(2):
                assert (await end.run("READ_CLOCK", task_id="task-2")).how is How.DONE, "what it finds out, it forgets"
        assert (await end.run("REPLACE_KEYS", KEYS)).how is How.DONE
        assert await end.is_settled()


async def test_a_forged_answer_to_a_key_change_is_an_alarm_where_the_old_key_still_holds(tmp_path: Path) -> None:
    async with head_end(tmp_path) as end:

        def forge(data: bytes, count: int) -> bytes:
            return data[:-1] + bytes((data[-1] ^ 1,)) if data[8:9] == b"\xcf" and count > 3 else data

        denied = AccessError(service="action", class_id=64, logical_name="0.0.43.0.0.255", index=2, result=3)
        await end.simulator.set_faults(end.simulated.meter_id, (denied,))
        outcome = await end.run("REPLACE_KEYS", {"keys": ["encryption"]}, connector=Tampered(TcpConnector(), forge))
        assert outcome.error is ErrorWord.SECURITY_VIOLATION
        assert outcome.alarms == (SecurityEvent.FORGED,)
        assert await end.lost_to() == []
        await end.simulator.set_faults(end.simulated.meter_id, ())
        assert (await end.run("REPLACE_KEYS", {"keys": ["encryption"]})).how is How.DONE
        assert await end.is_settled()
