"""What the engine must know of a command type, whatever its COSEM steps."""

from collections.abc import Sequence
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
    may_be_joined: bool = True  # it may run between other commands in one association
    is_privileged: bool = False  # it can do what no other command guards: not for every operator


_STRICTNESS = (Resend.SAFE, Resend.VERIFY, Resend.NEVER)


def joined(own: CommandTraits, members: Sequence[CommandTraits]) -> CommandTraits:
    """The traits of a command that runs all of `members` (one at least) in one session: the strictest of each.

    Their conflict groups other than NONE are one; ValueError where they are not.
    """
    groups = {each.conflict_group for each in members} - {ConflictGroup.NONE}
    if len(groups) > 1:
        raise ValueError(f"commands of different conflict groups: {', '.join(sorted(groups))}")
    resend = max((each.resend for each in members), key=_STRICTNESS.index)
    limits = [each.max_devices for each in members if each.max_devices is not None]
    return CommandTraits(
        name=own.name,
        resend=resend,
        conflict_group=groups.pop() if groups else ConflictGroup.NONE,
        expires_after=min(each.expires_after for each in members),
        can_read_back=all(each.can_read_back for each in members if each.resend is resend),
        is_long=any(each.is_long for each in members),
        needs_identity=any(each.needs_identity for each in members),
        max_devices=min(limits, default=None),
        may_be_joined=own.may_be_joined,
        is_privileged=any(each.is_privileged for each in members),
    )
