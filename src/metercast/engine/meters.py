"""The registry of meters: records come in with their secrets, and go out without them."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
import structlog

from metercast.domain.meter import (
    Association,
    AssociationSecrets,
    Connection,
    Identity,
    Meter,
    MeterRecord,
    Name,
    Sap,
    SealedMeter,
    Secrets,
    StoredMeter,
    check_device_id,
    check_record,
    check_secrets,
)
from metercast.domain.problem import Conflict, InvalidField
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import StillNeeded, give
from metercast.engine.apikeys import Caller
from metercast.engine.decoding import shows_all_but_secrets
from metercast.profiles.model import GENERIC
from metercast.store.devices import DeviceStore, MeterWrite
from metercast.store.pages import Page

log = structlog.get_logger()

_HOW = "Write-only. Left out: the stored one stays; null: it is removed."
Password = Annotated[str, msgspec.Meta(description=f"Text, or hex: and octets. {_HOW}")]
Key = Annotated[str, msgspec.Meta(description=f"32 hex digits, or 64 with security suite 2. {_HOW}")]
SigningKey = Annotated[str, msgspec.Meta(description=f"Hex of the number, or PEM. {_HOW}")]

_SHOWN_OF_ASSOCIATIONS = frozenset(Association.__struct_encode_fields__) - {"serverPublicKey"}


class AssociationRequest(Association, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """An association with the secrets that come with it."""

    password: Password | msgspec.UnsetType | None = msgspec.UNSET
    encryption_key: Key | msgspec.UnsetType | None = msgspec.UNSET
    authentication_key: Key | msgspec.UnsetType | None = msgspec.UNSET
    broadcast_key: Key | msgspec.UnsetType | None = msgspec.UNSET
    master_key: Key | msgspec.UnsetType | None = msgspec.UNSET
    signing_key: SigningKey | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def given(self) -> dict[SecretKind, str | None]:
        """The secrets that were not left out."""
        found = zip(SecretKind, (getattr(self, field) for field in _SECRETS), strict=True)
        return {kind: value for kind, value in found if value is not msgspec.UNSET}

    def __repr__(self) -> str:
        return f"AssociationRequest(client_sap={self.client_sap})"


Associations = Annotated[dict[Name, AssociationRequest], msgspec.Meta(max_length=16)]


class MeterRequest(MeterRecord, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A meter's record as it is put. Secrets belong to an association by its name and go with it."""

    associations: Associations = msgspec.field(default_factory=dict)  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "MeterRequest()"

    @property
    def record(self) -> MeterRecord:
        """Without the secrets."""
        plain = {
            name: Association(**{field: getattr(each, field) for field in Association.__struct_fields__})
            for name, each in self.associations.items()
        }
        fields = {field: getattr(self, field) for field in MeterRecord.__struct_fields__}
        return MeterRecord(**fields | {"associations": plain})

    def secrets(self, stored: Secrets) -> Secrets:
        """Those given, and those `stored` that were left out; what Metercast made stays, whatever is given.

        Raises InvalidField without the value, and Conflict where a secret would be lost that is stored nowhere else.
        """
        merged: Secrets = {}
        for name, each in self.associations.items():
            merged[name] = stored.get(name, _NO_SECRETS)
            replacing = bool(merged[name].pending)
            for kind, value in each.given.items():
                try:
                    merged[name] = give(merged[name], kind, value, replacing=replacing)
                except StillNeeded:
                    raise _still_needed(name, [kind]) from None
            check_secrets(name, merged[name], each.security_suite)
        for name, old in stored.items():
            if name not in merged and old.replacements:
                raise _still_needed(name, list(old.replacements))
        return merged


