"""What one simulated meter is, before it runs: identity, address, security, manners, faults."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from metercast.dlms.elliptic import PrivateKey
from metercast.simulator.dialect import USUAL, USUAL_MANAGEMENT_CLIENT, Dialect
from metercast.simulator.faults import NO_FAULTS, Faults
from metercast.simulator.firmware import FirmwareSpec

Authentication = Literal["none", "lls", "hls", "hls-md5", "hls-sha1", "hls-gmac", "hls-sha256", "hls-ecdsa"]
Protection = Literal["none", "authenticated", "encrypted", "both"]
Suite = Literal[0, 1, 2]
AUTHENTICATIONS: tuple[Authentication, ...] = get_args(Authentication)
MIXED: tuple[Authentication, ...] = ("none", "lls", "hls-gmac")

MANAGEMENT_CLIENT = USUAL_MANAGEMENT_CLIENT
PUBLIC_CLIENT = 16

# Priority, block transfer with get, set and action; get, set, action, selective access (catalogue 2.3).
DEFAULT_CONFORMANCE = 0x005C1D
SELECTIVE_ACCESS = 0x000004
MULTIPLE_REFERENCES = 0x000200
BLOCK_TRANSFERS = 0x001C00
GENERAL_BLOCK_TRANSFER = 0x200000
ACCESS = 0x000040
GENERAL_PROTECTION = 0x400000
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
    """One meter. Keys are as long as `security_suite` wants, system titles have 8 octets; secrets stay out of the
    representation.

    `protection` is what the meter demands of every request of the management client, and gives its answers. It takes
    dedicated keys and either key set, and offers general protection, whatever `dedicated_ciphering`, `key_set` and
    `general_protection` say: they are for its record, and so for the client. `signing_key` is the meter's private
    key and `client_signing_key` its client's, both as numbers.
    `new_keys` says from when on a key holds that was transferred, and `counter_restarts` whether the client's
    invocation counter begins anew with a new encryption key. `past_activation` says what an armed time in the past
    does; `port` 0 lets the system choose.
    `block_window` is how many general blocks the meter takes at once.
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
    security_suite: Suite = 0
    key_set: Literal["unicast", "broadcast"] = "unicast"
    dedicated_ciphering: bool = False
    general_protection: bool = False
    password: bytes | None = field(default=None, repr=False)
    encryption_key: bytes | None = field(default=None, repr=False)
    authentication_key: bytes | None = field(default=None, repr=False)
    broadcast_key: bytes | None = field(default=None, repr=False)
    master_key: bytes | None = field(default=None, repr=False)
    signing_key: bytes | None = field(default=None, repr=False)
    client_signing_key: bytes | None = field(default=None, repr=False)
    security_version: Literal[0, 1] = 0
    new_keys: Literal["next-association", "at-once"] = "next-association"
    counter_restarts: bool = True
    client_system_title: bytes | None = None
    max_pdu: int = DEFAULT_MAX_PDU
    conformance: int = DEFAULT_CONFORMANCE
    block_window: int = 4
    has_public_client: bool = True
    control_mode: int = 4
    clock_offset: float = 0.0
    clock_drift: float = 0.0
    past_activation: Literal["at-once", "never"] = "at-once"
    firmware: FirmwareSpec = FirmwareSpec()  # noqa: RUF009 it is frozen
    dialect: Dialect = USUAL
    faults: Faults = NO_FAULTS

    @property
    def ciphered(self) -> bool:
        return self.protection != "none" or self.authentication == "hls-gmac"

    @property
    def offered(self) -> int:
        """The conformance of the meter; general protection goes with ciphering."""
        return self.conformance | (GENERAL_PROTECTION if self.encryption_key is not None else 0)

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
            "clientSap": self.dialect.management_client,
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
            management["encryptionKey"] = self.encryption_key.hex().upper()
            management["authenticationKey"] = self.authentication_key.hex().upper()
            if self.master_key is not None:
                management["masterKey"] = self.master_key.hex().upper()
            if self.broadcast_key is not None:
                management["broadcastKey"] = self.broadcast_key.hex().upper()
        if self.ciphered or self.security_suite:
            management["securitySuite"] = self.security_suite
        management |= self._choices()
        # A meter tells its system title only where ciphering is used; its name can always be read.
        identity: dict[str, Any] = {"logicalDeviceName": self.logical_device_name}
        if self.ciphered:
            identity["serverSystemTitle"] = self.system_title.hex().upper()
        return {
            "deviceId": self.meter_id,
            "connection": connection,
            "serverSap": self.server_sap,
            "profile": self.dialect.profile,
            "timeZone": self.time_zone,
            "associations": {"management": management, "public": {"clientSap": PUBLIC_CLIENT}},
            "identity": identity,
        }

    def _choices(self) -> dict[str, Any]:
        """What of the association is not as by default."""
        choices: dict[str, Any] = {}
        if self.dedicated_ciphering:
            choices["dedicatedCiphering"] = True
        if self.general_protection:
            choices["generalProtection"] = True
        if self.key_set != "unicast":
            choices["keySet"] = self.key_set
        if self.authentication == "hls":
            choices["hlsMethod"] = "aes-128-ecb"
        if self.authentication == "hls-ecdsa":
            assert self.signing_key is not None
            assert self.client_signing_key is not None
            public = PrivateKey.parse(self.signing_key.hex(), self.security_suite).public
            choices["signingKey"] = self.client_signing_key.hex().upper()
            choices["serverPublicKey"] = public.octets.hex().upper()
        return choices


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec:
    """One address with several meters behind it; it takes one TCP session at a time.

    They are told apart by server SAP or, where they speak HDLC on one serial line, by their HDLC address. A second
    connection is closed at once, or waits unserved until the first one ends. With `wake_up` the line is a modem's: it
    passes on nothing until those octets have come and `wake_up_seconds` have gone by, and then says so.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 0
    second_connection: Literal["close", "wait"] = "close"
    wake_up: bytes = b""
    wake_up_seconds: float = 0.0
