"""The meter's record: how to reach it, how to associate with it, and who it says it is.

`MeterRecord` holds no secret. Secrets are an `AssociationSecrets` per association name, kept apart and sealed.
"""

import re
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from zlib import crc32
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from metercast.domain.problem import InvalidField
from metercast.domain.replacement import Replacement, SecretKind

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Sap = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Timeout = Annotated[float, msgspec.Meta(ge=1, le=3600)]
ClientSap = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
SystemTitle = Annotated[str, msgspec.Meta(pattern="^[0-9A-Fa-f]{16}$", description="8 octets, hex")]
PublicKeyText = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=8192, description="Hex of both coordinates, or PEM of key or certificate"),
]

MANAGEMENT = "management"
PUBLIC = "public"


class Framing(StrEnum):
    WRAPPER = "wrapper"  # IEC 62056-47
    HDLC = "hdlc"  # IEC 62056-46


class Authentication(StrEnum):
    NONE = "none"
    LLS = "lls"
    HLS = "hls"  # mechanism 2, by the manufacturer: see Association.hls_method
    HLS_MD5 = "hls-md5"
    HLS_SHA1 = "hls-sha1"
    HLS_GMAC = "hls-gmac"
    HLS_SHA256 = "hls-sha256"
    HLS_ECDSA = "hls-ecdsa"

    @property
    def proves_titles(self) -> bool:
        """The client's system title is part of the proof."""
        return self in (Authentication.HLS_GMAC, Authentication.HLS_SHA256, Authentication.HLS_ECDSA)


class Protection(StrEnum):
    NONE = "none"
    AUTHENTICATED = "authenticated"
    ENCRYPTED = "encrypted"
    BOTH = "both"


