"""`metercast`, with a command type that must never be resent: the reset of the maximum demand (catalogue 1.13)."""

import os
import sys
from datetime import timedelta
from typing import Any

import msgspec

from metercast.cli.main import main
from metercast.commands.contract import CommandType, MeterSession
from metercast.commands.registry import register
from metercast.commands.tariff import set_tou
from metercast.dlms.cosem import CosemMethod
from metercast.dlms.data import Data
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend

_EXECUTE = CosemMethod(9, LogicalName.parse("0.0.10.0.1.255"), 1)


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """It takes none."""


async def _perform(session: MeterSession, parameters: Any) -> Outcome:
    await session.action(_EXECUTE, Data.long_unsigned(1))
    return Outcome.done()


MDI_RESET = CommandType(
    traits=CommandTraits(name="TEST_MDI_RESET", resend=Resend.NEVER, expires_after=timedelta(hours=1)),
    parameters=NoParameters,
    perform=_perform,
    summary="Ends the billing period. Each time it runs, it ends another.",
)

if __name__ == "__main__":
    set_tou.FOLLOW_UP_MARGIN = timedelta(seconds=float(os.environ.get("METERCAST_TEST_MARGIN", "900")))
    register(MDI_RESET)
    sys.argv[0] = "metercast"
    main()
