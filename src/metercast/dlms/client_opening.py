"""How the client opens an association: its AARQ, what the AARE accepts, and what both agreed on (catalogue 2.2)."""

from functools import lru_cache
from typing import NamedTuple

from metercast.dlms.acse import Aare, Aarq, ApplicationContext, AssociationResult, UserDiagnostic
from metercast.dlms.ciphering import Cipher, overhead
from metercast.dlms.conformance import Conformance
from metercast.dlms.errors import DecodeError, DlmsError, DowngradeError, IdentityError, UnexpectedAnswer
from metercast.dlms.events import Associated, Rejected
from metercast.dlms.general_protection import GENERAL_OVERHEAD
from metercast.dlms.hls_exchange import HlsExchange
from metercast.dlms.initiate import InitiateRequest, InitiateResponse, decode_initiate_response
from metercast.dlms.negotiated import Negotiated
from metercast.dlms.protection import Counters, Protector
from metercast.dlms.service_error import (
    CONFIRMED_SERVICE_ERROR,
    ConfirmedServiceError,
    decode_confirmed_service_error,
)
from metercast.dlms.settings import AssociationSettings, Authentication

_GENERAL_PROTECTION = Conformance.GENERAL_PROTECTION.value


class Agreement(NamedTuple):
    associated: Associated
    negotiated: Negotiated


class ClientOpening:
    """`challenge` is CtoS and `dedicated_key` the key of this association, where the settings ask for them.

    `protector` learns from the AARE whose answers it reads, under which key, and which form the server takes. `hls`
    is what follows the AARE, None where nothing does. EncodeError where a key or the challenge is of a wrong size.
    """

    __slots__ = (
        "_challenge",
        "_dedicated",
        "_dedicated_key",
        "_settings",
        "hls",
        "protector",
    )

    def __init__(
        self, settings: AssociationSettings, counters: Counters, challenge: bytes, dedicated_key: bytes
    ) -> None:
        settings.check()
        cipher = _cipher_of(settings, settings.encryption_key) if settings.needs_keys else None
        title = settings.client_system_title or b""
        self._settings = settings
        self._challenge = challenge
        self._dedicated = _cipher_of(settings, dedicated_key) if settings.dedicated else None
        self._dedicated_key = dedicated_key if settings.dedicated else None
        self.protector = Protector(cipher, settings.protection.security_control, title, counters)
        self.hls: HlsExchange | None = None
        if settings.authentication.is_hls:
            self.hls = HlsExchange(settings, challenge, self.protector)

    def request(self) -> bytes:
        """The AARQ."""
        settings = self._settings
        authentication = None
        if settings.authentication is Authentication.LLS:
            authentication = settings.password
        elif settings.authentication.is_hls:
            authentication = self._challenge
        return Aarq(
            application_context=settings.application_context,
            calling_ap_title=settings.client_system_title if settings.needs_client_title else None,
            mechanism=settings.authentication.mechanism or None,
            authentication=authentication,
            user_information=self.protector.protect(self._initiate_request()),
        ).encode()

    def release_information(self) -> bytes | None:
        """What an RLRQ carries: in a ciphered context the protected InitiateRequest that meters ask for."""
        return self.protector.protect(self._initiate_request()) if self.protector.control else None

    def rejected(self, aare: Aare) -> Rejected:
        """The answer of a server that refuses."""
        return Rejected(aare.result, aare.diagnostic_source, aare.diagnostic, self._reason_in(aare))

    def accepted(self, aare: Aare) -> Agreement:
        """What the AARE of a server that accepts agrees on; with HLS it has still to prove itself.

        SecurityError where it accepts less than was asked for, or is another server.
        """
        assert aare.result == AssociationResult.ACCEPTED
        settings, protector = self._settings, self.protector
        if aare.application_context != settings.application_context:
            is_ciphered = settings.application_context is ApplicationContext.LN_CIPHERED
            wrong = DowngradeError if is_ciphered else UnexpectedAnswer
            raise wrong(f"accepted with application context {aare.application_context}")
        title = self._identify(aare.responding_ap_title)
        response = self._read_initiate_response(aare.user_information)
        conformance = int(response.conformance) & settings.proposed_conformance
        protector.general = settings.general_protection and bool(conformance & _GENERAL_PROTECTION)
        if self._dedicated is not None:
            protector.dedicate(self._dedicated)
        size = response.server_max_receive_pdu_size
        if self.hls is None and (
            aare.diagnostic == UserDiagnostic.AUTHENTICATION_REQUIRED or aare.authentication is not None
        ):
            raise UnexpectedAnswer("the server demands a further authentication, which was not proposed")
        return Agreement(Associated(conformance, size, title), self._agree(conformance, size))

    def _reason_in(self, aare: Aare) -> ConfirmedServiceError | None:
        """What a rejecting AARE may carry to say why; where it can't be read it says nothing."""
        try:
            self._identify(aare.responding_ap_title)
            return decode_confirmed_service_error(self.protector.unprotect(aare.user_information or b"\x00"))
        except DlmsError:
            return None

    def _identify(self, given: bytes | None) -> bytes | None:
        expected = self._settings.server_system_title
        if given and expected and given != expected:
            raise IdentityError(f"the server's system title is {given.hex()}, not {expected.hex()}")
        title = given or None
        self.protector.peer_title = title or expected
        return title

    def _read_initiate_response(self, octets: bytes | None) -> InitiateResponse:
        if not octets:
            raise DecodeError("an AARE accepts without an InitiateResponse")
        plain = self.protector.unprotect(octets)
        if plain[0] == CONFIRMED_SERVICE_ERROR:
            raise UnexpectedAnswer(f"an AARE accepts with {decode_confirmed_service_error(plain)}")
        return decode_initiate_response(plain)

    def _agree(self, conformance: int, size: int) -> Negotiated:
        """The server's limit, 0 for none, counts what ciphering adds."""
        protector = self.protector
        return _negotiated(conformance, size, protector.control, protector.general, self._settings.response_limit)

    def _initiate_request(self) -> bytes:
        settings = self._settings
        conformance, size = settings.proposed_conformance, settings.max_receive_pdu_size
        if self._dedicated_key is None:
            return _encoded_initiate_request(conformance, size)
        return InitiateRequest(
            conformance=conformance, client_max_receive_pdu_size=size, dedicated_key=self._dedicated_key
        ).encode()


@lru_cache(maxsize=64)
def _negotiated(conformance: int, size: int, control: int, general: bool, response_limit: int) -> Negotiated:
    """Nearly all meters of a fleet agree on the same."""
    limit = access_limit = None
    if size:
        added = overhead(control, size) if control else 0
        limit = size - added - (GENERAL_OVERHEAD if control and general else 0)
        access_limit = size - added - (GENERAL_OVERHEAD if control else 0)
    return Negotiated(conformance, limit, access_limit, response_limit)


def _cipher_of(settings: AssociationSettings, encryption_key: bytes | None) -> Cipher:
    """EncodeError where a key is not of the suite."""
    return Cipher(
        encryption_key or b"",
        settings.authentication_key or b"",
        settings.security_suite,
        broadcast=settings.broadcast,
    )


@lru_cache(maxsize=64)
def _encoded_initiate_request(conformance: int, max_receive_pdu_size: int) -> bytes:
    """The same for nearly all meters, and wanted twice in each association."""
    return InitiateRequest(
        conformance=Conformance(conformance), client_max_receive_pdu_size=max_receive_pdu_size
    ).encode()
