"""REPLACE_KEYS on a fake meter: what is sent and in which order, and what becomes of each refusal."""

from typing import Any

import msgspec
import pytest
from tests.commands.fake_session import FakeSession, run

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.registry import command_type, parse_parameters
from metercast.dlms.data import Data
from metercast.dlms.key_wrap import unwrap_key
from metercast.domain.meter import Association, AssociationSecrets, Authentication, password_octets
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import stage
from metercast.domain.words import ErrorWord

KEK, EK, AK, OTHER = "000102030405060708090A0B0C0D0E0F", "0A" * 16, "0B" * 16, "0C" * 16
GOLDEN_KEY = "00112233445566778899AABBCCDDEEFF"
GOLDEN = "c301c1004000002b0000ff020101010202160009181fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"
PROVED = {SecretKind.AUTHENTICATION_KEY, SecretKind.ENCRYPTION_KEY, SecretKind.PASSWORD}
REFUSED = MeterRefused(ErrorWord.OTHER_REASON, "ACTION class 64: other-reason (250)")
DENIED = MeterRefused(ErrorWord.READ_WRITE_DENIED, "ACTION class 64: read-write-denied (3)")
BUSY = MeterRefused(ErrorWord.TEMPORARY_FAILURE, "ACTION class 64: temporary-failure (2)")
LOST = StepFailed(ErrorWord.TIMEOUT, "ACTION class 64: no answer")


def session(authentication: Authentication = Authentication.HLS_GMAC, **secrets: str | None) -> FakeSession:
    made = FakeSession({})
    record = msgspec.structs.replace(
        made.meter.record, associations={"management": Association(authentication=authentication)}
    )
    made.meter = msgspec.structs.replace(made.meter, record=record)
    given: dict[str, Any] = {"master_key": KEK, "encryption_key": EK, "authentication_key": AK} | secrets
    made.keys.secrets = AssociationSecrets(**given)
    made.keys.proved = PROVED
    made.actions["64/2"] = made.actions["15/2"] = lambda parameter: None
    return made


def transferred(session: FakeSession) -> list[tuple[int, bytes]]:
    """Key id and wrapped key of each transfer."""
    return [(int(apdu[36:38], 16), bytes.fromhex(apdu[42:])) for apdu in session.apdus]


async def test_the_golden_apdu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metercast.commands.meter.replace_keys.randomness.token_hex", lambda octets: GOLDEN_KEY.lower())
    made = session()
    assert (await run(made, "REPLACE_KEYS", {"keys": ["encryption"]})).how is How.DONE
    assert made.apdus == [GOLDEN]
    assert made.keys.secrets.encryption_key == GOLDEN_KEY


async def test_one_after_the_other_in_a_fixed_order() -> None:
    made = session(Authentication.HLS_SHA256, password="old-secret")
    every = ["master", "broadcast", "encryption", "authentication", "password"]
    outcome = await run(made, "REPLACE_KEYS", {"keys": every})
    assert outcome.result == {"replaced": every[::-1]}
    assert made.log == [
        "stage password", "action 15/2", "prove password, new first", "promote password",
        "stage authenticationKey", "action 64/2", "prove authenticationKey, new first", "promote authenticationKey",
        "stage encryptionKey", "action 64/2", "prove encryptionKey, new first", "promote encryptionKey",
        "stage broadcastKey", "action 64/2", "promote broadcastKey",
        "stage masterKey", "action 64/2", "promote masterKey",
    ]  # fmt: skip
    now = made.keys.secrets
    keys = [now.authentication_key, now.encryption_key, now.broadcast_key, now.master_key]
    sent = transferred(made)[1:]
    assert [key_id for key_id, _ in sent] == [2, 0, 1, 3]
    assert [unwrap_key(bytes.fromhex(KEK), wrapped).hex().upper() for _, wrapped in sent] == keys
    assert len({KEK, EK, AK, *keys}) == 7
    again = await run(made, "REPLACE_KEYS", {"keys": every})
    assert again.result == outcome.result
    assert len(made.apdus) == 5, "the task has replaced each of them once"


@pytest.mark.parametrize(("suite", "octets"), [(0, 16), (1, 16), (2, 32)])
async def test_keys_are_as_long_as_the_suite_wants(suite: int, octets: int) -> None:
    made = session(master_key="0D" * octets)
    record = made.meter.record
    management = msgspec.structs.replace(record.management, security_suite=suite)
    record = msgspec.structs.replace(record, associations={"management": management})
    made.meter = msgspec.structs.replace(made.meter, record=record)
    await run(made, "REPLACE_KEYS", {"keys": ["encryption"]})
    assert len(bytes.fromhex(made.keys.secrets.encryption_key or "")) == octets


@pytest.mark.parametrize(
    ("old", "length", "expected"),
    [
        ("12345678", None, 8),
        ("short", None, 8),
        ("a" * 20, None, 20),
        ("12345678", 16, 16),
        ("hex:" + "00" * 16, None, 16),
    ],
)
async def test_a_password_is_as_long_as_the_old_one(old: str, length: int | None, expected: int) -> None:
    made = session(Authentication.LLS, password=old)
    raw: dict[str, Any] = {"keys": ["password"]} | ({} if length is None else {"passwordLength": length})
    await run(made, "REPLACE_KEYS", raw)
    new = made.keys.secrets.password or ""
    octets = password_octets(new) or b""
    assert len(octets) == expected
    assert new.startswith("hex:") == old.startswith("hex:")
    assert made.log[1] == "set 15/7"
    assert made.objects.popitem()[1] == Data.octets(octets)


