"""What a client must know before it can associate."""

from enum import StrEnum

import msgspec

from metercast.dlms.acse import ApplicationContext, Mechanism
from metercast.dlms.ciphering import AUTHENTICATED, BOTH, ENCRYPTED, KEY_SIZE, TITLE_SIZE
from metercast.dlms.conformance import CLIENT_DEFAULT
from metercast.dlms.errors import LocalProtocolError

DEFAULT_RESPONSE_LIMIT = 4 * 1024 * 1024


class Authentication(StrEnum):
    NONE = "none"
    LLS = "lls"
    HLS_MD5 = "hls-md5"
    HLS_SHA1 = "hls-sha1"
    HLS_GMAC = "hls-gmac"
    HLS_SHA256 = "hls-sha256"

    @property
    def mechanism(self) -> Mechanism:
        return _MECHANISMS[self]

    @property
    def is_hls(self) -> bool:
        """Both sides prove what they know with challenges, in four passes."""
        return self not in (Authentication.NONE, Authentication.LLS)

    @property
    def needs_password(self) -> bool:
        """A password, or the secret that both sides share."""
        return self not in (Authentication.NONE, Authentication.HLS_GMAC)

    @property
    def proves_titles(self) -> bool:
        """The system titles of both sides are part of the proof."""
        return self in (Authentication.HLS_GMAC, Authentication.HLS_SHA256)


_MECHANISMS = {
    Authentication.NONE: Mechanism.NONE,
    Authentication.LLS: Mechanism.LLS,
    Authentication.HLS_MD5: Mechanism.HLS_MD5,
    Authentication.HLS_SHA1: Mechanism.HLS_SHA1,
    Authentication.HLS_GMAC: Mechanism.HLS_GMAC,
    Authentication.HLS_SHA256: Mechanism.HLS_SHA256,
}


class Protection(StrEnum):
    NONE = "none"
    AUTHENTICATED = "authenticated"
    ENCRYPTED = "encrypted"
    BOTH = "both"

    @property
    def security_control(self) -> int:
        """The control octet of suite 0 with the unicast key; 0 where nothing is protected."""
        return _CONTROLS[self]


_CONTROLS = {
    Protection.NONE: 0,
    Protection.AUTHENTICATED: AUTHENTICATED,
    Protection.ENCRYPTED: ENCRYPTED,
    Protection.BOTH: BOTH,
}


class AssociationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One association of one client with one server; its secrets are never printed.

    `server_system_title` is expected where given, and used where the AARE names none. `response_limit` bounds, in
    octets, what the blocks of one answer may add up to.
    """

    client_sap: int = 16
    server_sap: int = 1
    authentication: Authentication = Authentication.NONE
    protection: Protection = Protection.NONE
    security_suite: int = 0
    client_system_title: bytes | None = None
    server_system_title: bytes | None = None
    password: bytes | None = None
    encryption_key: bytes | None = None
    authentication_key: bytes | None = None
    max_receive_pdu_size: int = 0xFFFF
    conformance: int = CLIENT_DEFAULT.value
    response_limit: int = DEFAULT_RESPONSE_LIMIT

    def __repr__(self) -> str:
        return (
            f"AssociationSettings(client_sap={self.client_sap}, server_sap={self.server_sap}, "
            f"authentication={self.authentication.value!r}, protection={self.protection.value!r})"
        )

    @property
    def needs_keys(self) -> bool:
        return self.protection is not Protection.NONE or self.authentication is Authentication.HLS_GMAC

    @property
    def application_context(self) -> ApplicationContext:
        return ApplicationContext.LN if self.protection is Protection.NONE else ApplicationContext.LN_CIPHERED

    def check(self) -> None:
        """LocalProtocolError that names the setting that is missing or out of range, never a secret."""
        if self.security_suite != 0:
            raise LocalProtocolError(f"security suite {self.security_suite} is not supported")
        if not 0 <= self.client_sap <= 0xFFFF or not 0 <= self.server_sap <= 0xFFFF:
            raise LocalProtocolError(f"client SAP {self.client_sap} or server SAP {self.server_sap}")
        if self.max_receive_pdu_size != 0 and not 12 <= self.max_receive_pdu_size <= 0xFFFF:
            raise LocalProtocolError(f"maximum receive PDU size {self.max_receive_pdu_size}")
        if self.authentication.needs_password and not self.password:
            raise LocalProtocolError(f"{self.authentication.value} needs a password")
        for name, title in (("client", self.client_system_title), ("server", self.server_system_title)):
            if title is not None and len(title) != TITLE_SIZE:
                raise LocalProtocolError(f"the {name}'s system title has {len(title)} octets, not {TITLE_SIZE}")
        if (self.needs_keys or self.authentication.proves_titles) and self.client_system_title is None:
            raise LocalProtocolError("ciphering, hls-gmac and hls-sha256 need the client's system title")
        if self.needs_keys:
            for name, key in (("encryption", self.encryption_key), ("authentication", self.authentication_key)):
                if key is None or len(key) != KEY_SIZE:
                    raise LocalProtocolError(f"the {name} key of suite 0 is missing or has not {KEY_SIZE} octets")
