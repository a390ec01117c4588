"""The server side of an application association, without I/O: an APDU in, at most one APDU out.

Order of checks as in catalogue 2.2 to 2.7; what is refused, is refused as strictly as a meter may.
"""

from enum import Enum, auto

from metercast.dlms.access import ACCESS_REQUEST
from metercast.dlms.acse import AARQ, RLRQ, Mechanism, Rlre, decode_rlrq
from metercast.dlms.action import (
    ACTION_REQUEST,
    ActionRequestNormal,
    ActionResponseNormal,
    MethodResponse,
    decode_action_request,
)
from metercast.dlms.data import Data, Tag
from metercast.dlms.elliptic import PrivateKey
from metercast.dlms.errors import DecodeError, SecurityError
from metercast.dlms.get import GET_REQUEST
from metercast.dlms.hls import REPLY_TO_HLS, Prover, SharedSecret, Signatures
from metercast.dlms.initiate import InitiateResponse, decode_initiate_request
from metercast.dlms.protection import CIPHERED_TAGS
from metercast.dlms.results import ActionResultCode
from metercast.dlms.service_error import EXCEPTION_RESPONSE, ExceptionResponse, ServiceErrorCode, StateError
from metercast.dlms.set import SET_REQUEST
from metercast.simulator.access import ObjectAccess
from metercast.simulator.channel import PLAIN, OutOfStep, Seal, SecureChannel, Silence
from metercast.simulator.dialect import USUAL
from metercast.simulator.objects.dialect import dialect_model
from metercast.simulator.objects.model import ObjectModel, standard_model, standard_object_list
from metercast.simulator.observer import Observer
from metercast.simulator.opening import HLS, AssociationHolder, Opened, Opening
from metercast.simulator.security import another_name, another_title
from metercast.simulator.services import TOO_LONG, UNSUPPORTED, Services
from metercast.simulator.session_faults import SessionFaults
from metercast.simulator.spec import MANAGEMENT_CLIENT, PUBLIC_CLIENT

NO_LIMIT = 0xFFFF
NOT_ALLOWED = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceErrorCode.OPERATION_NOT_POSSIBLE).encode()
DECIPHERING = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceErrorCode.DECIPHERING_ERROR).encode()


class Phase(Enum):
    IDLE = auto()
    HLS_PENDING = auto()
    OPEN = auto()


