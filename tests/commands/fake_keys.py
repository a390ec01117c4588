"""The secrets of a FakeSession: `holds_new` says of each secret whether the meter turns out to hold the new one."""

from datetime import UTC, datetime

from metercast.commands.contract import StepFailed
from metercast.domain.meter import AssociationSecrets
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import promote, stage, withdraw

NOW = datetime(2026, 9, 17, tzinfo=UTC)


class FakeKeys:
    """Implements commands.secret_changes.SecretChanges; `log` goes to the log of the session."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.secrets = AssociationSecrets()
        self.proved: set[SecretKind] = set()
        self.holds_new: dict[SecretKind, bool | StepFailed] = {}
        self.task_id = "task-1"

    def current(self, kind: SecretKind) -> str | None:
        return self.secrets.value(kind)

    @property
    def pending(self) -> list[SecretKind]:
        return self.secrets.pending

    def is_proved_by_association(self, kind: SecretKind) -> bool:
        return kind in self.proved

    def was_done(self, kind: SecretKind) -> bool:
        return self.secrets.replacement(kind).was_done_by(self.task_id)

    async def stage(self, kind: SecretKind, value: str) -> str:
        self.log.append(f"stage {kind.value}")
        self.secrets = stage(self.secrets, kind, value, NOW, self.task_id)
        return self._pending(kind)

    async def prove(self, kind: SecretKind, *, expect_new: bool) -> bool:
        self.log.append(f"prove {kind.value}, {'new' if expect_new else 'old'} first")
        holds = self.holds_new.get(kind, True)
        if isinstance(holds, StepFailed):
            raise holds
        if holds:
            await self.promote(kind)
        return holds

    async def promote(self, kind: SecretKind) -> None:
        self.log.append(f"promote {kind.value}")
        self.secrets = promote(self.secrets, kind, self._pending(kind), NOW)

    async def withdraw(self, kind: SecretKind) -> None:
        self.log.append(f"withdraw {kind.value}")
        self.secrets = withdraw(self.secrets, kind, self._pending(kind))

    def _pending(self, kind: SecretKind) -> str:
        value = self.secrets.replacement(kind).pending
        assert value is not None
        return value
