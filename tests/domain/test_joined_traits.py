"""The traits of several commands in one session: of each the strictest."""

from datetime import timedelta
from itertools import permutations

import pytest

from metercast.domain.command import CommandTraits, ConflictGroup, joined
from metercast.domain.retry import Resend

OWN = CommandTraits(name="OWN", resend=Resend.SAFE, expires_after=timedelta(days=9), may_be_joined=False)
READ = CommandTraits(name="READ", resend=Resend.SAFE, expires_after=timedelta(hours=1))
RELAY = CommandTraits(
    name="RELAY", resend=Resend.VERIFY, conflict_group=ConflictGroup.RELAY, expires_after=timedelta(minutes=15),
    can_read_back=True, needs_identity=True, max_devices=1000,
)  # fmt: skip
ONCE = CommandTraits(
    name="ONCE", resend=Resend.NEVER, expires_after=timedelta(hours=2), max_devices=10, is_privileged=True
)
SEEN = CommandTraits(name="SEEN", resend=Resend.NEVER, expires_after=timedelta(hours=2), can_read_back=True)


@pytest.mark.parametrize("members", list(permutations((READ, RELAY, ONCE))))
def test_in_any_order(members: tuple[CommandTraits, ...]) -> None:
    traits = joined(OWN, members)
    assert (traits.name, traits.resend, traits.conflict_group) == ("OWN", Resend.NEVER, ConflictGroup.RELAY)
    assert (traits.expires_after, traits.max_devices) == (timedelta(minutes=15), 10)
    assert (traits.needs_identity, traits.is_privileged, traits.may_be_joined) == (True, True, False)
    assert not traits.can_read_back, "one that is never sent again can't be read back"


def test_what_is_read_back_counts_for_the_strictest_only() -> None:
    assert joined(OWN, [READ, RELAY]).can_read_back
    assert joined(OWN, [READ, SEEN]).can_read_back
    assert not joined(OWN, [SEEN, ONCE]).can_read_back


def test_two_conflict_groups_are_refused() -> None:
    clock = CommandTraits(
        name="CLOCK", resend=Resend.SAFE, conflict_group=ConflictGroup.CLOCK, expires_after=timedelta(hours=1)
    )
    with pytest.raises(ValueError, match="clock, relay"):
        joined(OWN, [RELAY, READ, clock])
