"""Which secrets an association may be opened with: the current ones, and one that is pending beside them."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from metercast.commands.contract import StepFailed
from metercast.dlms.settings import AssociationSettings
from metercast.domain.meter import Association, Authentication, Meter, Protection
from metercast.domain.replacement import SecretKind
from metercast.domain.words import ErrorClass, ErrorWord
from metercast.driver.credentials import management_settings
from metercast.profiles.model import Profile

_WITHOUT_PASSWORD = frozenset({Authentication.NONE, Authentication.HLS_GMAC, Authentication.HLS_ECDSA})

# What a meter makes of a secret that is not its own; some just drop what they can't read.
_SAID = frozenset(
    {
        ErrorWord.AUTHENTICATION_FAILED,
        ErrorWord.ASSOCIATION_REJECTED,
        ErrorWord.SECURITY_VIOLATION,
        ErrorWord.INVALID_RESPONSE,
    }
)
_SUSPECT = _SAID | {ErrorWord.TIMEOUT, ErrorWord.CONNECTION_LOST}


class Candidate(NamedTuple):
    """`kinds` name the secrets that are not the current but the pending ones; none: all are current."""

    settings: AssociationSettings
    kinds: tuple[SecretKind, ...]


def used_secrets(association: Association) -> frozenset[SecretKind]:
    """Those that opening this association proves."""
    gmac = association.authentication is Authentication.HLS_GMAC
    tagged = association.protection in (Protection.AUTHENTICATED, Protection.BOTH)
    used = set()
    if gmac or association.protection is not Protection.NONE:
        broadcast = association.key_set == "broadcast"
        used.add(SecretKind.BROADCAST_KEY if broadcast else SecretKind.ENCRYPTION_KEY)
    if gmac or tagged:
        used.add(SecretKind.AUTHENTICATION_KEY)
    if association.authentication not in _WITHOUT_PASSWORD:
        used.add(SecretKind.PASSWORD)
    return frozenset(used)


def candidates(meter: Meter, profile: Profile) -> list[Candidate]:
    """The current secrets first. Meters lock out, and so a wrong try must not repeat itself: where the pending secret
    is the meter's, the first association that tells so makes it the current one; where the old one is, nothing was
    tried in vain.

    There are two at most. A secret is proved before the next one is replaced; where several are pending, an old record
    was put over secrets that Metercast had made, and the meter holds all of these or none.

    Raises StepFailed as `management_settings` does.
    """
    used = used_secrets(meter.record.management)
    pending = [kind for kind in meter.secrets_of(meter.record.management_name).pending if kind in used]
    found = [Candidate(management_settings(meter, profile), ())]
    return [*found, candidate(meter, profile, pending)] if pending else found


def candidate(meter: Meter, profile: Profile, kinds: Sequence[SecretKind]) -> Candidate:
    """With what is pending of these kinds in the place of what is current."""
    name = meter.record.management_name
    secrets = meter.secrets_of(name)
    for kind in kinds:
        secrets = secrets.with_value(kind, secrets.replacement(kind).pending)
    pending = msgspec.structs.replace(meter, secrets={**meter.secrets, name: secrets})
    return Candidate(management_settings(pending, profile), tuple(kinds))


def said_no(failure: StepFailed) -> bool:
    """Whether the meter answered an association in a way in which it would refuse a wrong secret."""
    return failure.error in _SAID


def may_be_a_no(failure: StepFailed) -> bool:
    """As `said_no`, or it said nothing, as meters do that can't read what they are sent."""
    return failure.error in _SUSPECT


def neither(failures: list[StepFailed]) -> StepFailed:
    """No candidate was taken. What may pass decides: a secret is only known to be wrong where the meter said so."""
    deciding = next((each for each in failures if each.error.error_class is not ErrorClass.PERMANENT), failures[-1])
    if len(failures) > 1:
        others = "; ".join(each.detail for each in failures if each is not deciding)
        deciding.detail = f"{deciding.detail}; with another secret that may be the meter's: {others}"
    return deciding
