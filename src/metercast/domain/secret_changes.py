"""What may happen to one secret of an association: staged, then promoted or withdrawn. Pure; each may be repeated."""

from datetime import datetime

import msgspec

from metercast.domain.meter import AssociationSecrets
from metercast.domain.replacement import Replacement, SecretKind


class ReplacementLost(Exception):
    """What was pending is pending no longer: another wrote the secret meanwhile."""


class StillNeeded(Exception):
    """A secret that is stored nowhere else would be lost."""

    def __init__(self, kind: SecretKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


def stage(secrets: AssociationSecrets, kind: SecretKind, value: str, now: datetime, task_id: str) -> AssociationSecrets:
    """`value` is pending from now on; one that is pending already stays, for the meter may hold it, and only changes
    its task."""
    found = secrets.replacement(kind)
    if found.pending is not None:
        return _with(secrets, kind, msgspec.structs.replace(found, task_id=task_id))
    return _with(secrets, kind, Replacement(value, now, found.replaced_at, task_id))


def promote(secrets: AssociationSecrets, kind: SecretKind, value: str, now: datetime) -> AssociationSecrets:
    """The meter has proved that it holds `value`: what was pending is current, and the old one is gone."""
    found = secrets.replacement(kind)
    if found.pending is None and secrets.value(kind) == value:
        return secrets
    if found.pending != value:
        raise ReplacementLost(f"the new {kind.value} is not pending any longer")
    return _with(secrets.with_value(kind, value), kind, Replacement(replaced_at=now, task_id=found.task_id))


def give(
    secrets: AssociationSecrets, kind: SecretKind, value: str | None, *, replacing: bool = False
) -> AssociationSecrets:
    """A user says that the secret is `value`, None that there is none.

    One that Metercast made is nowhere else: it stays beside what is given, as pending, and the meter decides. Raises
    StillNeeded where it would be lost: removed, or a third one beside two that may be the meter's. `replacing`: another
    secret of the association is pending, and the combinations that may be the meter's would be too many.
    """
    present, found = secrets.value(kind), secrets.replacement(kind)
    if value is None and (present is not None or found.pending is None) and (found.pending or found.replaced_at):
        raise StillNeeded(kind)
    if value == present or found == Replacement():
        return secrets.with_value(kind, value)
    if value is None:
        return secrets
    if found.pending is not None:
        if present is not None:
            raise StillNeeded(kind)
        return secrets.with_value(kind, value)
    if replacing:
        raise StillNeeded(kind)
    return _with(secrets.with_value(kind, value), kind, Replacement(present, found.replaced_at, found.replaced_at))


def withdraw(secrets: AssociationSecrets, kind: SecretKind, value: str) -> AssociationSecrets:
    """The meter refused `value` and has proved that it still holds the old one."""
    found = secrets.replacement(kind)
    if found.pending != value:
        return secrets
    return _with(secrets, kind, Replacement(replaced_at=found.replaced_at))


def _with(secrets: AssociationSecrets, kind: SecretKind, replacement: Replacement) -> AssociationSecrets:
    replacements = {each: found for each, found in secrets.replacements.items() if each is not kind}
    if replacement != Replacement():
        replacements[kind] = replacement
    return msgspec.structs.replace(secrets, replacements=replacements)
