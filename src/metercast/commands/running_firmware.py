"""The firmware that a meter says it runs: what the profile names tells it (class 1)."""

from typing import Final

from metercast.commands.plain import plain
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.profiles.model import Profile


def firmware_attribute(profile: Profile) -> CosemAttribute:
    return CosemAttribute(1, profile.objects.firmware_version, 2)


_BLANK: Final = b"\0 \xff"


def firmware_text(told: Data) -> str | None:
    """The identifier of the firmware; None where it is no text, or a blank one, as of a meter that does not know."""
    if isinstance(told.value, bytes) and not told.value.strip(_BLANK):
        return None
    value = plain(told)
    return value if isinstance(value, str) and value.strip() else None
