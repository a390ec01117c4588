"""Staged, promoted, withdrawn: at no moment is a secret lost that the meter may hold."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from metercast.domain.meter import AssociationSecrets
from metercast.domain.replacement import Replacement, SecretKind
from metercast.domain.secret_changes import ReplacementLost, StillNeeded, give, promote, stage, withdraw

NOW = datetime(2026, 5, 8, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
OLD, NEW, OTHER = "0A" * 16, "0B" * 16, "0C" * 16
KIND = SecretKind.AUTHENTICATION_KEY
SECRETS = AssociationSecrets(encryption_key=OTHER, authentication_key=OLD)
STAGED = stage(SECRETS, KIND, NEW, NOW, "task-1")


def test_staged_the_old_one_is_current() -> None:
    assert STAGED.authentication_key == OLD
    assert STAGED.replacement(KIND) == Replacement(NEW, NOW, None, "task-1")
    assert STAGED.pending == [KIND]


def test_what_is_pending_is_never_replaced_by_another() -> None:
    again = stage(STAGED, KIND, OTHER, LATER, "task-2")
    assert again.replacement(KIND) == Replacement(NEW, NOW, None, "task-2")


def test_promoted_the_old_one_is_gone() -> None:
    promoted = promote(STAGED, KIND, NEW, LATER)
    assert (promoted.authentication_key, promoted.encryption_key) == (NEW, OTHER)
    assert promoted.pending == []
    assert promoted.replacement(KIND) == Replacement(None, None, LATER, "task-1")
    assert promote(promoted, KIND, NEW, LATER + timedelta(1)) == promoted


@pytest.mark.parametrize("secrets", [SECRETS, STAGED, promote(STAGED, KIND, NEW, LATER)])
def test_what_is_not_pending_is_not_promoted(secrets: AssociationSecrets) -> None:
    with pytest.raises(ReplacementLost, match="authenticationKey") as raised:
        promote(secrets, KIND, OTHER, LATER)
    assert OTHER not in str(raised.value)


def test_withdrawn_it_is_as_before() -> None:
    assert withdraw(STAGED, KIND, NEW) == SECRETS
    assert withdraw(STAGED, KIND, OTHER) == STAGED
    assert withdraw(SECRETS, KIND, NEW) == SECRETS


def test_what_is_given_never_loses_what_is_stored_nowhere_else() -> None:
    made = promote(STAGED, KIND, NEW, LATER)
    assert give(SECRETS, KIND, OTHER).authentication_key == OTHER
    assert give(SECRETS, KIND, None).authentication_key is None
    assert give(made, KIND, NEW) == made
    beside = give(made, KIND, OLD)
    assert (beside.authentication_key, beside.replacement(KIND)) == (OLD, Replacement(NEW, LATER, LATER))
    assert give(beside, KIND, OLD) == beside
    assert promote(beside, KIND, NEW, LATER).authentication_key == NEW
    assert give(STAGED, KIND, OLD) == STAGED
    for secrets, value in ((STAGED, OTHER), (STAGED, None), (made, None), (beside, OTHER), (beside, None)):
        with pytest.raises(StillNeeded, match="authenticationKey"):
            give(secrets, KIND, value)


def test_two_secrets_are_never_unsure_for_different_reasons() -> None:
    made = promote(STAGED, KIND, NEW, LATER)
    assert give(made, KIND, NEW, replacing=True) == made
    with pytest.raises(StillNeeded, match="authenticationKey"):
        give(made, KIND, OLD, replacing=True)


def test_a_first_secret_that_is_pending_takes_what_is_given() -> None:
    first = stage(SECRETS, SecretKind.BROADCAST_KEY, NEW, NOW, "task-1")
    assert give(first, SecretKind.BROADCAST_KEY, None) == first
    given = give(first, SecretKind.BROADCAST_KEY, OTHER)
    assert (given.broadcast_key, given.replacement(SecretKind.BROADCAST_KEY).pending) == (OTHER, NEW)


def test_done_is_what_the_task_itself_replaced() -> None:
    assert not STAGED.replacement(KIND).was_done_by("task-1")
    promoted = promote(STAGED, KIND, NEW, LATER)
    assert promoted.replacement(KIND).was_done_by("task-1")
    assert not promoted.replacement(KIND).was_done_by("task-2")
    withdrawn = withdraw(stage(promoted, KIND, OTHER, LATER, "task-2"), KIND, OTHER)
    assert not withdrawn.replacement(KIND).was_done_by("task-2")
    assert withdrawn.replacement(KIND).replaced_at == LATER


def test_nothing_of_it_is_shown() -> None:
    for shown in (repr(STAGED), repr(STAGED.replacements), str(STAGED.replacement(KIND))):
        assert NEW not in shown
        assert OLD not in shown


def test_what_was_sealed_before_there_were_replacements_is_read() -> None:
    old = msgspec.json.decode(b'{"encryptionKey":"00"}', type=AssociationSecrets)
    assert (old.encryption_key, old.replacements) == ("00", {})
    assert msgspec.json.encode(old) == b'{"encryptionKey":"00"}'
    assert msgspec.json.decode(msgspec.json.encode(STAGED), type=AssociationSecrets) == STAGED