class ServerAssociation:
    """One association on one connection; it is the `Caller` that the objects see.

    `aborted` is True once the connection must be dropped without sending the answer. `in_blocks` is set while a
    request is at hand that came in general blocks: its answer goes so too, whatever its size.
    """

    def __init__(self, meter: AssociationHolder, faults: SessionFaults, observer: Observer) -> None:
        self._meter, self._faults, self._observer = meter, faults, observer
        spec = meter.spec
        title, name = spec.system_title, spec.logical_device_name
        if faults.another_identity:
            title, name = another_title(title), another_name(name)
        self._channel = SecureChannel(meter.security, title, faults, observer)
        self.logical_device_name = name.encode("ascii")
        self.phase = Phase.IDLE
        self.client_sap = 0
        self.in_blocks = False
        self._opened: Opened | None = None
        self._services: Services | None = None
        self._access: ObjectAccess | None = None

    # What the objects see of the association.

    @property
    def conformance(self) -> int:
        return self._opened.conformance if self._opened else 0

    @property
    def max_answer(self) -> int:
        return self._opened.max_answer if self._opened else 0

    @property
    def mechanism(self) -> int:
        return self._opened.mechanism if self._opened else 0

    @property
    def ciphered(self) -> bool:
        return self._opened is not None and self._opened.ciphered

    @property
    def client_system_title(self) -> bytes:
        return (self._opened.client_title if self._opened else None) or b""

    @property
    def server_system_title(self) -> bytes:
        return self._channel.title

    @property
    def client_counter(self) -> int:
        return self._meter.security.client_counter

    @property
    def object_list(self) -> Data:
        client_sap = PUBLIC_CLIENT if self.client_sap == PUBLIC_CLIENT else MANAGEMENT_CLIENT
        spec = self._meter.spec
        if spec.dialect == USUAL:
            return standard_object_list(client_sap, spec.security_version)
        return self._model().object_list(client_sap)

    @property
    def aborted(self) -> bool:
        return self._access is not None and self._access.answer_lost

    # The protocol.

    def receive(self, client_sap: int, server_sap: int, apdu: bytes) -> bytes | None:
        """The answer to one APDU; None where the meter keeps silent. Never raises, whatever the octets."""
        if not apdu:
            self._observer.refused("an empty APDU")
            return None
        client_sap = self._meter.spec.dialect.role(client_sap)
        try:
            if apdu[0] == AARQ:
                return self._associate(client_sap, server_sap, apdu)
            if self.phase is Phase.IDLE or client_sap != self.client_sap:
                self._observer.refused(f"APDU 0x{apdu[0]:02X} outside an association")
                return NOT_ALLOWED
            if apdu[0] == RLRQ:
                if not self._meter.spec.dialect.releases:
                    self._observer.refused("an RLRQ, which this model does not know")
                    return UNSUPPORTED
                return self._release(apdu)
            return self._serve(apdu)
        except OutOfStep as stale:
            self._observer.refused("invocation counter out of step")
            return stale.answer
        except Silence:
            self._observer.refused("invocation counter out of step")
            return None
        except SecurityError as exc:
            self._observer.refused(str(exc))
            return DECIPHERING
        except DecodeError as exc:
            self._observer.refused(str(exc))
            return NOT_ALLOWED

    def protect(self, apdu: bytes, *, plain: bool = False) -> bytes:
        """An APDU of the meter's own accord, as its answers are protected."""
        opened = self._opened
        if opened is None or plain or not opened.policy:
            return apdu
        return self._channel.encipher(apdu, Seal(opened.policy, dedicated=opened.dedicated_key is not None))

    def end(self, *, released: bool = False) -> None:
        """The association is over: released, or the connection is gone. Harmless where there is none."""
        if self.phase is not Phase.IDLE:
            self.phase = Phase.IDLE
            hold = self._faults.hold
            seconds = hold.seconds if hold is not None and not released else 0.0
            self._meter.let_go(self, hold_seconds=seconds)

    def _associate(self, client_sap: int, server_sap: int, apdu: bytes) -> bytes:
        self.end(released=True)
        self._meter.security.begin_association()
        opening = Opening(self._meter, self, self._channel, self._faults, self._observer)
        answer, opened = opening.answer(client_sap, server_sap, apdu)
        if opened is None:
            return answer
        self.client_sap = client_sap
        self._opened = opened
        self._channel.dedicate(opened.dedicated_key)
        self._access = ObjectAccess(self._model(), self._meter.state, self, self._faults, self._observer)
        self._services = Services(self._access, opened.conformance)
        self._meter.hold(self, alone=self._faults.hold is not None)
        if opened.mechanism in HLS:
            self.phase = Phase.HLS_PENDING
        else:
            self.phase = Phase.OPEN
            self._observer.association_established(client_sap, Mechanism(opened.mechanism))
        return answer

    def _model(self) -> ObjectModel:
        spec = self._meter.spec
        model = standard_model(spec.security_version)
        return model if spec.dialect == USUAL else dialect_model(model, spec.dialect)

    def _release(self, apdu: bytes) -> bytes:
        assert self._opened is not None
        request = decode_rlrq(apdu)
        information = None
        if request.user_information is not None:
            plain, seal = request.user_information, PLAIN
            if plain[:1] == b"\x21":
                plain, seal = self._channel.decipher(plain, self._opened.client_title)
            decode_initiate_request(plain)
            response = InitiateResponse(
                conformance=self._opened.conformance, server_max_receive_pdu_size=self._meter.spec.max_pdu
            )
            information = self._channel.encipher(response.encode(), seal) if seal.control else response.encode()
        self.end(released=True)
        self._observer.association_released()
        return Rlre(0, information).encode()

    def _serve(self, apdu: bytes) -> bytes | None:
        assert self._opened is not None
        limit = self._meter.spec.max_pdu
        if limit and len(apdu) > limit and not self.in_blocks:
            self._observer.refused(f"an APDU of {len(apdu)} octets, above {limit}")
            return TOO_LONG
        seal = PLAIN
        if apdu[0] not in CIPHERED_TAGS:
            self._channel.take_plain()
        elif self._opened.ciphered:
            apdu, seal = self._channel.decipher(apdu, self._opened.client_title)
        else:
            self._observer.refused("a ciphered APDU in a context without ciphering")
            return NOT_ALLOWED
        if apdu[0] not in (GET_REQUEST, SET_REQUEST, ACTION_REQUEST, ACCESS_REQUEST):
            self._observer.refused(f"APDU 0x{apdu[0]:02X} is not supported")
            return UNSUPPORTED
        demanded = self._opened.policy
        if seal.control & demanded != demanded:
            self._observer.refused(f"protection 0x{seal.control:02X}, 0x{demanded:02X} is demanded")
            return NOT_ALLOWED
        answer = self._answer(apdu, seal)
        if answer is None or not seal.control or answer[0] == EXCEPTION_RESPONSE:
            return answer
        return self._channel.encipher(answer, seal)

    def _answer(self, apdu: bytes, seal: Seal) -> bytes | None:
        assert self._opened is not None
        if self.phase is Phase.HLS_PENDING:
            return self._reply_to_hls(apdu)
        assert self._services is not None
        limit = self._opened.max_answer or NO_LIMIT
        if self.in_blocks:
            return self._services.answer(apdu, NO_LIMIT)
        return self._services.answer(apdu, limit - seal.overhead(limit))

    def _reply_to_hls(self, apdu: bytes) -> bytes:
        """Pass 3 in, pass 4 out (catalogue 2.6); nothing else is allowed before."""
        request = decode_action_request(apdu) if apdu[0] == ACTION_REQUEST else None
        if not isinstance(request, ActionRequestNormal) or request.method != REPLY_TO_HLS:
            self._observer.refused("HLS authentication is not complete")
            return NOT_ALLOWED
        assert self._opened is not None
        opened = self._opened
        parameter = request.parameter
        try:
            if parameter is None or parameter.tag is not Tag.OCTET_STRING:
                raise SecurityError("not an octet-string")
            proof = self._proved(opened, parameter.value)
        except SecurityError as exc:
            self._observer.refused(f"f(StoC): {exc}")
            self.end(released=True)
            response = MethodResponse(ActionResultCode.READ_WRITE_DENIED)
            return ActionResponseNormal(request.invoke, response).encode()
        self.phase = Phase.OPEN
        self._observer.association_established(self.client_sap, Mechanism(opened.mechanism))
        response = MethodResponse(ActionResultCode.SUCCESS, Data.octets(proof))
        return ActionResponseNormal(request.invoke, response).encode()

    def _proved(self, opened: Opened, proof: bytes) -> bytes:
        """f(CtoS), where f(StoC) is right; SecurityError."""
        theirs, ours = opened.client_challenge, opened.server_challenge
        if opened.mechanism == Mechanism.HLS_GMAC:
            self._channel.check_proof(opened.client_title, ours, proof)
            return self._channel.prove(theirs)
        prover = self._prover(Mechanism(opened.mechanism))
        prover.verify(opened.client_title, self._channel.title, ours, theirs, proof)
        return prover.prove(self._channel.title, opened.client_title, theirs, ours)

    def _prover(self, mechanism: Mechanism) -> Prover:
        spec, wrong = self._meter.spec, self._faults.wrong_key
        if wrong:
            self._observer.fault_played("wrong-key")
        if mechanism is Mechanism.HLS_ECDSA:
            assert spec.signing_key is not None
            assert spec.client_signing_key is not None
            client = PrivateKey.parse(spec.client_signing_key.hex(), spec.security_suite).public
            own = PrivateKey.parse(spec.signing_key.hex(), spec.security_suite)
            return Signatures(PrivateKey.generate(spec.security_suite) if wrong else own, client)
        secret = self._meter.security.keys.password or b""
        return SharedSecret(mechanism, secret + b"?" if wrong else secret)
