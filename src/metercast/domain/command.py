"""What the engine must know of a command type, whatever its COSEM steps."""

from datetime import timedelta
from enum import StrEnum

import msgspec

from metercast.domain.retry import Resend


class ConflictGroup(StrEnum):
    """Commands of one group on one meter run in the order of scheduledAt, createdAt."""

    NONE = "none"
    RELAY = "relay"
    CALENDAR = "calendar"
    CLOCK = "clock"
    KEYS = "keys"
    FIRMWARE = "firmware"

    @property
    def supersedes(self) -> bool:
        """Whether a newer command of the group makes an older one that waits void; else it waits for it."""
        return self in (ConflictGroup.RELAY, ConflictGroup.CALENDAR)


class CommandTraits(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine treats a command type."""

    name: str
    resend: Resend
    conflict_group: ConflictGroup = ConflictGroup.NONE
    expires_after: timedelta  # from the due time, unless the task says otherwise
    can_read_back: bool = False  # for Resend.NEVER: a session can find out what an earlier one did
    is_long: bool = False  # its sessions end with a checkpoint where something else waits, and go on in another
    needs_identity: bool = False  # the meter's record must name an identity, which is checked before any change
    max_devices: int | None = None  # per task; None: the server's own limit
