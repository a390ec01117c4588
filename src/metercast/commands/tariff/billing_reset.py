"""BILLING_RESET: closes the billing period by a script (class 9), and the billing counter proves it (catalogue 1.13).

It is not idempotent. The counter is read and kept in the record before the script is executed, in a session of its own,
so that a session that follows one whose answer was lost knows whether the script ran: it is executed again only where
the counter still stands where it stood.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec

from metercast.commands.contract import CommandType, MeterSession, StepFailed
from metercast.commands.parameters import ProfileObis, check_obis, chosen, require
from metercast.commands.steps import read
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, Tag
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord

SCRIPT_TABLE, DATA = 9, 1
VALUE = 2
EXECUTE = 1
_BITS: Final = {Tag.UNSIGNED: 8, Tag.LONG_UNSIGNED: 16, Tag.DOUBLE_LONG_UNSIGNED: 32}
_GLOBAL_RESET: Final = bytes((10, 0, 0))  # groups C, D and E, on whichever channel


class BillingReset(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is left out is the profile's."""

    script_id: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)] | None = None
    counter_obis: ProfileObis = None
    obis: ProfileObis = None


class Counter(msgspec.Struct, frozen=True):
    """The billing counter as it was before, and where it wraps."""

    value: int
    bits: int

    @classmethod
    def of(cls, data: Data) -> "Counter":
        return cls(data.number(), _BITS.get(data.tag, 32))

    def steps_to(self, later: "Counter") -> int:
        return (later.value - self.value) % (1 << self.bits)


def check(parameters: BillingReset, now: datetime) -> None:
    check_obis(parameters.counter_obis, "counterObis")
    check_obis(parameters.obis)
    name = None if parameters.obis is None else LogicalName.parse(parameters.obis)
    require(name is None or name[2:5] != _GLOBAL_RESET, "obis", parameters.obis, "the global reset is not executed")


async def perform(session: MeterSession, parameters: BillingReset) -> Outcome:
    profile = session.profile
    counter = CosemAttribute(DATA, chosen(parameters.counter_obis, profile.objects.billing_counter), VALUE)
    now = await read(session, counter, Counter.of)
    if session.progress is None:
        return Outcome.checkpoint(msgspec.to_builtins(now))
    before = msgspec.convert(session.progress, Counter)
    if before.steps_to(now) == 0:
        script = CosemMethod(SCRIPT_TABLE, chosen(parameters.obis, profile.objects.billing_scripts), EXECUTE)
        await session.action(script, Data.long_unsigned(parameters.script_id or profile.billing.script_id))
        now = await read(session, counter, Counter.of)
    result: dict[str, Any] = {"counterBefore": before.value, "counterAfter": now.value}
    if before.steps_to(now) != 1:
        detail = f"GET {counter}: {now.value} after {before.value}, and one more is expected"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, result)
    return Outcome.done(result)


BILLING_RESET = CommandType(
    traits=CommandTraits(
        name="BILLING_RESET", resend=Resend.VERIFY, expires_after=timedelta(hours=6), can_read_back=True
    ),
    parameters=BillingReset,
    perform=perform,
    check=check,
    summary="Closes the billing period; the billing counter decides whether it ran, and it never runs twice.",
)
