"""AARQ in, AARE out: whether a client gets an association, and what is agreed (catalogue 2.2, 2.6, 2.8)."""

import os
from hmac import compare_digest
from typing import NamedTuple, Protocol

from metercast.dlms.acse import (
    Aare,
    Aarq,
    ApplicationContext,
    AssociationResult,
    DiagnosticSource,
    Mechanism,
    UserDiagnostic,
    decode_aarq,
)
from metercast.dlms.ciphering import ENCRYPTED, GLO_TAGS, KEY_SIZES, TITLE_SIZE
from metercast.dlms.errors import DecodeError, SecurityError
from metercast.dlms.hls import MAX_CHALLENGE, MIN_CHALLENGE
from metercast.dlms.initiate import (
    DLMS_VERSION,
    INITIATE_REQUEST,
    InitiateRequest,
    InitiateResponse,
    decode_initiate_request,
)
from metercast.dlms.service_error import (
    ConfirmedServiceError,
)
from metercast.simulator.channel import PLAIN, Seal, SecureChannel
from metercast.simulator.observer import Observer
from metercast.simulator.security import MeterSecurity
from metercast.simulator.session_faults import SessionFaults
from metercast.simulator.spec import MANAGEMENT_CLIENT, PUBLIC_CLIENT, Authentication, MeterSpec
from metercast.simulator.state import MeterState

POLICY_BITS = {"none": 0x00, "authenticated": 0x10, "encrypted": 0x20, "both": 0x30}
MECHANISMS: dict[Authentication, Mechanism] = {
    "none": Mechanism.NONE,
    "lls": Mechanism.LLS,
    "hls": Mechanism.HLS,
    "hls-md5": Mechanism.HLS_MD5,
    "hls-sha1": Mechanism.HLS_SHA1,
    "hls-gmac": Mechanism.HLS_GMAC,
    "hls-sha256": Mechanism.HLS_SHA256,
    "hls-ecdsa": Mechanism.HLS_ECDSA,
}
HLS = frozenset(MECHANISMS.values()) - {Mechanism.NONE, Mechanism.LLS}
_WITH_TITLES = frozenset({Mechanism.HLS_GMAC, Mechanism.HLS_SHA256, Mechanism.HLS_ECDSA})
CALLED_AP_TITLE_NOT_RECOGNIZED = 7
RESERVED_PDU_SIZES = range(1, 12)
CHALLENGE_SIZE = 16

_INITIATE = 1
_DECIPHERING = ConfirmedServiceError(_INITIATE, 0, 6)
_VERSION_TOO_LOW = ConfirmedServiceError(_INITIATE, 6, 1)
_INCOMPATIBLE_CONFORMANCE = ConfirmedServiceError(_INITIATE, 6, 2)
_PDU_SIZE_TOO_SHORT = ConfirmedServiceError(_INITIATE, 6, 3)
_REFUSED_BY_VDE_HANDLER = ConfirmedServiceError(_INITIATE, 6, 4)


class AssociationHolder(Protocol):
    """The meter, as far as an association needs it; `owner` is the association."""

    @property
    def spec(self) -> MeterSpec: ...

    @property
    def state(self) -> MeterState: ...

    @property
    def security(self) -> MeterSecurity: ...

    @property
    def is_resting(self) -> bool:
        """So short a time after a connection this model gives no association."""

    def takes_password(self, right: bool) -> bool:
        """Whether a password that is right or wrong is accepted: a model may lock after some wrong ones."""

    def is_held(self, owner: object) -> bool:
        """Another association holds the meter, or one that was dropped still does."""

    def hold(self, owner: object, *, alone: bool) -> None:
        """`alone`: no other association may be opened as long as this one lasts."""

    def let_go(self, owner: object, *, hold_seconds: float) -> None:
        """The association is over; for so long nobody else gets one."""


class Opened(NamedTuple):
    """What was agreed. `max_answer` 0: the client sets no limit, and the meter's own is none either."""

    mechanism: int
    conformance: int
    max_answer: int
    ciphered: bool
    policy: int
    client_title: bytes
    client_challenge: bytes
    server_challenge: bytes
    dedicated_key: bytes | None = None


class Rejected(Exception):
    """`information` goes into the AARE's user-information."""

    def __init__(
        self, diagnostic: int, *, transient: bool = False, information: ConfirmedServiceError | None = None
    ) -> None:
        super().__init__()
        self.diagnostic = diagnostic
        self.result = AssociationResult.REJECTED_TRANSIENT if transient else AssociationResult.REJECTED_PERMANENT
        self.information = information


