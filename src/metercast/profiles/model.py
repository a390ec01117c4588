"""A profile: everything that commands and the driver must know of a meter model. Its values stand in TOML files.

No field has a default here: `generic.toml` gives every value, and other profiles say what differs. The descriptions
are the table of docs/profiles.md.
"""

from typing import Annotated, Final, Literal

import msgspec

from metercast.dlms.data import Tag
from metercast.dlms.datetimes import DeviationSign
from metercast.dlms.logical_name import LogicalName

GENERIC: Final = "generic"
CALENDAR_PARTS: Final = ("name", "seasons", "weeks", "days")
MANAGEMENT, PUBLIC = "management", "public"

NAME_PATTERN: Final = "^[a-z0-9][a-z0-9_-]{0,63}$"
ItemName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
CalendarPart = Literal["name", "seasons", "weeks", "days"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Modes = Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=255)]], msgspec.Meta(max_length=64)]
Service = Literal[
    "general-block-transfer",
    "priority-management",
    "block-transfer-get",
    "block-transfer-set",
    "block-transfer-action",
    "multiple-references",
    "access",
    "selective-access",
    "event-notification",
    "data-notification",
    "delta-value-encoding",
]
Code = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,5}$")]


def _about(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of a profile's file."""


class Objects(Section, frozen=True):
    """Logical names of the objects that commands use where a task names none."""

    activity_calendar: Annotated[LogicalName, _about("SET_TOU and GET_TOU (class 20)")]
    special_days: Annotated[LogicalName, _about("SET_SPECIAL_DAYS and GET_TOU (class 11)")]
    tariff_scripts: Annotated[LogicalName, _about("SET_TOU and GET_TOU: the script table of a day's actions (class 9)")]
    clock: Annotated[
        LogicalName, _about("READ_CLOCK, SYNC_CLOCK, and ranges of a profile that tells no clock (class 8)")
    ]
    unix_clock: Annotated[LogicalName, _about("READ_PROFILE: the clock of profiles sorted by UNIX time (class 1)")]
    load_profile: Annotated[LogicalName, _about("READ_PROFILE (class 7)")]
    disconnect_control: Annotated[LogicalName, _about("DISCONNECT and RECONNECT (class 70)")]
    limiter: Annotated[LogicalName, _about("SET_LIMITER (class 71)")]
    billing_scripts: Annotated[LogicalName, _about("BILLING_RESET: the script table (class 9)")]
    billing_counter: Annotated[LogicalName, _about("BILLING_RESET: what proves that it ran (class 1)")]
    image_transfer: Annotated[LogicalName, _about("FIRMWARE_UPDATE (class 18)")]
    image_activation_scripts: Annotated[LogicalName, _about("FIRMWARE_UPDATE: what a timed activation runs (class 9)")]
    image_activation_schedule: Annotated[LogicalName, _about("FIRMWARE_UPDATE: when it runs (class 22)")]
    firmware_version: Annotated[LogicalName, _about("FIRMWARE_UPDATE: the version that runs (class 1)")]
    push_setup: Annotated[LogicalName, _about("SET_PUSH_SETUP (class 40)")]
    association: Annotated[
        LogicalName, _about("READ_ASSOCIATION, REPLACE_KEYS for passwords, and what needs the object list (class 15)")
    ]
    security_setup: Annotated[
        LogicalName, _about("READ_SECURITY, REPLACE_KEYS, and the check of the system title (class 64)")
    ]
    logical_device_name: Annotated[LogicalName, _about("The check of the identity (class 1)")]


class CalendarRules(Section, frozen=True):
    """How an activity calendar is written, and what fits in."""

    write_order: Annotated[
        list[CalendarPart],
        msgspec.Meta(
            min_length=4, max_length=4, description="The order in which the four parts are written, each of them once"
        ),
    ]
    max_seasons: Annotated[int, msgspec.Meta(ge=1, le=64, description="Most seasons")]
    max_weeks: Annotated[int, msgspec.Meta(ge=1, le=64, description="Most weeks")]
    max_days: Annotated[int, msgspec.Meta(ge=1, le=255, description="Most day profiles")]
    max_day_actions: Annotated[int, msgspec.Meta(ge=1, le=96, description="Most actions in the schedule of one day")]
    max_calendar_name_octets: Annotated[int, msgspec.Meta(ge=0, le=32, description="Longest name of a calendar")]
    max_profile_name_octets: Annotated[int, msgspec.Meta(ge=1, le=16, description="Longest name of a season or a week")]
    profile_names: Annotated[
        Literal["any", "digit"], _about("`digit`: names of seasons and weeks are one digit, as some meters demand")
    ]


class SpecialDaysRules(Section, frozen=True):
    """What fits in a special days table."""

    max_entries: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Most entries of the table")]


class Dates(Section, frozen=True):
    """How dates and times go over the wire. What is read is understood in every form."""

    deviation_sign: Annotated[
        Literal["standard", "inverted"],
        _about(
            "`standard`: UTC+01:00 is told as -60; `inverted`: as 60. Both for what is read and for what is written"
        ),
    ]
    date_time_tag: Annotated[
        Literal["octet-string", "date-time"], _about("The type of a date-time that is written: tag 09 or 19")
    ]
    date_tag: Annotated[Literal["octet-string", "date"], _about("The type of a date that is written: tag 09 or 1A")]
    time_tag: Annotated[Literal["octet-string", "time"], _about("The type of a time that is written: tag 09 or 1B")]

    @property
    def sign(self) -> DeviationSign:
        return DeviationSign.STANDARD if self.deviation_sign == "standard" else DeviationSign.INVERTED

    @property
    def date_time(self) -> Tag:
        return Tag.DATE_TIME if self.date_time_tag == "date-time" else Tag.OCTET_STRING

    @property
    def date(self) -> Tag:
        return Tag.DATE if self.date_tag == "date" else Tag.OCTET_STRING

    @property
    def time(self) -> Tag:
        return Tag.TIME if self.time_tag == "time" else Tag.OCTET_STRING


class Buffers(Section, frozen=True):
    """How load profiles and event logs are asked for (class 7)."""

    by_range: Annotated[
        bool, _about("The meter takes a range of time; without, all is read and what is asked for kept")
    ]
    by_entry: Annotated[
        bool, _about("The meter takes numbers of rows; without, all is read and what is asked for kept")
    ]
    range_time: Annotated[
        Literal["local", "utc"], _about("The zone in which the bounds of a range are written: the meter's own, or UTC")
    ]
    range_deviation: Annotated[bool, _about("The bounds of a range tell their deviation; without, it is left open")]


class EventLog(Section, frozen=True):
    """One event log, and what its codes mean."""

    object: Annotated[LogicalName, _about("The log (class 7)")]
    code_object: Annotated[LogicalName, _about("The column of the log that holds the code (class 1)")]
    codes: Annotated[dict[Code, str], _about("The name of each code; READ_EVENTS shows those that occur")]


class Relay(Section, frozen=True):
    """What the control modes of the disconnect control mean (class 70)."""

    fixed_modes: Annotated[Modes, _about("The output is always connected: DISCONNECT and RECONNECT fail")]
    direct_modes: Annotated[
        Modes, _about("A remote reconnect closes the output; in every other mode the customer's button does")
    ]
    remote_from_ready_modes: Annotated[
        Modes, _about("A remote reconnect closes the output also when the meter waits for the button")
    ]


class Limiter(Section, frozen=True):
    """The supply limiter (class 71)."""

    zero_threshold: Annotated[
        bool, _about("SET_LIMITER may write a threshold of 0: it is known what the meter does then")
    ]


class Billing(Section, frozen=True):
    """The end of a billing period by a script."""

    script_id: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF, description="The script that BILLING_RESET executes")]