@pytest.mark.parametrize("keys", [["authentication"], ["broadcast"], ["master"]])
@pytest.mark.parametrize(
    ("refusal", "word"), [(REFUSED, ErrorWord.VERIFICATION_FAILED), (DENIED, ErrorWord.READ_WRITE_DENIED)]
)
async def test_what_is_refused_is_withdrawn(keys: list[str], refusal: MeterRefused, word: ErrorWord) -> None:
    made = session()
    before = made.keys.secrets
    made.fail["action 64/2"] = refusal
    made.keys.holds_new = {SecretKind.AUTHENTICATION_KEY: False}
    with pytest.raises(StepFailed) as raised:
        await run(made, "REPLACE_KEYS", {"keys": keys})
    assert (raised.value.error, raised.value.result) == (word, {"replaced": []})
    assert made.keys.secrets == before
    assert ("prove authenticationKey, old first" in made.log) == (keys == ["authentication"])


@pytest.mark.parametrize("keys", [["authentication"], ["broadcast"], ["master"]])
@pytest.mark.parametrize("failure", [BUSY, LOST])
async def test_what_may_pass_or_was_not_seen_stays_pending(keys: list[str], failure: StepFailed) -> None:
    made = session()
    made.fail["action 64/2"] = failure
    made.keys.holds_new = {SecretKind.AUTHENTICATION_KEY: False}
    with pytest.raises(StepFailed) as raised:
        await run(made, "REPLACE_KEYS", {"keys": keys})
    assert raised.value.error is failure.error
    assert len(made.keys.pending) == 1
    first = transferred(made)
    del made.fail["action 64/2"]
    made.keys.holds_new.clear()
    await run(made, "REPLACE_KEYS", {"keys": keys})
    assert transferred(made) == first * 2, "the same key, and no third one"
    assert made.keys.pending == []


@pytest.mark.parametrize("failure", [LOST, StepFailed(ErrorWord.SECURITY_VIOLATION, "the tag is wrong")])
async def test_an_answer_that_was_not_seen_is_told_by_the_fresh_association(failure: StepFailed) -> None:
    made = session()
    made.fail["action 64/2"] = failure
    assert (await run(made, "REPLACE_KEYS", {"keys": ["encryption"]})).how is How.DONE
    assert made.log[-2:] == ["prove encryptionKey, new first", "promote encryptionKey"]


async def test_a_meter_that_says_yes_and_keeps_the_old_key() -> None:
    made = session()
    made.keys.holds_new = {SecretKind.ENCRYPTION_KEY: False}
    with pytest.raises(StepFailed, match="associates with the old one") as raised:
        await run(made, "REPLACE_KEYS", {"keys": ["authentication", "encryption"]})
    assert (raised.value.error, raised.value.result) == (
        ErrorWord.VERIFICATION_FAILED,
        {"replaced": ["authentication"]},
    )
    assert made.keys.pending == [SecretKind.ENCRYPTION_KEY]


async def test_a_master_key_that_arrived_unseen_shows_itself() -> None:
    """Under the old one it is refused; under itself it is taken."""
    made = session()
    made.keys.secrets = stage(made.keys.secrets, SecretKind.MASTER_KEY, OTHER, made.now(), "task-0")
    made.fail["action 64/2"] = [REFUSED, None, None]
    outcome = await run(made, "REPLACE_KEYS", {"keys": ["broadcast"]})
    assert outcome.result == {"replaced": ["master", "broadcast"]}
    assert made.keys.secrets.master_key == OTHER
    old, new, broadcast = [wrapped for _, wrapped in transferred(made)]
    assert unwrap_key(bytes.fromhex(KEK), old) == unwrap_key(bytes.fromhex(OTHER), new) == bytes.fromhex(OTHER)
    assert unwrap_key(bytes.fromhex(OTHER), broadcast).hex().upper() == made.keys.secrets.broadcast_key


async def test_a_meter_with_neither_master_key() -> None:
    made = session()
    made.keys.secrets = stage(made.keys.secrets, SecretKind.MASTER_KEY, OTHER, made.now(), "task-0")
    made.fail["action 64/2"] = REFUSED
    with pytest.raises(StepFailed, match="is the masterKey of its record the meter's") as raised:
        await run(made, "REPLACE_KEYS", {"keys": ["authentication"]})
    assert raised.value.error is ErrorWord.VERIFICATION_FAILED
    assert made.keys.pending == [SecretKind.MASTER_KEY]
    assert "stage authenticationKey" not in made.log


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({}, "commandParams.keys"),
        ({"keys": []}, "commandParams.keys"),
        ({"keys": ["signing"]}, "commandParams.keys[0]"),
        ({"keys": ["master", "master"]}, "commandParams.keys"),
        ({"keys": ["master"], "passwordLength": 12}, "commandParams.passwordLength"),
        ({"keys": ["password"], "passwordLength": 7}, "commandParams.passwordLength"),
        ({"keys": ["password"], "obis": "0.0.43.0.0.256"}, "commandParams.obis"),
        ({"keys": ["encryption"], "encryptionKey": GOLDEN_KEY}, "commandParams.encryptionKey"),
        ({"keys": [GOLDEN_KEY]}, "commandParams.keys[0]"),
        ({"keys": {"encryption": GOLDEN_KEY}}, "commandParams.keys"),
        ({"keys": GOLDEN_KEY}, "commandParams.keys"),
    ],
)
def test_parameters_that_do_not_validate(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as raised:
        parse_parameters(command_type("REPLACE_KEYS"), raw, FakeSession({}).now())
    assert raised.value.path == path
    assert GOLDEN_KEY not in f"{raised.value} {raised.value.received}", "someone may take a task for the place of a key"
