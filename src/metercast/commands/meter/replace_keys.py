"""REPLACE_KEYS: new secrets for the association that commands use (class 64 key_transfer, class 15; catalogue 1.12).

Metercast makes the new ones; they are never in a task. One at a time: staged in the vault, sent, and proved by a fresh
association before the next one is staged. Whatever is lost on the way, the meter holds either the current secret or the
pending one, and both are kept until it has told which.
"""

import secrets as randomness
import string
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from metercast.commands.contract import CommandType, MeterSession, StepFailed
from metercast.commands.parameters import Obis, check_obis, chosen, require
from metercast.dlms.ciphering import KEY_SIZES
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data
from metercast.dlms.key_wrap import wrap_key
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.meter import Authentication, password_octets
from metercast.domain.outcome import Outcome
from metercast.domain.replacement import SecretKind
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorClass, ErrorWord

SECURITY_SETUP, ASSOCIATION = 64, 15
KEY_TRANSFER, CHANGE_HLS_SECRET = 2, 2
SECRET = 7
MIN_PASSWORD = 8
_LETTERS: Final = string.ascii_letters + string.digits
_HEX: Final = "hex:"


class Replaceable(StrEnum):
    AUTHENTICATION = "authentication"
    ENCRYPTION = "encryption"
    BROADCAST = "broadcast"
    MASTER = "master"
    PASSWORD = "password"  # noqa: S105


# In this order: the authentication key is proved before the encryption key is sent, the master key wraps all others.
_KINDS: Final = {
    Replaceable.PASSWORD: SecretKind.PASSWORD,
    Replaceable.AUTHENTICATION: SecretKind.AUTHENTICATION_KEY,
    Replaceable.ENCRYPTION: SecretKind.ENCRYPTION_KEY,
    Replaceable.BROADCAST: SecretKind.BROADCAST_KEY,
    Replaceable.MASTER: SecretKind.MASTER_KEY,
}
_PROVED_KEYS: Final = (SecretKind.AUTHENTICATION_KEY, SecretKind.ENCRYPTION_KEY)
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_KEY_IDS: Final = {
    SecretKind.ENCRYPTION_KEY: 0,
    SecretKind.BROADCAST_KEY: 1,
    SecretKind.AUTHENTICATION_KEY: 2,
    SecretKind.MASTER_KEY: 3,
}


