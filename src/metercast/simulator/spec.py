"""What one simulated meter is, before it runs: identity, address, security, manners, faults."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from metercast.simulator.faults import NO_FAULTS, Faults
from metercast.simulator.firmware import FirmwareSpec

Authentication = Literal["none", "lls", "hls-md5", "hls-sha1", "hls-gmac", "hls-sha256"]
Protection = Literal["none", "authenticated", "encrypted", "both"]
AUTHENTICATIONS: tuple[Authentication, ...] = get_args(Authentication)
MIXED: tuple[Authentication, ...] = ("none", "lls", "hls-gmac")

MANAGEMENT_CLIENT = 1
PUBLIC_CLIENT = 16

# Priority, block transfer with get, set and action; get, set, action, selective access (catalogue 2.3).
DEFAULT_CONFORMANCE = 0x005C1D
SELECTIVE_ACCESS = 0x000004
MULTIPLE_REFERENCES = 0x000200
DEFAULT_MAX_PDU = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HdlcSpec:
    """The meter speaks HDLC: its address, and what it proposes for both directions."""

    address_size: Literal[1, 2, 4] = 1
    physical_device: int = 0
    max_info: int = 128
    window: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterSpec:
    """One meter. Keys are of 16 octets, system titles of 8; secrets stay out of the representation.

    `protection` is what the meter demands of every request of the management client, and gives its answers.
    `new_keys` says from when on a key holds that was transferred, and `counter_restarts` whether the client's
    invocation counter begins anew with a new encryption key. `past_activation` says what an armed time in the past
    does; `port` 0 lets the system choose.
    `gateway` names the gateway that the meter stands behind; its own host and port then have no meaning.
    """

    meter_id: str
    serial: str
    logical_device_name: str
    system_title: bytes
    server_sap: int = 1
    host: str = "127.0.0.1"
    port: int = 0
    gateway: str | None = None
    hdlc: HdlcSpec | None = None
    time_zone: str = "UTC"
    authentication: Authentication = "none"
    protection: Protection = "none"
    password: bytes | None = field(default=None, repr=False)
    encryption_key: bytes | None = field(default=None, repr=False)
    authentication_key: bytes | None = field(default=None, repr=False)
    broadcast_key: bytes | None = field(default=None, repr=False)
    master_key: bytes | None = field(default=None, repr=False)
    security_version: Literal[0, 1] = 0
    new_keys: Literal["next-association", "at-once"] = "next-association"
    counter_restarts: bool = True
    client_system_title: bytes | None = None
    max_pdu: int = DEFAULT_MAX_PDU
    conformance: int = DEFAULT_CONFORMANCE
    control_mode: int = 4
    clock_offset: float = 0.0
    clock_drift: float = 0.0
    past_activation: Literal["at-once", "never"] = "at-once"
    firmware: FirmwareSpec = FirmwareSpec()  # noqa: RUF009 it is frozen
    faults: Faults = NO_FAULTS

    @property
    def ciphered(self) -> bool:
        return self.protection != "none" or self.authentication == "hls-gmac"

    def device_record(self, host: str, port: int) -> dict[str, Any]:
        """The meter as the JSON document of `PUT /devices/{deviceId}`, with its `deviceId` and its secrets."""
        connection: dict[str, Any] = {"type": "tcp", "host": host, "port": port, "framing": "wrapper"}
        if self.hdlc is not None:
            connection["framing"] = "hdlc"
            connection["hdlc"] = {
                "addressSize": self.hdlc.address_size,
                "physicalDevice": self.hdlc.physical_device,
                "transmitSize": self.hdlc.max_info,
                "receiveSize": self.hdlc.max_info,
                "transmitWindow": self.hdlc.window,
                "receiveWindow": self.hdlc.window,
            }
        if self.gateway is not None:
            connection["channel"] = self.gateway
        management: dict[str, Any] = {
            "clientSap": MANAGEMENT_CLIENT,
            "authentication": self.authentication,
            "protection": self.protection,
        }
        if self.password is not None:
            management["password"] = self.password.decode("ascii")
        if self.client_system_title is not None:
            management["clientSystemTitle"] = self.client_system_title.hex().upper()
        if self.ciphered:
            assert self.encryption_key
            assert self.authentication_key
            management["securitySuite"] = 0
            management["encryptionKey"] = self.encryption_key.hex().upper()
            management["authenticationKey"] = self.authentication_key.hex().upper()
            if self.master_key is not None:
                management["masterKey"] = self.master_key.hex().upper()
        # A meter tells its system title only where ciphering is used; its name can always be read.
        identity: dict[str, Any] = {"logicalDeviceName": self.logical_device_name}
        if self.ciphered:
            identity["serverSystemTitle"] = self.system_title.hex().upper()
        return {
            "deviceId": self.meter_id,
            "connection": connection,
            "serverSap": self.server_sap,
            "profile": "generic",
            "timeZone": self.time_zone,
            "associations": {"management": management, "public": {"clientSap": PUBLIC_CLIENT}},
            "identity": identity,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec:
    """One address with several meters behind it, told apart by server SAP; it takes one TCP session at a time.

    A second connection is closed at once, or waits unserved until the first one ends.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 0
    second_connection: Literal["close", "wait"] = "close"
