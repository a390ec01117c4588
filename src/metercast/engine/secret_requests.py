"""Secrets alone, for a meter that is registered already: its record stays as it is."""

from typing import Annotated, Any

import msgspec

from metercast.domain.meter import Association, AssociationSecrets, MeterRecord, Name, StoredMeter
from metercast.domain.problem import InvalidField
from metercast.domain.replacement import SecretKind
from metercast.engine.meters import AssociationRequest, MeterRequest

Given = Annotated[dict[SecretKind, str | None], msgspec.Meta(min_length=1)]

_FIELDS = dict(zip(SecretKind, AssociationSecrets.__struct_fields__[: len(SecretKind)], strict=True))


class SecretsRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """By association. One that is left out stays as it is stored; null removes it."""

    associations: Annotated[dict[Name, Given], msgspec.Meta(min_length=1, max_length=16)]

    def __repr__(self) -> str:
        return "SecretsRequest()"

    def onto(self, device_id: str, stored: StoredMeter | None) -> MeterRequest:
        """The record that is stored, with these secrets. InvalidField where there is no such meter or association."""
        if stored is None:
            raise InvalidField("deviceId", device_id, "no such meter is registered")
        record = msgspec.json.decode(stored.document, type=MeterRecord)
        for name in self.associations:
            if name not in record.associations:
                raise InvalidField.secret(f"associations.{name}", "the meter's record has no such association")
        associations = {
            name: _with(association, self.associations.get(name, {}))
            for name, association in record.associations.items()
        }
        fields = {field: getattr(record, field) for field in MeterRecord.__struct_fields__}
        return MeterRequest(**fields | {"associations": associations})


def _with(association: Association, given: dict[SecretKind, str | None]) -> AssociationRequest:
    fields: dict[str, Any] = {field: getattr(association, field) for field in Association.__struct_fields__}
    return AssociationRequest(**fields | {_FIELDS[kind]: value for kind, value in given.items()})
