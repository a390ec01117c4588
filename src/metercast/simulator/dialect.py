"""What a model does otherwise than the simulator's usual meter: what a profile of Metercast must then say of it."""

from dataclasses import dataclass
from typing import Final, Literal

from metercast.dlms.logical_name import LogicalName

USUAL_MANAGEMENT_CLIENT = 1
_NOBODY = 0  # no station: no association is given to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """`profile` is what the meter's device document names.

    `deviation_inverted`: UTC+01:00 is told and understood as 60. `own_date_tags`: dates and times are taken and told
    as date-time, date and time, and not as octet-strings. `ranges`: by what the bounds of a range are understood, in
    "local" and "utc" whatever their deviation says; "refused" knows no ranges. `checks_references`: a week must have
    its days when it is written, a season its week. `one_digit_names` of seasons and weeks; `most_rows` of each table
    of a calendar. `releases`: the meter knows RLRQ. `moved`: usual logical names, and those of this meter.
    `management_client` is the SAP of that client. After `lock_after` wrong passwords (0: never) every password is
    refused. For `rest_seconds` after a connection no association is given. `strict`: an AARQ that proposes services
    that the meter does not know, or a larger PDU than its own, is refused.
    """

    profile: str = "generic"
    deviation_inverted: bool = False
    own_date_tags: bool = False
    ranges: Literal["deviation", "local", "utc", "refused"] = "deviation"
    checks_references: bool = False
    one_digit_names: bool = False
    most_rows: int | None = None
    releases: bool = True
    moved: tuple[tuple[LogicalName, LogicalName], ...] = ()
    management_client: int = USUAL_MANAGEMENT_CLIENT
    lock_after: int = 0
    rest_seconds: float = 0.0
    strict: bool = False

    def role(self, client_sap: int) -> int:
        """The client as the usual meter knows it."""
        if client_sap == self.management_client:
            return USUAL_MANAGEMENT_CLIENT
        return _NOBODY if client_sap == USUAL_MANAGEMENT_CLIENT else client_sap


USUAL = Dialect()
_COUNTER = LogicalName.parse("0.0.43.1.0.255")

# Meters as the profiles of Metercast say that they are, by the profile's name.
LIKE: Final = {
    "generic": USUAL,
    "idis": Dialect(profile="idis"),
    "dsmr": Dialect(profile="dsmr", one_digit_names=True, most_rows=4, ranges="local"),
    "spodes": Dialect(profile="spodes", management_client=48, lock_after=5),
    "is15959": Dialect(
        profile="is15959", management_client=48, moved=((_COUNTER, LogicalName.parse("0.0.43.1.3.255")),)
    ),
}
