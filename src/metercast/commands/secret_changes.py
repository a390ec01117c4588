"""What a command may ask of its session where it replaces the secrets of the association that commands use."""

from typing import Protocol

from metercast.domain.replacement import SecretKind


class SecretChanges(Protocol):
    """A new secret is staged before it is sent, and is current once the meter proved that it holds it.

    Every call may raise StepFailed, and what ends a session where a change can't be stored now. What is staged outlives
    the session, however it ends: every later session tries the current secret first and then the pending one.
    """

    def current(self, kind: SecretKind) -> str | None: ...

    @property
    def pending(self) -> list[SecretKind]:
        """Those of which the meter may hold another than the current one."""
        ...

    def is_proved_by_association(self, kind: SecretKind) -> bool:
        """Opening the association proves which one the meter holds."""
        ...

    def was_done(self, kind: SecretKind) -> bool:
        """A session of this very task has replaced it."""
        ...

    async def stage(self, kind: SecretKind, value: str) -> str:
        """The secret to send, durably pending: `value`, or one that was pending already."""
        ...

    async def prove(self, kind: SecretKind, *, expect_new: bool) -> bool:
        """Ends the association and opens a fresh one, with the secret that is expected and then with the other one.

        True: the meter holds the new secret, which is current from now on. False: it holds the old one, and both are
        kept. StepFailed where it takes neither.
        """
        ...

    async def promote(self, kind: SecretKind) -> None:
        """The meter proved otherwise that it holds what is pending."""
        ...

    async def withdraw(self, kind: SecretKind) -> None:
        """The meter refused what is pending, and holds the current one."""
        ...
