"""What a client must know before it can associate."""

from enum import StrEnum

import msgspec

from metercast.dlms.acse import ApplicationContext, Mechanism
from metercast.dlms.ciphering import AUTHENTICATED, BOTH, ENCRYPTED, KEY_SIZES, SUITES, TITLE_SIZE
from metercast.dlms.conformance import CLIENT_DEFAULT, Conformance
from metercast.dlms.elliptic import PrivateKey, PublicKey
from metercast.dlms.errors import LocalProtocolError
from metercast.dlms.general_block import MAX_WINDOW
from metercast.dlms.hls import MAX_BLOCK_SECRET

DEFAULT_RESPONSE_LIMIT = 4 * 1024 * 1024


class Authentication(StrEnum):
    NONE = "none"
    LLS = "lls"
    HLS = "hls"  # mechanism 2, by the manufacturer
    HLS_MD5 = "hls-md5"
    HLS_SHA1 = "hls-sha1"
    HLS_GMAC = "hls-gmac"
    HLS_SHA256 = "hls-sha256"
    HLS_ECDSA = "hls-ecdsa"

    @property
    def mechanism(self) -> Mechanism:
        return _MECHANISMS[self]

    @property
    def is_hls(self) -> bool:
        """Both sides prove what they know with challenges, in four passes."""
        return self not in _WITHOUT_CHALLENGE

    @property
    def needs_password(self) -> bool:
        """A password, or the secret that both sides share."""
        return self not in _WITHOUT_PASSWORD

    @property
    def proves_titles(self) -> bool:
        """The system titles of both sides are part of the proof."""
        return self in _PROVING_TITLES


_WITHOUT_CHALLENGE = frozenset({Authentication.NONE, Authentication.LLS})
_WITHOUT_PASSWORD = frozenset({Authentication.NONE, Authentication.HLS_GMAC, Authentication.HLS_ECDSA})
_PROVING_TITLES = frozenset({Authentication.HLS_GMAC, Authentication.HLS_SHA256, Authentication.HLS_ECDSA})
_MECHANISMS = {
    Authentication.NONE: Mechanism.NONE,
    Authentication.LLS: Mechanism.LLS,
    Authentication.HLS: Mechanism.HLS,
    Authentication.HLS_MD5: Mechanism.HLS_MD5,
    Authentication.HLS_SHA1: Mechanism.HLS_SHA1,
    Authentication.HLS_GMAC: Mechanism.HLS_GMAC,
    Authentication.HLS_SHA256: Mechanism.HLS_SHA256,
    Authentication.HLS_ECDSA: Mechanism.HLS_ECDSA,
}


class Protection(StrEnum):
    NONE = "none"
    AUTHENTICATED = "authenticated"
    ENCRYPTED = "encrypted"
    BOTH = "both"

    @property
    def security_control(self) -> int:
        """The bits "authenticated" and "encrypted" of the control octet; 0 where nothing is protected."""
        return _CONTROLS[self]


_CONTROLS = {
    Protection.NONE: 0,
    Protection.AUTHENTICATED: AUTHENTICATED,
    Protection.ENCRYPTED: ENCRYPTED,
    Protection.BOTH: BOTH,
}


class ManufacturerMethod(StrEnum):
    """What HLS mechanism 2 does, which no standard says: it must be known of the meter."""

    AES_128_ECB = "aes-128-ecb"


# By names of their own: they are asked for again and again, and looking a member up in its enum is slow.
_MANUFACTURER, _GMAC, _ECDSA = Authentication.HLS, Authentication.HLS_GMAC, Authentication.HLS_ECDSA
_UNPROTECTED = Protection.NONE
_PLAIN, _CIPHERED = ApplicationContext.LN, ApplicationContext.LN_CIPHERED


class AssociationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One association of one client with one server; its secrets are never printed.

    `server_system_title` is expected where given, and used where the AARE names none. `response_limit` bounds, in
    octets, what the blocks of one answer may add up to; `block_window` is how many general blocks are taken at once.

    `encryption_key` is of the broadcast key set where `broadcast` is set. With `dedicated` the association gets a key
    of its own, which the client makes up. `general_protection` prefers general-glo- and general-ded-ciphering to the
    service-specific forms, where the server offers them.
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
    broadcast: bool = False
    dedicated: bool = False
    general_protection: bool = False
    manufacturer_method: ManufacturerMethod | None = None
    signing_key: PrivateKey | None = None
    server_public_key: PublicKey | None = None
    max_receive_pdu_size: int = 0xFFFF
    block_window: int = 8
    conformance: int = CLIENT_DEFAULT.value
    response_limit: int = DEFAULT_RESPONSE_LIMIT

    def __repr__(self) -> str:
        return (
            f"AssociationSettings(client_sap={self.client_sap}, server_sap={self.server_sap}, "
            f"authentication={self.authentication.value!r}, protection={self.protection.value!r})"
        )

    @property
    def needs_keys(self) -> bool:
        return self.protection is not _UNPROTECTED or self.authentication is _GMAC

    @property
    def needs_client_title(self) -> bool:
        return self.needs_keys or self.authentication.proves_titles

    @property
    def key_size(self) -> int:
        """Octets of each symmetric key."""
        return KEY_SIZES[self.security_suite]

    @property
    def application_context(self) -> ApplicationContext:
        return _PLAIN if self.protection is _UNPROTECTED else _CIPHERED

    @property
    def proposed_conformance(self) -> int:
        general = Conformance.GENERAL_PROTECTION.value if self.general_protection else 0
        return int(self.conformance) | general

    def check(self) -> None:
        """LocalProtocolError that names the setting that is missing or out of range, never a secret."""
        if self.security_suite not in SUITES:
            raise LocalProtocolError(f"security suite {self.security_suite} is not known")
        if not 0 <= self.client_sap <= 0xFFFF or not 0 <= self.server_sap <= 0xFFFF:
            raise LocalProtocolError(f"client SAP {self.client_sap} or server SAP {self.server_sap}")
        if self.max_receive_pdu_size != 0 and not 12 <= self.max_receive_pdu_size <= 0xFFFF:
            raise LocalProtocolError(f"maximum receive PDU size {self.max_receive_pdu_size}")
        if not 1 <= self.block_window <= MAX_WINDOW:
            raise LocalProtocolError(f"a window of {self.block_window} general blocks is not 1 to {MAX_WINDOW}")
        client, server = self.client_system_title, self.server_system_title
        if client is not None and len(client) != TITLE_SIZE:
            raise LocalProtocolError(f"the client's system title has {len(client)} octets, not {TITLE_SIZE}")
        if server is not None and len(server) != TITLE_SIZE:
            raise LocalProtocolError(f"the server's system title has {len(server)} octets, not {TITLE_SIZE}")
        if self.needs_client_title and self.client_system_title is None:
            raise LocalProtocolError("ciphering, hls-gmac, hls-sha256 and hls-ecdsa need the client's system title")
        self._check_authentication()
        self._check_keys()

    def _check_authentication(self) -> None:
        authentication = self.authentication
        if authentication.needs_password and not self.password:
            raise LocalProtocolError(f"{authentication.value} needs a password")
        if authentication is _MANUFACTURER:
            if self.manufacturer_method is None:
                raise LocalProtocolError("hls is by the manufacturer: which method the meter uses must be known")
            if len(self.password or b"") > MAX_BLOCK_SECRET:
                raise LocalProtocolError(f"a secret of {authentication.value} has at most {MAX_BLOCK_SECRET} octets")
        if authentication is _ECDSA:
            if self.security_suite == 0:
                raise LocalProtocolError("hls-ecdsa needs security suite 1 or 2")
            for name, key in (("our signing key", self.signing_key), ("the server's key", self.server_public_key)):
                if key is None or key.suite != self.security_suite:
                    raise LocalProtocolError(f"hls-ecdsa: {name} is missing or not of suite {self.security_suite}")
        if authentication is _GMAC and self.broadcast:
            raise LocalProtocolError("hls-gmac proves with the unicast key, not with one of the broadcast key set")

    def _check_keys(self) -> None:
        if self.needs_keys:
            size = KEY_SIZES[self.security_suite]
            encryption, authentication = self.encryption_key or b"", self.authentication_key or b""
            if len(encryption) != size or len(authentication) != size:
                name = "encryption" if len(encryption) != size else "authentication"
                what = f"the {name} key of suite {self.security_suite}"
                raise LocalProtocolError(f"{what} is missing or has not {size} octets")
        if self.dedicated and not self.protection.security_control & ENCRYPTED:
            raise LocalProtocolError("a dedicated key is sent to the server, and so needs encryption")
        if self.dedicated and self.broadcast:
            raise LocalProtocolError("a dedicated key is for one server, not of the broadcast key set")
        if self.general_protection and self.protection is _UNPROTECTED:
            raise LocalProtocolError("general protection needs protection")