class ReplaceKeys(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`keys` says which; new ones are random. What an earlier task left pending is replaced with them, and first.

    `passwordLength` is in characters (octets where the present password is written as hex); by default a new password
    is as long as the present one. `obis` names the security setup; by default the one of the meter's profile.
    """

    keys: Annotated[list[Replaceable], msgspec.Meta(min_length=1, max_length=len(Replaceable))]
    password_length: Annotated[int, msgspec.Meta(ge=8, le=64)] | None = None
    obis: Obis | None = None


def check(parameters: ReplaceKeys, now: datetime) -> None:
    check_obis(parameters.obis)
    keys = parameters.keys
    require(len(set(keys)) == len(keys), "keys", [each.value for each in keys], "one of them stands twice")
    given = parameters.password_length
    require(given is None or Replaceable.PASSWORD in keys, "passwordLength", given, "no password is replaced")


async def perform(session: MeterSession, parameters: ReplaceKeys) -> Outcome:
    replacing = _Replacing(session, parameters)
    pending = session.keys.pending
    wanted = {_KINDS[each] for each in parameters.keys} | set(pending)
    # What is pending first, one unknown at a time; and before all which key it is that wraps.
    kinds = sorted((kind for kind in _KINDS.values() if kind in wanted), key=lambda kind: kind not in pending)
    if SecretKind.MASTER_KEY in pending:
        kinds.sort(key=lambda kind: kind is not SecretKind.MASTER_KEY)
    for kind in kinds:
        replacing.check(kind)
    done: list[str] = []
    for kind in kinds:
        if not session.keys.was_done(kind):
            try:
                await replacing.replace(kind)
            except StepFailed as failure:
                failure.result = {"replaced": done}
                raise
        done.append(_NAMES[kind].value)
    return Outcome.done({"replaced": done})


class _Replacing:
    """One secret after the other, in one session."""

    def __init__(self, session: MeterSession, parameters: ReplaceKeys) -> None:
        self._session = session
        self._keys = session.keys
        self._length = parameters.password_length
        objects = session.profile.objects
        self._setup = chosen(parameters.obis, objects.security_setup)
        self._association = objects.association
        self._mechanism = session.meter.record.management.authentication
        self._key_size = KEY_SIZES[session.meter.record.management.security_suite]

    def check(self, kind: SecretKind) -> None:
        """Before anything is changed. StepFailed(CredentialsMissing) where `kind` can't be replaced, and proved."""
        if kind is SecretKind.PASSWORD:
            if not self._keys.is_proved_by_association(kind):
                raise _impossible(kind, "the association that commands use has no password")
        elif self._keys.current(SecretKind.MASTER_KEY) is None:
            raise _impossible(kind, "the meter's record lacks the masterKey that new keys are wrapped under")
        elif kind in _PROVED_KEYS and not self._keys.is_proved_by_association(kind):
            raise _impossible(kind, "the association that commands use does not use it, so a new one can't be proved")

    async def replace(self, kind: SecretKind) -> None:
        """Returns when the new one is current."""
        was_pending = kind in self._keys.pending
        value = await self._keys.stage(kind, self._new(kind))
        if kind is SecretKind.MASTER_KEY:
            await self._replace_master(value, was_pending)
        elif self._keys.is_proved_by_association(kind):
            await self._replace_proved(kind, value)
        else:
            await self._replace_trusting(kind, value, was_pending)

    async def _replace_proved(self, kind: SecretKind, value: str) -> None:
        """A fresh association decides, whatever was answered, or not."""
        failure: StepFailed | None = None
        try:
            await self._send(kind, value)
        except StepFailed as failed:
            if _may_pass(failed):
                raise
            failure = failed
        refused = failure is not None and not _is_open(failure)
        if await self._keys.prove(kind, expect_new=not refused):
            return
        if failure is None:
            detail = f"the meter answered that it took the new {kind.value}, and associates with the old one"
            raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail)
        if refused:
            await self._keys.withdraw(kind)
        raise _told(failure)

    async def _replace_trusting(self, kind: SecretKind, value: str, was_pending: bool) -> None:
        """No association shows it: the meter's answer is all there is, and after a lost one the same is sent again."""
        try:
            await self._send(kind, value)
        except StepFailed as failed:
            if not (was_pending or _may_pass(failed) or _is_open(failed)):
                await self._keys.withdraw(kind)
            raise _told(failed) from None
        await self._keys.promote(kind)

    async def _replace_master(self, value: str, was_pending: bool) -> None:
        """Wrapped under the current one; where an earlier session's may have arrived, the meter shows it by taking the
        new one under itself."""
        if not was_pending:
            await self._replace_trusting(SecretKind.MASTER_KEY, value, was_pending)
            return
        try:
            await self._send(SecretKind.MASTER_KEY, value)
        except StepFailed as failed:
            if _may_pass(failed) or _is_open(failed):
                raise
            try:
                await self._transfer(SecretKind.MASTER_KEY, value, by=value)
            except StepFailed as again:
                raise _told(again) from None
        await self._keys.promote(SecretKind.MASTER_KEY)

    async def _send(self, kind: SecretKind, value: str) -> None:
        if kind is SecretKind.PASSWORD:
            secret = Data.octets(password_octets(value) or b"")
            if self._mechanism is Authentication.LLS:
                await self._session.set(CosemAttribute(ASSOCIATION, self._association, SECRET), secret)
            else:
                await self._session.action(CosemMethod(ASSOCIATION, self._association, CHANGE_HLS_SECRET), secret)
            return
        master = self._keys.current(SecretKind.MASTER_KEY)
        assert master is not None
        await self._transfer(kind, value, by=master)

    async def _transfer(self, kind: SecretKind, value: str, *, by: str) -> None:
        wrapped = Data.octets(wrap_key(bytes.fromhex(by), bytes.fromhex(value)))
        item = Data.structure([Data.enum(_KEY_IDS[kind]), wrapped])
        await self._session.action(CosemMethod(SECURITY_SETUP, self._setup, KEY_TRANSFER), Data.array([item]))

    def _new(self, kind: SecretKind) -> str:
        """Random, in the form in which the record has it."""
        if kind is not SecretKind.PASSWORD:
            return randomness.token_hex(self._key_size).upper()
        present = self._keys.current(kind) or ""
        if present.startswith(_HEX):
            return _HEX + randomness.token_hex(self._length or len(present.removeprefix(_HEX)) // 2).upper()
        return "".join(randomness.choice(_LETTERS) for _ in range(self._length or max(len(present), MIN_PASSWORD)))


def _is_open(failure: StepFailed) -> bool:
    """Whether the meter may have done it all the same: no answer, or none that can be trusted."""
    return failure.error.error_class is ErrorClass.AMBIGUOUS or failure.error is ErrorWord.SECURITY_VIOLATION


def _may_pass(failure: StepFailed) -> bool:
    """It was not the time; what is pending is sent again. A refusal without a reason is a refusal."""
    return failure.error.error_class is ErrorClass.TRANSIENT and failure.error is not ErrorWord.OTHER_REASON


def _told(failure: StepFailed) -> StepFailed:
    """A meter whose master key is another one often gives no reason; sending the same again would change nothing."""
    if failure.error is not ErrorWord.OTHER_REASON:
        return failure
    detail = f"{failure.detail}: the meter did not take it; is the masterKey of its record the meter's?"
    return StepFailed(ErrorWord.VERIFICATION_FAILED, detail)


def _impossible(kind: SecretKind, reason: str) -> StepFailed:
    return StepFailed(ErrorWord.CREDENTIALS_MISSING, f"cannot replace the {kind.value}: {reason}")


REPLACE_KEYS = CommandType(
    traits=CommandTraits(
        name="REPLACE_KEYS",
        resend=Resend.VERIFY,
        conflict_group=ConflictGroup.KEYS,
        expires_after=timedelta(days=1),
        can_read_back=True,
        needs_identity=True,
    ),
    parameters=ReplaceKeys,
    perform=perform,
    check=check,
    hides_values=True,
    summary="Replaces keys and passwords by new ones, each proved by a fresh association; none is lost on the way.",
)
