"""READ_SECURITY: policy, suite and system titles of the security setup (class 64, catalogue 1.12); no key is read."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from metercast.commands.contract import CommandType, MeterSession
from metercast.commands.parameters import ProfileObis, check_obis, chosen
from metercast.commands.steps import decoded, read_all
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend

CLASS_ID: Final = 64
POLICY, SUITE, CLIENT_TITLE, SERVER_TITLE = 2, 3, 4, 5
# Version 0 counts to 3, version 1 has a bit for each (and none below 4).
_POLICIES: Final = {
    0: [],
    1: ["authenticated-request", "authenticated-response"],
    2: ["encrypted-request", "encrypted-response"],
    3: ["authenticated-request", "encrypted-request", "authenticated-response", "encrypted-response"],
}
_POLICY_BITS: Final = (
    (0x04, "authenticated-request"),
    (0x08, "encrypted-request"),
    (0x10, "signed-request"),
    (0x20, "authenticated-response"),
    (0x40, "encrypted-response"),
    (0x80, "signed-response"),
)


class ReadSecurity(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    obis: ProfileObis = None


def check(parameters: ReadSecurity, now: datetime) -> None:
    check_obis(parameters.obis)


async def perform(session: MeterSession, parameters: ReadSecurity) -> Outcome:
    name = chosen(parameters.obis, session.profile.objects.security_setup)
    attributes = [CosemAttribute(CLASS_ID, name, index) for index in (POLICY, SUITE, CLIENT_TITLE, SERVER_TITLE)]
    values = await read_all(session, attributes)
    policy, suite = (decoded(values[index], Data.number, attributes[index]) for index in (0, 1))
    client, server = (decoded(values[index], Data.octet_string, attributes[index]) for index in (2, 3))
    result: dict[str, Any] = {
        "policy": _POLICIES.get(policy) or [text for bit, text in _POLICY_BITS if policy & bit],
        "policyCode": policy,
        "suite": suite,
        "clientSystemTitle": client.hex().upper(),
        "serverSystemTitle": server.hex().upper(),
    }
    return Outcome.done(result)


READ_SECURITY = CommandType(
    traits=CommandTraits(name="READ_SECURITY", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=ReadSecurity,
    perform=perform,
    check=check,
    summary="Reads security policy, suite and system titles; no key leaves the meter.",
)
