"""What FIRMWARE_UPDATE is asked with, and what its sessions leave for one another."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from metercast.commands.parameters import ProfileObis, check_obis, require
from metercast.commands.tariff.activation import Activation, LocalTime, check_activation

MAX_IDENTIFIER = 64

Reference = Annotated[
    str,
    msgspec.Meta(
        pattern="^([A-Za-z0-9][A-Za-z0-9._+-]{0,127}|sha256:[0-9A-Fa-f]{64})$",
        description="The image's name, or sha256: and the hash of its octets",
    ),
]
Version = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Hex = Annotated[str, msgspec.Meta(pattern="^([0-9A-Fa-f]{2}){1,128}$")]
Identifier = Annotated[str, msgspec.Meta(pattern="^[ -~]{1,64}$")]


class FirmwareActivation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`at` is an instant with zone or {"local": ...}, as in SET_TOU. `manual` leaves the verified image as it is."""

    mode: Literal["immediate", "at", "manual"] = "immediate"
    at: str | LocalTime | None = None

    @property
    def as_calendar(self) -> Activation:
        """The same, as the rules for times take it."""
        return Activation(mode="none" if self.mode == "manual" else self.mode, at=self.at)


class FirmwareUpdate(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`version` is what the meter tells once the image runs. The identifier, as text or in hex, is the image's name
    where neither is given; `signature` is compared with the meter's own where it is given. Times that are left out are
    those of the meter's profile."""

    image: Reference
    version: Version
    identifier: Identifier | None = None
    identifier_hex: Hex | None = None
    signature_hex: Hex | None = None
    activation: FirmwareActivation = FirmwareActivation()
    reboot_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None
    max_reboot_minutes: Annotated[float, msgspec.Meta(gt=0, le=1440)] | None = None
    max_verify_minutes: Annotated[float, msgspec.Meta(gt=0, le=1440)] | None = None
    obis: ProfileObis = None
    version_obis: ProfileObis = None
    schedule_obis: ProfileObis = None

    def identifier_octets(self, name: str) -> bytes:
        """The image_identifier of the initiate."""
        if self.identifier_hex is not None:
            return bytes.fromhex(self.identifier_hex)
        return (self.identifier or name).encode("ascii")[:MAX_IDENTIFIER]


class Progress(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`blocks_sent` counts all sessions; `since` is when the verification or the activation began. `restarts` are
    transfers that began anew because an image that was resumed was not verified. `is_acknowledged`: the meter took the
    activation."""

    sha256: str
    version_before: str
    stage: Literal["transfer", "verification", "activation"] = "transfer"
    blocks_sent: int = 0
    since: datetime | None = None
    restarts: int = 0
    is_resumed: bool = False
    activations: int = 0
    is_acknowledged: bool = False

    def to_json(self) -> Any:
        return msgspec.to_builtins(self)


def check(parameters: FirmwareUpdate, now: datetime) -> None:
    check_obis(parameters.obis)
    check_obis(parameters.version_obis, "versionObis")
    check_obis(parameters.schedule_obis, "scheduleObis")
    both = parameters.identifier is not None and parameters.identifier_hex is not None
    require(not both, "identifierHex", parameters.identifier_hex, "identifier is given already")
    check_activation(parameters.activation.as_calendar, now)
