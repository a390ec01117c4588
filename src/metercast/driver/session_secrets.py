"""The secrets of one session: the association is opened with those that the meter takes, and they can be replaced."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from metercast.commands.contract import StepFailed
from metercast.domain.meter import AssociationSecrets
from metercast.domain.problem import Problem
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import ReplacementLost, promote, stage, withdraw
from metercast.domain.words import ErrorWord, SecurityEvent
from metercast.driver.candidates import Candidate, candidate, candidates, may_be_a_no, neither, said_no, used_secrets
from metercast.driver.contact import MeterContact
from metercast.driver.contract import GiveBack
from metercast.driver.identity import check_identity
from metercast.driver.keeper import Change, Keeper

_FORGED = SecurityEvent.FORGED

_log = logging.getLogger(__name__)


class SessionSecrets:
    """Implements commands.contract.SecretChanges for the association that commands use.

    Without a keeper nothing can be replaced, and what an association proves is forgotten with the session.
    """

    __slots__ = ("_adopted", "_alarms", "_begin", "_keeper", "_session", "_task_id")

    def __init__(self, session: MeterContact, keeper: Keeper | None, task_id: str) -> None:
        self._session = session
        self._keeper = keeper
        self._task_id = task_id
        self._adopted: Candidate | None = None
        self._alarms: tuple[SecurityEvent, ...] = ()
        self._begin: int | None = None

    def end(self) -> None:
        """The session is over. Each holds the other, and sessions are freed by counting references."""
        del self._session

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
        self._alarms = tuple(self._session.alarms)
        now, used = self._now, used_secrets(self._session.meter.record.management)

        def change(secrets: AssociationSecrets) -> AssociationSecrets:
            others = [each for each in secrets.pending if each in used and each is not kind]
            if others and kind in used:  # a record was put in between
                raise ReplacementLost(f"the {others[0].value} must be proved before the {kind.value} is replaced")
            return stage(secrets, kind, value, now, self._task_id)

        await self._change(change)
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
        old, new = (candidate(session.meter, session.profile, kinds) for kinds in ((), (kind,)))
        order = (new, old) if expect_new else (old, new)
        found = await self._open(order, old, tries=said_no)
        await check_identity(session)
        if found is new:
            self._explain(self._alarms)  # an answer under the new secret already
            await self.promote(kind)
        return found is new

    # -- what the driver does --------------------------------------------------------------------------------------

    async def associate(self) -> None:
        """Connects and associates, with the pending secret where the meter does not take the current one."""
        session = self._session
        found = candidates(session.meter, session.profile)
        begin = min(session.turn if self._begin is None else self._begin, len(found) - 1)
        self._adopted = await self._open(found[begin:], found[0], tries=may_be_a_no)

    async def _open(
        self, order: Sequence[Candidate], current: Candidate, tries: Callable[[StepFailed], bool]
    ) -> Candidate:
        """The first of them that the meter takes; `tries` tells from a failure whether another one is tried.

        A meter that would lock out is left alone before that, and the next session begins with the other one. What was
        not taken is not tried again in this session.
        """
        session = self._session
        session.turn = 0
        before = tuple(session.alarms)
        failures: list[StepFailed] = []
        for each in order:
            self._begin = 0 if each is current else 1
            try:
                await session.connect(each.settings, before=current.settings)
            except StepFailed as failure:
                if failure.error is not ErrorWord.AUTHENTICATION_FAILED or (not failures and not order[-1].kinds):
                    raise
                session.turn = self._begin
                said = "".join(f"{each.detail}; " for each in failures)
                detail = f"{said}another secret that may be the meter's is {failure.detail}"
                raise StepFailed(ErrorWord.METER_BUSY, detail) from failure
            try:
                await session.associate()
            except StepFailed as failure:
                failures.append(failure)
                other_alarms = [each for each in session.alarms if each not in before and each is not _FORGED]
                if len(order) == 1 or other_alarms or not tries(failure):
                    raise
                if each is not order[-1]:
                    session.drop()
                continue
            if failures:
                self._explain(before)
            return each
        raise neither(failures)

    async def adopt(self) -> None:
        """The meter has proved which secrets it holds: pending ones that it holds are current from now on, and several
        that it does not hold are given up (see `candidates`).

        Where that can't be stored now the session goes on all the same; the next one finds it out again.
        """
        session = self._session
        if not self.pending:
            return
        proved = self._adopted.kinds if self._adopted is not None else ()
        used = used_secrets(session.meter.record.management)
        refuted = [kind for kind in self.pending if kind in used] if not proved else []
        try:
            for kind in proved:
                await self.promote(kind)
            for kind in refuted if len(refuted) > 1 else ():
                await self.withdraw(kind)
        except (GiveBack, StepFailed) as error:
            _log.warning("%s: what it proved could not be stored: %s", session.meter.device_id, error)
        else:
            for kind in proved:
                _log.info("%s: the meter holds the new %s", session.meter.device_id, kind.value)

    def _explain(self, before: tuple[SecurityEvent, ...]) -> None:
        """What looked forged since then was made with the secret that is now proved."""
        alarms = self._session.alarms
        alarms[:] = [each for each in alarms if each is not _FORGED or each in before]

    # -- steps -----------------------------------------------------------------------------------------------------

    @property
    def _secrets(self) -> AssociationSecrets:
        meter = self._session.meter
        return meter.secrets_of(meter.record.management_name)

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
            secrets = await self._keeper.change(session.meter.device_id, session.meter.record.management_name, change)
        except ReplacementLost as error:
            raise StepFailed(ErrorWord.OUTCOME_UNKNOWN, str(error)) from error
        except Problem as problem:
            raise GiveBack(f"the secrets could not be stored: {problem.detail}") from problem
        except ValueError as error:
            raise StepFailed(ErrorWord.CREDENTIALS_MISSING, f"the meter's secrets can't be opened: {error}") from error
        session.use_secrets(secrets)