class Image(Section, frozen=True):
    """The transfer of firmware images (class 18)."""

    max_initiate_seconds: Annotated[
        Seconds, _about("FIRMWARE_UPDATE: how long a meter may take until it says that a transfer is initiated")
    ]
    max_verify_minutes: Annotated[
        float, msgspec.Meta(gt=0, le=1440, description="FIRMWARE_UPDATE: how long it may verify an image")
    ]
    reboot_seconds: Annotated[
        Seconds, _about("FIRMWARE_UPDATE: from the activation to the first look at the version that runs")
    ]
    max_reboot_minutes: Annotated[
        float, msgspec.Meta(gt=0, le=1440, description="FIRMWARE_UPDATE: how long it may activate an image")
    ]


class Registers(Section, frozen=True):
    """Sets of registers."""

    instantaneous: Annotated[
        list[LogicalName],
        msgspec.Meta(min_length=1, max_length=200, description="What READ_INSTANTANEOUS reads (class 3, attribute 2)"),
    ]


class Client(Section, frozen=True):
    """One client that the meter knows. An association of the device record takes the client of its own name."""

    sap: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF, description="Its address, where the device record tells none")]
    invocation_counter: Annotated[
        LogicalName, _about("The last counter that the meter accepted of this client (class 1)")
    ]


