"""What a probe may do, and how patiently."""

from typing import Final, Literal

import msgspec

from metercast.dlms.settings import AssociationSettings

PUBLIC_CLIENT: Final = 16  # catalogue 2.1
USUAL_SERVERS: Final = (1, 16, 17)  # the management logical device, then what gateways number from
USUAL_PHYSICAL: Final = (17, 16, 1)  # lower HDLC addresses; 16 and 17 are the first that are free for meters
LINK_TIMEOUT: Final = 2.0


class ProbeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: `timeout` for an answer and for connecting, `link_timeout` for an HDLC address that may not exist,
    `delay` between one connection and the next, for many meters take one at a time and are slow to forget it;
    `longest` for all together."""

    host: str
    port: int
    framing: Literal["auto", "wrapper", "hdlc"] = "auto"
    client_sap: int = PUBLIC_CLIENT
    servers: tuple[int, ...] = USUAL_SERVERS
    address_size: Literal[1, 2, 4] | None = None
    physical_devices: tuple[int, ...] = USUAL_PHYSICAL
    timeout: float = 10.0
    link_timeout: float = LINK_TIMEOUT
    delay: float = 1.0
    longest: float = 600.0


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """An association of its own that may be opened, once. `next_counter` None: read through the public client."""

    settings: AssociationSettings
    next_counter: int | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.settings!r})"
