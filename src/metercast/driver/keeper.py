"""Secrets that change while a session runs: opened, changed and sealed again, and stored only where nobody else was."""

from collections.abc import Callable
from typing import Protocol

from metercast.domain.meter import AssociationSecrets, Meter, SealedMeter, Secrets
from metercast.domain.problem import Conflict
from metercast.store.devices import DeviceStore

ROUNDS = 10

Change = Callable[[AssociationSecrets], AssociationSecrets]


class Sealer(Protocol):
    """Seals and opens secrets; see vault.Vault."""

    def seal(self, device_id: str, secrets: Secrets) -> bytes | None: ...

    def open(self, stored: SealedMeter) -> Meter: ...


class Keeper(Protocol):
    """What a session asks for."""

    async def change(self, device_id: str, association: str, change: Change) -> Secrets:
        """Stores what `change` makes of the association's secrets; all secrets of the meter as they are then."""
        ...


class SecretKeeper:
    """A change is decided on what is stored now, whatever the session began with: of two writers none is forgotten."""

    def __init__(self, store: DeviceStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def change(self, device_id: str, association: str, change: Change) -> Secrets:
        """The meter's secrets, with `change` made to those of `association`, durably stored.

        Raises domain.problem.Problem where they can't be stored now, ValueError where they can't be opened, and what
        `change` raises.
        """
        for _ in range(ROUNDS):
            stored = await self._store.get_device(device_id)
            secrets = dict(self._sealer.open(stored).secrets)
            before = secrets.get(association, AssociationSecrets())
            after = change(before)
            if after == before:
                return secrets
            secrets[association] = after
            if await self._store.replace_secrets(device_id, stored.sealed, self._sealer.seal(device_id, secrets)):
                return secrets
        raise Conflict(f"the secrets of device {device_id!r} are changed by others all the time")
