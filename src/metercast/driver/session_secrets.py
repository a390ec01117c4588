"""The secrets of one session: the association is opened with those that the meter takes, and they can be replaced."""

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from metercast.commands.contract import StepFailed
from metercast.domain.meter import AssociationSecrets, Secrets
from metercast.domain.problem import Problem
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import ReplacementLost, promote, stage, withdraw
from metercast.domain.words import ErrorWord
from metercast.driver.candidates import Candidate, candidates, neither, suspects_secret, used_secrets
from metercast.driver.contract import GiveBack
from metercast.driver.credentials import management_name
from metercast.driver.identity import check_identity
from metercast.driver.keeper import Change

if TYPE_CHECKING:
    from metercast.driver.session import DlmsSession

_log = logging.getLogger(__name__)


class Keeper(Protocol):
    """Stores changed secrets; see driver.keeper.SecretKeeper."""

    async def change(self, device_id: str, association: str, change: Change) -> Secrets: ...


class SessionSecrets:
    """Implements commands.contract.SecretChanges for the association that commands use.

    Without a keeper nothing can be replaced, and what an association proves is forgotten with the session.
    """

    __slots__ = ("_adopted", "_keeper", "_session", "_task_id", "_turn")

    def __init__(self, session: "DlmsSession", keeper: Keeper | None, task_id: str) -> None:
        self._session = session
        self._keeper = keeper
        self._task_id = task_id
        self._turn = 0  # the candidate at hand: one that the meter did not take is not tried again in this session
        self._adopted: Candidate | None = None

    # -- what commands see -----------------------------------------------------------------------------------------

    def current(self, kind: SecretKind) -> str | None:
        return self._secrets.value(kind)

    @property
    def pending(self) -> list[SecretKind]:
        return self._secrets.pending

    def is_proved_by_association(self, kind: SecretKind) -> bool:
        return kind in used_secrets(self._session.meter.record.management)

    def was_done(self, kind: SecretKind) -> bool:
        return self._secrets.replacement(kind).was_done_by(self._task_id)

    async def stage(self, kind: SecretKind, value: str) -> str:
        self._session.ask_to_change()
        now = self._now
        await self._change(lambda secrets: stage(secrets, kind, value, now, self._task_id))
        staged = self._secrets.replacement(kind).pending
        assert staged is not None
        return staged

    async def promote(self, kind: SecretKind) -> None:
        value, now = self._secrets.replacement(kind).pending, self._now
        assert value is not None
        await self._change(lambda secrets: promote(secrets, kind, value, now))

    async def withdraw(self, kind: SecretKind) -> None:
        value = self._secrets.replacement(kind).pending
        if value is not None:
            await self._change(lambda secrets: withdraw(secrets, kind, value))

    async def prove(self, kind: SecretKind, *, expect_new: bool) -> bool:
        """The other secret is tried where the meter said no. Where it said nothing, the next session finds out: a meter
        that is away must not find a wrong secret when it is back."""
        session = self._session
        await session.release()
        session.drop()
        old, *others = candidates(session.meter)
        new = next(each for each in others if each.kind is kind)
        failures: list[StepFailed] = []
        for candidate in (new, old) if expect_new else (old, new):
            await session.connect(candidate.settings, before=old.settings)
            try:
                await session.associate()
            except StepFailed as failure:
                session.drop()
                if not suspects_secret(failure, said=True):
                    raise
                failures.append(failure)
                continue
            await check_identity(session)
            if candidate is new:
                await self.promote(kind)
            return candidate is new
        raise neither(failures)

    # -- what the driver does --------------------------------------------------------------------------------------

    async def associate(self) -> None:
        """Connects and associates, with the pending secret where the meter does not take the current one."""
        session = self._session
        found = candidates(session.meter)
        failures: list[StepFailed] = []
        while True:
            candidate = found[self._turn]
            await session.connect(candidate.settings, before=found[0].settings)
            try:
                await session.associate()
            except StepFailed as failure:
                failures.append(failure)
                if len(found) == 1 or not suspects_secret(failure):
                    raise
                if self._turn == len(found) - 1:
                    raise neither(failures) from None
                session.drop()
                self._turn += 1
                continue
            self._adopted = candidate
            return

    async def adopt(self) -> None:
        """The meter has proved which secrets it holds: a pending one that it holds is current from now on.

        Where that can't be stored now the session goes on all the same; the next one finds it out again.
        """
        kind = self._adopted.kind if self._adopted is not None else None
        if kind is None:
            return
        try:
            await self.promote(kind)
        except (GiveBack, StepFailed) as error:
            _log.warning("%s: the new %s could not be stored: %s", self._session.meter.device_id, kind.value, error)
        else:
            self._turn = 0
            _log.info("%s: the meter holds the new %s", self._session.meter.device_id, kind.value)

    # -- steps -----------------------------------------------------------------------------------------------------

    @property
    def _secrets(self) -> AssociationSecrets:
        meter = self._session.meter
        return meter.secrets_of(management_name(meter))

    @property
    def _now(self) -> datetime:
        return self._session.now()

    async def _change(self, change: Change) -> None:
        """GiveBack where it can't be stored now; StepFailed where it never can."""
        session = self._session
        if self._keeper is None:
            raise StepFailed(ErrorWord.INTERNAL_ERROR, "this driver has no place to keep new secrets")
        session.may_send()  # without the lease another worker decides what is staged
        try:
            secrets = await self._keeper.change(session.meter.device_id, management_name(session.meter), change)
        except ReplacementLost as error:
            raise StepFailed(ErrorWord.OUTCOME_UNKNOWN, str(error)) from error
        except Problem as problem:
            raise GiveBack(f"the secrets could not be stored: {problem.detail}") from problem
        except ValueError as error:
            raise StepFailed(ErrorWord.CREDENTIALS_MISSING, f"the meter's secrets can't be opened: {error}") from error
        session.use_secrets(secrets)
