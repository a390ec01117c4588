"""Passes 3 and 4 of HLS, the client's side: our proof goes out, the server's is checked (catalogue 2.6)."""

from metercast.dlms import hls
from metercast.dlms.acse import Aare, AssociationResult, DiagnosticSource, UserDiagnostic
from metercast.dlms.action import ActionRequestNormal, ActionResponseNormal, decode_action_response
from metercast.dlms.data import Data
from metercast.dlms.errors import DowngradeError, ReplayError, SecurityError, UnexpectedAnswer
from metercast.dlms.events import ActionResult, Ignored, Rejected
from metercast.dlms.protection import Protector
from metercast.dlms.results import ActionResultCode
from metercast.dlms.settings import AssociationSettings, Authentication
from metercast.dlms.transfers import result_of

_ECDSA = Authentication.HLS_ECDSA
_SUCCESS = ActionResultCode.SUCCESS


class HlsExchange:
    """The proofs of one association. `challenge` is CtoS; EncodeError where it has not 8 to 64 octets.

    `protector` must know the server's system title before pass 3 where the mechanism proves titles.
    """

    __slots__ = (
        "_authentication",
        "_challenge",
        "_invoke",
        "_protector",
        "_prover",
        "_server_challenge",
        "_title",
    )

    def __init__(self, settings: AssociationSettings, challenge: bytes, protector: Protector) -> None:
        hls.check_challenge(challenge)
        self._authentication = settings.authentication
        self._title = settings.client_system_title or b""
        self._challenge = challenge
        self._server_challenge = b""
        self._protector = protector
        self._invoke = 0
        self._prover = _prover_of(settings)

    def reply(self, aare: Aare, invoke: int) -> bytes:
        """Pass 3, plain: the action-request with our proof. SecurityError where the AARE holds no fit challenge."""
        challenge = aare.authentication
        authentication = self._authentication
        if aare.mechanism not in (None, authentication.mechanism) or challenge is None:
            raise DowngradeError(f"the server accepts without the challenge of {authentication.value}")
        if not hls.MIN_CHALLENGE <= len(challenge) <= hls.MAX_CHALLENGE:
            raise SecurityError(f"the server's challenge has {len(challenge)} octets")
        if challenge == self._challenge:
            raise ReplayError("the server's challenge is our own")
        protector = self._protector
        if authentication.proves_titles and protector.peer_title is None:
            raise SecurityError(f"{authentication.value} needs the server's system title, which neither side gave")
        if self._prover is not None:
            self._server_challenge = challenge
            proof = self._prover.prove(self._title, protector.peer_title or b"", challenge, self._challenge)
        else:
            proof = hls.prove(protector.cipher, self._title, protector.next_counter(), challenge)
        self._invoke = invoke
        return ActionRequestNormal(invoke, hls.REPLY_TO_HLS, Data.octets(proof)).encode()

    def receive(self, plain: bytes, last_received: int) -> Ignored | Rejected | None:
        """Pass 4, plain: None where the server has proved itself, SecurityError where it has not.

        `last_received` is the highest counter of the server before this answer, which the proof's must exceed.
        """
        if len(plain) > 2 and (plain[2] ^ self._invoke) & 0x0F:
            return Ignored(f"an answer to invoke-id {plain[2] & 0x0F}, not to {self._invoke & 0x0F}")
        answer = decode_action_response(plain)
        if not isinstance(answer, ActionResponseNormal):
            raise UnexpectedAnswer("pass 4 of HLS does not come in one action-response")
        outcome = result_of(answer.response)
        if outcome.result is not _SUCCESS:
            return Rejected(
                AssociationResult.REJECTED_PERMANENT,
                DiagnosticSource.SERVICE_USER,
                UserDiagnostic.AUTHENTICATION_FAILURE,
            )
        self._check(outcome, last_received)
        return None

    def _check(self, outcome: ActionResult, last_received: int) -> None:
        protector = self._protector
        if outcome.data is None:
            raise SecurityError("the server does not prove that it holds the keys")
        proof = outcome.data.octet_string()
        if self._prover is not None:
            title = protector.peer_title or b""
            self._prover.verify(title, self._title, self._challenge, self._server_challenge, proof)
            return
        assert protector.peer_title is not None
        counter = hls.verify(protector.cipher, protector.peer_title, self._challenge, proof)
        if counter <= last_received:
            raise ReplayError(f"the proof's invocation counter {counter} comes after {last_received}")
        protector.last_received = max(protector.last_received, counter)


def _prover_of(settings: AssociationSettings) -> hls.Prover | None:
    """None for GMAC, which proves with the ciphering key and a counter."""
    authentication = settings.authentication
    if authentication is _ECDSA:
        assert settings.signing_key is not None
        assert settings.server_public_key is not None
        return hls.Signatures(settings.signing_key, settings.server_public_key)
    if authentication.needs_password:
        return hls.SharedSecret(authentication.mechanism, settings.password or b"")
    return None