class MeterPut(MeterRequest, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What a PUT takes: a record, or what a GET showed, changed. What only a GET can know is not looked at."""

    device_id: str | msgspec.UnsetType = msgspec.UNSET
    shown_secrets: Any = msgspec.field(default=None, name="secrets")
    created_at: Any = None
    updated_at: Any = None
    replacements: Any = None

    def check_names(self, device_id: str) -> None:
        """InvalidField where the record says that it is another meter's."""
        if self.device_id not in (msgspec.UNSET, device_id):
            raise InvalidField("deviceId", self.device_id, f"the path says {device_id!r}")


class ShownReplacement(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Since when another secret is pending, which may be the meter's; and when the last one was replaced."""

    pending_since: datetime | None = None
    replaced_at: datetime | None = None


class MeterView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A meter as it is shown: `secrets` names which are set, by association; null where they can't be opened.

    `replacements`, where there are any, tells of secrets that are being replaced or were, by association and name.
    """

    device_id: str
    connection: Connection
    server_sap: Sap
    profile: str
    time_zone: str
    associations: dict[str, Association]
    identity: Identity
    secrets: dict[str, list[str]] | None
    replacements: dict[str, dict[str, ShownReplacement]] | msgspec.UnsetType = msgspec.UNSET
    created_at: datetime
    updated_at: datetime


class Imported(msgspec.Struct, frozen=True):
    """What an import did."""

    lines: int
    created: int
    updated: int


class Sealer(Protocol):
    """Seals and opens secrets; see vault.Vault."""

    def seal(self, device_id: str, secrets: Secrets) -> bytes | None: ...

    def open(self, stored: SealedMeter) -> Meter: ...


_NO_SECRETS = AssociationSecrets()
_SECRETS = AssociationSecrets.__struct_fields__[: len(SecretKind)]
_PUTS = 5
_encode = msgspec.json.Encoder().encode


def shows_no_secret(path: str) -> bool:
    """Of associations only what is known to be harmless is repeated: a secret may stand in the wrong field."""
    if "associations" in path:
        return path.rpartition(".")[2] in _SHOWN_OF_ASSOCIATIONS
    return shows_all_but_secrets(path)


class Meters:
    """`profiles` are the names of those that a meter's record may name."""

    def __init__(self, store: DeviceStore, sealer: Sealer, profiles: Collection[str] = (GENERIC,)) -> None:
        self._store = store
        self._profiles = profiles
        self._sealer = sealer
        self._lock = asyncio.Lock()  # reading what is stored and writing what follows from it is one step

    async def put(self, device_id: str, request: MeterRequest, caller: Caller) -> tuple[MeterView, bool]:
        """Creates or replaces the meter; whether it is new."""
        check_device_id(device_id)
        async with self._lock:
            created = await self._put(device_id, request)
        log.info("device.put", device_id=device_id, created=bool(created), by=caller.key_id)
        return await self.get(device_id), bool(created)

    async def _put(self, device_id: str, request: MeterRequest) -> int:
        """Once more where a session replaced a secret in between."""
        for last in (*[False] * _PUTS, True):
            stored = await self._store.find_devices([device_id])
            write = self.write(device_id, request, stored.get(device_id))
            try:
                return await self._store.put_devices([write])
            except Conflict:
                if last:
                    raise
        raise AssertionError("the last try returns or raises")

    async def get(self, device_id: str) -> MeterView:
        return self._view(await self._store.get_device(device_id))

    async def page(self, prefix: str | None, limit: int, cursor: str | None) -> Page[MeterView]:
        """In order of device id."""
        page = await self._store.list_registered(prefix, limit, cursor)
        return Page([self._view(each) for each in page.items], page.next_cursor)

    async def delete(self, device_id: str, caller: Caller) -> None:
        async with self._lock:
            await self._store.delete_device(device_id)
        log.info("device.deleted", device_id=device_id, by=caller.key_id)

    async def find(self, device_ids: Sequence[str]) -> dict[str, StoredMeter]:
        return await self._store.find_devices(device_ids)

    async def put_all(self, writes: Sequence[MeterWrite], seen: dict[str, datetime], caller: Caller) -> Imported:
        """Stores an import whole. `seen` holds when each meter of it that exists was last changed, as it was read:
        Conflict where one has changed since, for secrets that were left out are taken from there."""
        async with self._lock:
            for ids in _batches([write.device_id for write in writes], 1000):
                for device_id, stored in (await self._store.find_devices(ids)).items():
                    if seen.get(device_id) != stored.updated_at:
                        raise Conflict(f"device {device_id!r} changed while the import ran; nothing was imported")
            created = await self._store.put_devices(writes)
        log.info("device.imported", devices=len(writes), created=created, by=caller.key_id)
        return Imported(len(writes), created, len(writes) - created)

    def write(self, device_id: str, request: MeterRequest, stored: StoredMeter | None) -> MeterWrite:
        """What to store for `request`, given what is stored now. Raises InvalidField."""
        record = request.record
        check_record(record, self._profiles)
        secrets = request.secrets(self._stored_secrets(request, stored))
        return MeterWrite(
            device_id,
            _encode(record),
            self._sealer.seal(device_id, secrets),
            record.connection.channel_name,
            record.connection.max_sessions,
            None if stored is None else stored.sealed,
        )

    def _stored_secrets(self, request: MeterRequest, stored: StoredMeter | None) -> Secrets:
        if stored is None or stored.sealed is None:
            return {}
        try:
            return self._sealer.open(stored).secrets
        except ValueError:
            if all(len(each.given) == len(SecretKind) for each in request.associations.values()):
                return {}
            reason = "the stored secrets can't be opened: give each secret, or null"
            raise InvalidField.secret("associations", reason) from None

    def _view(self, stored: StoredMeter) -> MeterView:
        names: dict[str, Any] | None
        replacements: Any = msgspec.UNSET
        try:
            secrets = self._sealer.open(stored).secrets
        except ValueError:
            names = None
        else:
            names = {name: each.names for name, each in secrets.items()}
            replacements = _shown(secrets)
        record = msgspec.json.decode(stored.document, type=MeterRecord)
        return MeterView(
            device_id=stored.device_id,
            **msgspec.structs.asdict(record),
            secrets=names,
            replacements=replacements,
            created_at=stored.created_at,
            updated_at=stored.updated_at,
        )


def _still_needed(association: str, kinds: list[SecretKind]) -> Conflict:
    what = ", ".join(f"associations.{association}.{kind.value}" for kind in kinds)
    reason = "made or being replaced by REPLACE_KEYS, and stored nowhere else"
    return Conflict(f"{what}: {reason}; delete the device to give it up")


def _shown(secrets: Secrets) -> dict[str, dict[str, ShownReplacement]] | msgspec.UnsetType:
    """When, and never what."""
    shown = {
        name: {
            kind.value: ShownReplacement(found.since, found.replaced_at) for kind, found in each.replacements.items()
        }
        for name, each in secrets.items()
        if each.replacements
    }
    return shown or msgspec.UNSET


def _batches(ids: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