class Opening:
    """Judges one AARQ."""

    def __init__(
        self,
        meter: AssociationHolder,
        owner: object,
        channel: SecureChannel,
        faults: SessionFaults,
        observer: Observer,
    ) -> None:
        self._meter, self._owner, self._channel = meter, owner, channel
        self._faults, self._observer = faults, observer

    def answer(self, client_sap: int, server_sap: int, apdu: bytes) -> tuple[bytes, Opened | None]:
        """(AARE, what was agreed or None). Raises OutOfStep and Silence as every ciphered APDU does."""
        try:
            aarq = decode_aarq(apdu)
        except DecodeError as exc:
            self._observer.refused(f"AARQ: {exc}")
            self._observer.association_answered(client_sap, Mechanism.NONE, 1, 1)
            return _provider_rejects().encode(), None
        context = aarq.application_context
        context = context if context in (1, 2, 3, 4) else int(ApplicationContext.LN)
        try:
            self._check_admission(client_sap, server_sap)
            self._check_context(client_sap, aarq)
            mechanism = self._check_authentication(client_sap, aarq)
            initiate, seal = self._initiate(client_sap, aarq)
            opened = self._agree(client_sap, aarq, mechanism, initiate, seal)
        except Rejected as rejected:
            self._observer.association_answered(client_sap, Mechanism.NONE, int(rejected.result), rejected.diagnostic)
            information = rejected.information.encode() if rejected.information else None
            aare = Aare(
                application_context=context,
                result=rejected.result,
                diagnostic=rejected.diagnostic,
                user_information=information,
            )
            return aare.encode(), None
        return self._accept(client_sap, context, opened, seal), opened

    def _check_admission(self, client_sap: int, server_sap: int) -> None:
        spec = self._meter.spec
        if self._meter.is_held(self._owner):
            self._observer.fault_played("hold-association")
            raise Rejected(UserDiagnostic.NO_REASON_GIVEN, transient=True)
        reject = self._faults.reject
        if reject is not None:
            self._observer.fault_played(reject.kind)
            raise Rejected(reject.diagnostic, transient=reject.result == "transient")
        if self._meter.is_resting:
            self._observer.refused("the meter rests after its last connection")
            raise Rejected(UserDiagnostic.NO_REASON_GIVEN, transient=True)
        if server_sap != spec.server_sap:
            raise Rejected(CALLED_AP_TITLE_NOT_RECOGNIZED)
        if client_sap != MANAGEMENT_CLIENT and not (client_sap == PUBLIC_CLIENT and spec.has_public_client):
            raise Rejected(UserDiagnostic.CALLING_AP_TITLE_NOT_RECOGNIZED)

    def _check_context(self, client_sap: int, aarq: Aarq) -> None:
        """Ciphering is demanded where the policy says so, possible where there are keys, never for the public."""
        refused = Rejected(UserDiagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED)
        if aarq.application_context == ApplicationContext.LN:
            if self._policy(client_sap):
                raise refused
            return
        has_keys = self._meter.security.has_keys and client_sap != PUBLIC_CLIENT
        if aarq.application_context != ApplicationContext.LN_CIPHERED or not has_keys:
            raise refused
        if aarq.calling_ap_title is None or len(aarq.calling_ap_title) != TITLE_SIZE:
            raise Rejected(UserDiagnostic.CALLING_AP_TITLE_NOT_RECOGNIZED)

    def _policy(self, client_sap: int) -> int:
        return 0 if client_sap == PUBLIC_CLIENT else POLICY_BITS[self._meter.spec.protection]

    def _check_authentication(self, client_sap: int, aarq: Aarq) -> Mechanism:
        spec = self._meter.spec
        expected = Mechanism.NONE if client_sap == PUBLIC_CLIENT else MECHANISMS[spec.authentication]
        given = aarq.mechanism or Mechanism.NONE
        if given != expected:
            if given == Mechanism.NONE:
                raise Rejected(UserDiagnostic.AUTHENTICATION_MECHANISM_NAME_REQUIRED)
            raise Rejected(UserDiagnostic.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED)
        value = aarq.authentication or b""
        if expected is Mechanism.LLS:
            password = self._meter.security.keys.password or b""
            if self._faults.wrong_key:
                self._observer.fault_played("wrong-key")
                password += b"?"
            if not self._meter.takes_password(compare_digest(value, password)):
                raise Rejected(UserDiagnostic.AUTHENTICATION_FAILURE)
        if expected in HLS:
            if not MIN_CHALLENGE <= len(value) <= MAX_CHALLENGE:
                raise Rejected(UserDiagnostic.AUTHENTICATION_FAILURE)
            if expected in _WITH_TITLES and len(aarq.calling_ap_title or b"") != TITLE_SIZE:
                raise Rejected(UserDiagnostic.CALLING_AP_TITLE_NOT_RECOGNIZED)
        return expected

    def _initiate(self, client_sap: int, aarq: Aarq) -> tuple[InitiateRequest, Seal]:
        """(what the client proposes, how it came sealed)."""
        refused = UserDiagnostic.NO_REASON_GIVEN
        apdu, seal = aarq.user_information or b"", PLAIN
        if apdu[:1] != bytes((INITIATE_REQUEST,)) and aarq.application_context == ApplicationContext.LN_CIPHERED:
            title = aarq.calling_ap_title or b""
            try:
                if apdu[:1] != bytes((GLO_TAGS[INITIATE_REQUEST],)):
                    raise DecodeError("not a glo-initiate-request")
                apdu, seal = self._channel.decipher(apdu, title)
            except (SecurityError, DecodeError) as exc:
                self._observer.refused(f"InitiateRequest: {exc}")
                raise Rejected(refused, information=_DECIPHERING) from None
        policy = self._policy(client_sap)
        if seal.control & policy != policy:
            raise Rejected(refused, information=_REFUSED_BY_VDE_HANDLER)
        try:
            return decode_initiate_request(apdu), seal
        except DecodeError as exc:
            self._observer.refused(f"InitiateRequest: {exc}")
            raise Rejected(refused, information=_REFUSED_BY_VDE_HANDLER) from None

    def _agree(
        self, client_sap: int, aarq: Aarq, mechanism: Mechanism, initiate: InitiateRequest, seal: Seal
    ) -> Opened:
        spec = self._meter.spec
        refused = UserDiagnostic.NO_REASON_GIVEN
        if initiate.dlms_version < DLMS_VERSION:
            raise Rejected(refused, information=_VERSION_TOO_LOW)
        conformance = int(initiate.conformance) & spec.offered
        strict = spec.dialect.strict
        if not conformance or (strict and int(initiate.conformance) & ~spec.conformance):
            raise Rejected(refused, information=_INCOMPATIBLE_CONFORMANCE)
        size = initiate.client_max_receive_pdu_size
        if size in RESERVED_PDU_SIZES or (strict and not 0 < size <= spec.max_pdu):
            raise Rejected(refused, information=_PDU_SIZE_TOO_SHORT)
        key = initiate.dedicated_key
        if key is not None and (not seal.control & ENCRYPTED or len(key) != KEY_SIZES[spec.security_suite]):
            raise Rejected(refused, information=_REFUSED_BY_VDE_HANDLER)
        limits = [size for size in (initiate.client_max_receive_pdu_size, spec.max_pdu) if size]
        return Opened(
            mechanism=int(mechanism),
            conformance=conformance,
            max_answer=min(limits, default=0),
            ciphered=aarq.application_context == ApplicationContext.LN_CIPHERED,
            policy=self._policy(client_sap),
            client_title=aarq.calling_ap_title or b"",
            client_challenge=aarq.authentication or b"",
            server_challenge=os.urandom(CHALLENGE_SIZE) if mechanism in HLS else b"",
            dedicated_key=key,
        )

    def _accept(self, client_sap: int, context: int, opened: Opened, seal: Seal) -> bytes:
        response = InitiateResponse(
            conformance=opened.conformance, server_max_receive_pdu_size=self._meter.spec.max_pdu
        ).encode()
        mechanism = Mechanism(opened.mechanism)
        pending = mechanism in HLS
        diagnostic = UserDiagnostic.AUTHENTICATION_REQUIRED if pending else UserDiagnostic.NULL
        self._observer.association_answered(client_sap, mechanism, 0, int(diagnostic))
        titled = opened.ciphered or pending
        return Aare(
            application_context=context,
            result=AssociationResult.ACCEPTED,
            diagnostic=diagnostic,
            responding_ap_title=self._channel.title if titled else None,
            mechanism=opened.mechanism if pending else None,
            authentication=opened.server_challenge if pending else None,
            user_information=self._channel.encipher(response, seal) if seal.control else response,
        ).encode()


def _provider_rejects() -> Aare:
    return Aare(
        application_context=ApplicationContext.LN,
        result=AssociationResult.REJECTED_PERMANENT,
        diagnostic=UserDiagnostic.NO_REASON_GIVEN,
        diagnostic_source=DiagnosticSource.SERVICE_PROVIDER,
        user_information=None,
    )
