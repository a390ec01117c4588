"""Secrets that change while others change them too, on a real store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metercast.domain.meter import AssociationSecrets
from metercast.domain.problem import Conflict, NotFound
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import ReplacementLost, promote, stage
from metercast.driver.keeper import SecretKeeper
from metercast.store.contract import Store
from metercast.store.devices import MeterWrite
from metercast.store.sqlite import SqliteStore
from metercast.vault import Vault, VaultError

NOW = datetime(2026, 5, 8, tzinfo=UTC)
OLD = AssociationSecrets(encryption_key="0A" * 16, authentication_key="0B" * 16)
KIND = SecretKind.AUTHENTICATION_KEY
VAULT = Vault(b"\x01" * 32)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await SqliteStore.open(tmp_path / "store.db")
    sealed = VAULT.seal("m", {"management": OLD})
    await opened.put_devices([MeterWrite("m", b'{"connection":{"host":"h"}}', sealed, "channel", 1)])
    yield opened
    await opened.close()


async def stored(store: Store) -> AssociationSecrets:
    return VAULT.open(await store.get_device("m")).secrets["management"]


async def test_of_many_that_stage_at_once_all_send_the_same_key(store: Store) -> None:
    """As where a worker that lost its lease, and does not know it, meets the one that has it."""
    keeper = SecretKeeper(store, VAULT)
    values = [f"{number:032X}" for number in range(8)]
    told = await asyncio.gather(
        *(keeper.change("m", "management", lambda found, v=v: stage(found, KIND, v, NOW, "task-1")) for v in values)  # type: ignore[misc]
    )
    (pending,) = {each["management"].replacement(KIND).pending for each in told}
    assert pending in values
    assert (await stored(store)).replacement(KIND).pending == pending
    assert (await stored(store)).authentication_key == OLD.authentication_key


async def test_changes_of_different_secrets_at_once_are_all_made(store: Store) -> None:
    keeper = SecretKeeper(store, VAULT)
    kinds = [SecretKind.AUTHENTICATION_KEY, SecretKind.ENCRYPTION_KEY, SecretKind.BROADCAST_KEY]
    await asyncio.gather(
        *(keeper.change("m", "management", lambda found, k=k: stage(found, k, "0C" * 16, NOW, "t")) for k in kinds)  # type: ignore[misc]
    )
    assert set((await stored(store)).pending) == set(kinds)


async def test_what_changes_nothing_writes_nothing(store: Store) -> None:
    before = await store.get_device("m")
    assert await SecretKeeper(store, VAULT).change("m", "management", lambda found: found) == {"management": OLD}
    assert await store.get_device("m") == before


async def test_what_can_not_be(store: Store) -> None:
    keeper = SecretKeeper(store, VAULT)
    with pytest.raises(ReplacementLost):
        await keeper.change("m", "management", lambda found: promote(found, KIND, "0C" * 16, NOW))
    with pytest.raises(NotFound):
        await keeper.change("unknown", "management", lambda found: found)
    with pytest.raises(VaultError):
        await SecretKeeper(store, Vault(b"\x02" * 32)).change("m", "management", lambda found: found)
    assert await stored(store) == OLD


async def test_one_who_never_gets_through_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*arguments: object) -> bool:
        return False

    monkeypatch.setattr(store, "replace_secrets", never)
    with pytest.raises(Conflict, match="all the time"):
        await SecretKeeper(store, VAULT).change(
            "m", "management", lambda found: stage(found, KIND, "0C" * 16, NOW, "task-1")
        )
