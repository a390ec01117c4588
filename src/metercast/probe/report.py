"""What a probe found out; the JSON of `metercast probe --json`."""

from typing import Any

import msgspec


class Part(msgspec.Struct, rename="camel", kw_only=True):
    """Fields are None, or empty, where nothing was found."""


class LineFacts(Part):
    """`addressSize` and below are HDLC's; sizes are octets of information a frame, as the meter tells them."""

    framing: str | None = None
    server_sap: int | None = None
    address_size: int | None = None
    physical_device: int | None = None
    transmit_size: int | None = None
    receive_size: int | None = None
    transmit_window: int | None = None
    receive_window: int | None = None


class AssociationFacts(Part):
    """One association: as whom, and what came of it. `answer` is "accepted", or why not.

    `conformance` and `maxPduSize` are what the meter offers; `released`: it answered the RLRQ.
    """

    client_sap: int
    authentication: str = "none"
    protection: str = "none"
    answer: str | None = None
    conformance: list[str] = []
    max_pdu_size: int | None = None
    system_title: str | None = None
    released: bool | None = None

    @property
    def is_open(self) -> bool:
        return self.answer == "accepted"


class LogicalDevice(Part):
    sap: int
    name: str


class KnownAssociation(Part):
    """An association object that could be read."""

    obis: str
    client_sap: int | None = None
    mechanism: str | None = None
    context: str | None = None


class SecurityFacts(Part):
    policy_code: int | None = None
    suite: int | None = None
    associations: list[KnownAssociation] = []
    invocation_counters: dict[str, int] = {}


class IdentityFacts(Part):
    logical_device_name: str | None = None
    system_title: str | None = None
    manufacturer: str | None = None
    serial_number: str | None = None
    firmware: str | None = None


class ClockFacts(Part):
    """`sign`: what a positive deviation means, by which of both readings is nearer to our own time; `differenceSeconds`
    then is how far the meter is ahead, half the round trip uncertain."""

    time: str
    deviation_minutes: int | None = None
    sign: str = "not told"
    difference_seconds: float | None = None
    uncertainty_seconds: float | None = None
    daylight_saving: bool | None = None
    time_zone_minutes: int | None = None


class ReadAttribute(Part):
    """One GET: the value for people, or why there is none."""

    client_sap: int
    attribute: str
    value: str | None = None
    error: str | None = None


class Draft(Part):
    """What to register: the device record without secrets, and the TOML of a profile."""

    device: dict[str, Any]
    profile_name: str
    profile: str


class Report(Part, kw_only=True):
    target: str
    probed_at: str
    is_meter: bool = False
    line: LineFacts
    public: AssociationFacts
    management: AssociationFacts | None = None
    logical_devices: list[LogicalDevice] = []
    identity: IdentityFacts
    security: SecurityFacts
    clock: ClockFacts | None = None
    objects: list[dict[str, Any]] = []
    objects_client_sap: int | None = None
    reads: list[ReadAttribute] = []
    notes: list[str] = []
    draft: Draft | None = None