class AssociationRules(Section, frozen=True):
    """How associations begin and end."""

    counter_client: Annotated[ItemName, _about("The client of `clients` that reads invocation counters")]
    max_counter_jump: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=2**32 - 1, description="How far an invocation counter may go up at the word of a meter, at once"
        ),
    ]
    max_receive_pdu: Annotated[
        int,
        msgspec.Meta(ge=0, le=0xFFFF, description="The largest APDU that we say we take, in octets; 0: no limit"),
    ]
    withheld_services: Annotated[
        list[Service], _about("Services that are not proposed, for a meter that then refuses the association")
    ]
    release: Annotated[bool, _about("RLRQ ends an association; without, the connection or the HDLC link does")]


class Lockout(Section, frozen=True):
    """What a meter does after wrong passwords, so that it is never brought that far."""

    attempts: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=1000,
            description="Wrong passwords after which it locks; the last of them is never tried. 0: no rule",
        ),
    ]
    seconds: Annotated[
        float,
        msgspec.Meta(ge=0, le=604800, description="How long after the last wrong password nothing more is tried"),
    ]


class Delays(Section, frozen=True):
    """Seconds to wait, for meters and lines that need it."""

    between_frames: Annotated[
        Seconds, _about("Before each HDLC frame; the device record's own goes before it if longer")
    ]
    between_associations: Annotated[Seconds, _about("From the end of one connection with a meter to the next")]
    after_activation: Annotated[
        Seconds, _about("From the activation of a calendar to the first look whether it is active")
    ]
    between_looks: Annotated[Seconds, _about("From one look at a state that a meter is about to reach to the next")]
    looks: Annotated[int, msgspec.Meta(ge=1, le=100, description="How often it is looked at most")]


class Profile(Section, frozen=True):
    """One meter model. `name` is the file's."""

    name: ItemName
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=500, description="One line for people")]
    objects: Objects
    calendar: CalendarRules
    special_days: SpecialDaysRules
    dates: Dates
    buffers: Buffers
    events: dict[ItemName, EventLog]
    relay: Relay
    limiter: Limiter
    billing: Billing
    image: Image
    registers: Registers
    clients: dict[ItemName, Client]
    association: AssociationRules
    lockout: Lockout
    delays: Delays

    def client_sap(self, association: str) -> int:
        """The client address of the association of that name; the management client's where none has it."""
        return (self.clients.get(association) or self.clients[MANAGEMENT]).sap

    def invocation_counter(self, association: str, sap: int) -> LogicalName:
        """The counter of the client at `sap`, else of the one named as the association, else of management."""
        clients = self.clients
        named = clients.get(association)
        if named is None or named.sap != sap:
            named = next((client for client in clients.values() if client.sap == sap), named)
        return (named or clients[MANAGEMENT]).invocation_counter

    def event_log(self, logical_name: LogicalName) -> EventLog | None:
        """The log that is this object."""
        return next((log for log in self.events.values() if log.object == logical_name), None)