class Hdlc(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What the link layer of IEC 62056-46 needs to know of a meter and its line (catalogue 4.2).

    The server's address has 1, 2 or 4 octets: its upper part is `serverSap`, its lower part `physicalDevice`. Sizes
    are octets of information a frame, windows frames before an answer: the most that is proposed. After
    `pollAfterSeconds` of silence the meter is asked for what was lost; `frameDelaySeconds` pass before each sending.
    Where the line must be woken, `wakeUpOctets` (hex) go out first, and `wakeUpSeconds` pass before the first frame.
    """

    address_size: Literal[1, 2, 4] = 1
    physical_device: Annotated[int, msgspec.Meta(ge=0, le=0x3FFF)] = 0
    transmit_size: Annotated[int, msgspec.Meta(ge=16, le=2030)] = 128
    receive_size: Annotated[int, msgspec.Meta(ge=16, le=2030)] = 128
    transmit_window: Annotated[int, msgspec.Meta(ge=1, le=7)] = 1
    receive_window: Annotated[int, msgspec.Meta(ge=1, le=7)] = 1
    poll_after_seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] = 5.0
    frame_delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0
    wake_up_octets: Annotated[str, msgspec.Meta(pattern="^([0-9A-Fa-f]{2}){1,256}$")] | None = None
    wake_up_seconds: Annotated[float, msgspec.Meta(ge=0, le=120)] = 0.0


class Connection(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`channel` (default host:port) is what meters behind one gateway share; `max_sessions` its limit.

    `hdlc` is for the framing of that name, and may be left out there. The timeouts go before the server's own where
    this meter, or the way to it, needs others.
    """

    type: Literal["tcp"] = "tcp"
    host: Name
    port: Port = 4059
    framing: Framing = Framing.WRAPPER
    hdlc: Hdlc | None = None
    channel: Name | None = None
    max_sessions: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 1
    connect_timeout_seconds: Timeout | None = None
    progress_timeout_seconds: Timeout | None = None

    @property
    def channel_name(self) -> str:
        return self.channel or f"{self.host}:{self.port}"


class Association(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One application association: client, authentication and protection, each a choice of its own.

    The security suite says how long keys are and which curve is used: 0 and 1 have keys of 16 octets, 2 of 32; 1 signs
    on P-256, 2 on P-384. With `dedicatedCiphering` each association gets a key of its own, made up by the client;
    `generalProtection` prefers general-glo- and general-ded-ciphering where the meter offers them. `keySet` broadcast
    protects with the secret broadcastKey. `hlsMethod` says what the manufacturer's `hls` does. `serverPublicKey`, for
    hls-ecdsa, is hex of both coordinates, or PEM of the meter's public key or certificate.

    Without `client_sap` it is the one that the meter's profile has for the client of the association's name.
    """

    client_sap: ClientSap | None = None
    authentication: Authentication = Authentication.NONE
    protection: Protection = Protection.NONE
    security_suite: Literal[0, 1, 2] = 0
    client_system_title: SystemTitle | None = None
    key_set: Literal["unicast", "broadcast"] = "unicast"
    dedicated_ciphering: bool = False
    general_protection: bool = False
    hls_method: Literal["aes-128-ecb"] | None = None
    server_public_key: PublicKeyText | None = None

    @property
    def needs_title(self) -> bool:
        """The client's system title."""
        return self.protection is not Protection.NONE or self.authentication.proves_titles


class Identity(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Checked after association and before any write, where given."""

    server_system_title: SystemTitle | None = None
    logical_device_name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None

    @property
    def given(self) -> bool:
        return self.server_system_title is not None or self.logical_device_name is not None


class MeterRecord(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The meter without its secrets. Only `connection` is required."""

    connection: Connection
    server_sap: Sap = 1
    profile: Name = "generic"
    time_zone: Name = "UTC"
    associations: dict[Name, Association] = {}
    identity: Identity = Identity()

    @property
    def management(self) -> Association:
        """The association that commands use; without one, the public client without authentication."""
        return self.associations.get(MANAGEMENT) or self.public

    @property
    def management_name(self) -> str:
        """The name of that association."""
        return MANAGEMENT if MANAGEMENT in self.associations else PUBLIC

    @property
    def public(self) -> Association:
        return self.associations.get(PUBLIC) or Association()


class AssociationSecrets(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The secrets of one association. Never printed: the representation names only which are set.

    `replacements` tells of those that are being replaced or were, by kind.
    """

    password: str | None = None  # text, or "hex:" and octets
    encryption_key: str | None = None  # 32 hex digits, or 64 with security suite 2
    authentication_key: str | None = None
    broadcast_key: str | None = None
    master_key: str | None = None
    signing_key: str | None = None  # our own, for hls-ecdsa: hex of the number, or PEM
    replacements: dict[SecretKind, Replacement] = {}

    def __repr__(self) -> str:
        return f"AssociationSecrets({', '.join(self.names)})"

    @property
    def names(self) -> list[str]:
        """The names, as in the record's JSON, of those that are set."""
        return [kind.value for kind in SecretKind if self.value(kind) is not None]

    def value(self, kind: SecretKind) -> str | None:
        """The current one."""
        value: str | None = getattr(self, _SECRET_FIELDS[kind])
        return value

    def with_value(self, kind: SecretKind, value: str | None) -> "AssociationSecrets":
        return msgspec.structs.replace(self, **{_SECRET_FIELDS[kind]: value})

    def replacement(self, kind: SecretKind) -> Replacement:
        return self.replacements.get(kind, _NO_REPLACEMENT)

    @property
    def pending(self) -> list[SecretKind]:
        """Those for which another one is kept that may be the meter's."""
        if not self.replacements:
            return []
        return [kind for kind in SecretKind if self.replacement(kind).pending is not None]


Secrets = dict[str, AssociationSecrets]


class Meter(msgspec.Struct, frozen=True):
    """A meter as a driver needs it: its record and its secrets, opened for one session."""

    device_id: str
    record: MeterRecord
    secrets: Secrets

    def __repr__(self) -> str:
        return f"Meter({self.device_id!r})"

    def secrets_of(self, association: str) -> AssociationSecrets:
        return self.secrets.get(association, _NO_SECRETS)


class SealedMeter(msgspec.Struct, frozen=True, gc=False):
    """What a session needs of a meter, as a store keeps it: JSON of the record, and its secrets sealed."""

    device_id: str
    document: bytes
    sealed: bytes | None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.device_id!r})"


class StoredMeter(SealedMeter, frozen=True, gc=False):
    """All that a store keeps of a meter."""

    channel: str
    max_sessions: int
    created_at: datetime
    updated_at: datetime


_NO_REPLACEMENT = Replacement()
_NO_SECRETS = AssociationSecrets()
_SECRET_FIELDS = dict(
    zip(
        map(SecretKind, AssociationSecrets.__struct_encode_fields__[:-1]),
        AssociationSecrets.__struct_fields__[:-1],
        strict=True,
    )
)
MAX_SIGNING_KEY = 8192
_SYMMETRIC_KEYS = (
    SecretKind.ENCRYPTION_KEY,
    SecretKind.AUTHENTICATION_KEY,
    SecretKind.BROADCAST_KEY,
    SecretKind.MASTER_KEY,
)
_KEY_OCTETS = (16, 16, 32)  # by security suite
_HEX = re.compile("[0-9A-Fa-f]*")


def check_device_id(device_id: str, path: str = "deviceId") -> None:
    """Any printable characters, 1 to 128; raises InvalidField."""
    if not 1 <= len(device_id) <= 128:
        raise InvalidField(path, device_id, "a device id has 1 to 128 characters")
    if not device_id.isprintable():
        raise InvalidField(path, device_id, "a device id holds printable characters only")


def check_record(record: MeterRecord, profiles: Collection[str]) -> None:
    """What types alone can't say; raises InvalidField naming path and value. `profiles`: names."""
    try:
        ZoneInfo(record.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidField("timeZone", record.time_zone, "no such IANA time zone") from None
    _check_hdlc(record)
    if record.profile not in profiles:
        raise InvalidField("profile", record.profile, f"no such profile; known: {', '.join(sorted(profiles))}")
    for name, association in record.associations.items():
        _check_association(f"associations.{name}", association)


def _check_association(path: str, association: Association) -> None:
    authentication, protection = association.authentication, association.protection
    if association.needs_title and association.client_system_title is None:
        what = "ciphering, hls-gmac, hls-sha256 and hls-ecdsa need the client's system title"
        raise InvalidField(f"{path}.clientSystemTitle", None, what)
    if authentication is Authentication.HLS and association.hls_method is None:
        what = "hls is by the manufacturer: say which method the meter uses; known: aes-128-ecb"
        raise InvalidField(f"{path}.hlsMethod", None, what)
    if authentication is Authentication.HLS_ECDSA and association.security_suite == 0:
        raise InvalidField(f"{path}.securitySuite", 0, "hls-ecdsa needs security suite 1 or 2")
    if authentication is Authentication.HLS_ECDSA and association.server_public_key is None:
        raise InvalidField(f"{path}.serverPublicKey", None, "hls-ecdsa needs the meter's public key")
    if association.server_public_key is not None:
        _check_public_key(path, association.server_public_key, association.security_suite)
    if association.dedicated_ciphering and protection not in (Protection.ENCRYPTED, Protection.BOTH):
        what = "a dedicated key is sent to the meter, and so needs the protection encrypted or both"
        raise InvalidField(f"{path}.dedicatedCiphering", True, what)
    if association.general_protection and protection is Protection.NONE:
        raise InvalidField(f"{path}.generalProtection", True, "there is no protection to be general")
    for_one = authentication is Authentication.HLS_GMAC or association.dedicated_ciphering
    if association.key_set == "broadcast" and for_one:
        what = "hls-gmac and dedicated ciphering are for one meter, with the unicast key set"
        raise InvalidField(f"{path}.keySet", "broadcast", what)


def _check_public_key(path: str, text: str, suite: int) -> None:
    from metercast.dlms.elliptic import PublicKey  # slow to import, and rarely wanted
    from metercast.dlms.errors import EncodeError

    try:
        PublicKey.parse(text, suite)
    except EncodeError as error:
        raise InvalidField.secret(f"{path}.serverPublicKey", str(error)) from None


def _check_hdlc(record: MeterRecord) -> None:
    """Each address must fit where it goes in a frame."""
    connection = record.connection
    if connection.framing is not Framing.HDLC:
        if connection.hdlc is not None:
            raise InvalidField("connection.hdlc", "given", "only with the framing hdlc")
        return
    hdlc = connection.hdlc or Hdlc()
    most = 0x3FFF if hdlc.address_size == 4 else 0x7F
    if record.server_sap > most:
        raise InvalidField("serverSap", record.server_sap, f"at most {most} in {hdlc.address_size} octets")
    lower = 0 if hdlc.address_size == 1 else most
    if hdlc.physical_device > lower:
        path = "connection.hdlc.physicalDevice"
        raise InvalidField(path, hdlc.physical_device, f"at most {lower} in an address of {hdlc.address_size} octets")
    for name, association in record.associations.items():
        if association.client_sap is not None and association.client_sap > 0x7F:
            raise InvalidField(f"associations.{name}.clientSap", association.client_sap, "at most 127 with HDLC")


def check_secrets(association: str, secrets: AssociationSecrets, suite: int = 0) -> None:
    """Raises InvalidField that names the secret and never its value. `suite` is the association's."""
    path = f"associations.{association}"
    digits = 2 * _KEY_OCTETS[suite]
    for name in _SYMMETRIC_KEYS:
        key = secrets.value(name)
        if key is not None and (len(key) != digits or not _HEX.fullmatch(key)):
            reason = f"a key of security suite {suite} has {digits} hex digits ({digits // 2} octets)"
            raise InvalidField.secret(f"{path}.{name}", reason)
    if secrets.signing_key is not None:
        _check_signing_key(path, secrets.signing_key, suite)
    try:
        password = password_octets(secrets.password)
    except ValueError:
        raise InvalidField.secret(f"{path}.password", "after hex: an even number of hex digits") from None
    if password is not None and not 1 <= len(password) <= 64:
        raise InvalidField.secret(f"{path}.password", "a password has 1 to 64 octets")


def _check_signing_key(path: str, text: str, suite: int) -> None:
    from metercast.dlms.elliptic import PrivateKey  # slow to import, and rarely wanted
    from metercast.dlms.errors import EncodeError

    if len(text) > MAX_SIGNING_KEY:
        raise InvalidField.secret(f"{path}.signingKey", f"longer than {MAX_SIGNING_KEY} characters")
    try:
        PrivateKey.parse(text, suite)
    except EncodeError as error:
        raise InvalidField.secret(f"{path}.signingKey", str(error)) from None


def password_octets(password: str | None) -> bytes | None:
    """The octets that go on the wire: UTF-8 text, or what follows "hex:"."""
    if password is None:
        return None
    return bytes.fromhex(password[4:]) if password.startswith("hex:") else password.encode()


def lock_key(device_id: str) -> int:
    """The signed 64-bit key of the meter's lock, the same for ever: cheap to make and to index.

    Two checksums, forwards and backwards: a collision is unlikely, and only makes one meter wait for another.
    """
    octets = device_id.encode()
    return (crc32(octets) << 32 | crc32(octets[::-1])) - (1 << 63)
