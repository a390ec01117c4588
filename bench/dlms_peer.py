"""Both ends of the DLMS benchmarks: a recorded meter, and the floor, the least code that does the same exchange.

One session is AARQ, AARE, pass 3, pass 4, the services, RLRQ and RLRE, over HLS-GMAC with protection both.
"""

from collections.abc import Iterable
from hmac import compare_digest
from struct import Struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from metercast.dlms import hls
from metercast.dlms.acse import Aare, Rlre
from metercast.dlms.action import ActionResponseNormal, MethodResponse
from metercast.dlms.axdr import encode_length
from metercast.dlms.ciphering import BOTH, GLO_TAGS, Cipher
from metercast.dlms.conformance import CLIENT_DEFAULT
from metercast.dlms.data import Data
from metercast.dlms.initiate import InitiateResponse
from metercast.dlms.results import ActionResultCode

EK = bytes(range(16))
AK = bytes(range(0xD0, 0xE0))
CLIENT = bytes.fromhex("4D43530000000001")
SERVER = bytes.fromhex("4D4D4D0000BC614E")
CTOS = bytes(range(16))
STOC = bytes(range(16, 32))
MAX_PDU = 1024

Answers = tuple[bytes, ...]
"""AARE, pass 4, what answers each request, RLRE."""


def recorded(services: Iterable[bytes], *, general: bool = False, pass_4_invoke: int = 0xC1) -> Answers:
    """What the meter sends in one session; `services` are its plain answers."""
    cipher = Cipher(EK, AK)
    counter = 2

    def protected(counter: int, apdu: bytes, title: bytes = b"") -> bytes:
        body = cipher.protect(BOTH, SERVER, counter, apdu)
        if title:
            return b"\xdb\x08" + title + encode_length(len(body)) + body
        return bytes((GLO_TAGS[apdu[0]],)) + encode_length(len(body)) + body

    title = SERVER if general else b""
    initiate = InitiateResponse(conformance=CLIENT_DEFAULT, server_max_receive_pdu_size=MAX_PDU).encode()
    aare = Aare(
        application_context=3,
        result=0,
        diagnostic=14,
        responding_ap_title=SERVER,
        mechanism=5,
        authentication=STOC,
        user_information=protected(1, initiate),
    )
    proof = Data.octets(hls.prove(cipher, SERVER, 2, CTOS))
    pass_4 = ActionResponseNormal(pass_4_invoke, MethodResponse(ActionResultCode.SUCCESS, proof))
    answers = [aare.encode()]
    for apdu in (pass_4.encode(), *services):
        counter += 1
        answers.append(protected(counter, apdu, title))
    answers.append(Rlre(0, protected(counter + 1, initiate)).encode())
    return tuple(answers)


_CONTEXT = Struct(">x3sH2x")  # behind the head of an InitiateResponse: conformance, largest PDU
_INITIATE = bytes.fromhex("01000000065F1F0400") + CLIENT_DEFAULT.to_bytes(3, "big") + b"\xff\xff"
_AARQ_HEAD = bytes.fromhex("A109060760857405080103A60A0408") + CLIENT + bytes.fromhex("8A0207808B0760857405080205")
_PASS_3 = bytes.fromhex("C301C1000F0000280000FF01010911")


class FloorSession:
    """AES-GCM, slices at fixed offsets; checks the results, the invoke-ids and that counters rise, nothing else.

    `sent` holds what it would send, which must be what our own stack sends.
    """

    def __init__(self, answers: Answers) -> None:
        self.sent: list[bytes] = []
        self._answers = iter(answers)
        self._gcm = AESGCM(EK)
        self._aad = b"\x30" + AK
        self._counter = 0
        self._received = 0

    def associate(self) -> None:
        sealed = self._seal(_INITIATE)
        body = _AARQ_HEAD + b"\xac\x12\x80\x10" + CTOS + bytes((0xBE, len(sealed) + 2, 4, len(sealed))) + sealed
        self.sent.append(bytes((0x60, len(body))) + body)
        aare = next(self._answers)
        assert aare[13:18] == b"\xa2\x03\x02\x01\x00"
        sealed = aare[aare.index(b"\x28\x1f") :]
        conformance, pdu = _CONTEXT.unpack(self._unseal(sealed)[6:])
        assert conformance
        assert pdu == MAX_PDU
        challenge = aare[aare.index(b"\xaa\x12") + 4 :][:16]
        self._counter += 1
        octets = self._counter.to_bytes(4, "big")
        self.sent.append(self._seal(_PASS_3 + b"\x10" + octets + self._gmac(CLIENT + octets, challenge)))
        proof = self._unseal(next(self._answers))[-17:]
        assert compare_digest(self._gmac(SERVER + proof[1:5], CTOS), proof[5:])

    def ask(self, request: bytes) -> bytes:
        """The plain answer."""
        self.sent.append(self._seal(request))
        answer = self._unseal(next(self._answers))
        assert answer[2] == request[2]
        return answer

    def release(self) -> None:
        sealed = self._seal(_INITIATE)
        self.sent.append(bytes((0x62, len(sealed) + 7, 0x80, 1, 0, 0xBE, len(sealed) + 2, 4, len(sealed))) + sealed)
        rlre = next(self._answers)
        self._unseal(rlre[rlre.index(b"\x28\x1f") :])

    def _seal(self, apdu: bytes) -> bytes:
        self._counter += 1
        octets = self._counter.to_bytes(4, "big")
        body = b"\x30" + octets + self._gcm.encrypt(CLIENT + octets, apdu, self._aad)[:-4]
        size = len(body)
        tag = apdu[0] | 0x20 if apdu[0] < 0x20 else apdu[0] | 0x08
        return (bytes((tag, size)) if size < 128 else bytes((tag, 0x81, size))) + body

    def _unseal(self, apdu: bytes) -> bytes:
        at = 2 if apdu[1] < 128 else apdu[1] - 0x7E
        nonce = SERVER + apdu[at + 1 : at + 5]
        plain = self._gcm.encrypt(nonce, apdu[at + 5 : -12], None)[:-16]
        assert compare_digest(self._gcm.encrypt(nonce, plain, self._aad)[-16:-4], apdu[-12:])
        counter = int.from_bytes(apdu[at + 1 : at + 5], "big")
        assert counter > self._received
        self._received = counter
        return plain

    def _gmac(self, nonce: bytes, challenge: bytes) -> bytes:
        return self._gcm.encrypt(nonce, b"", b"\x10" + AK + challenge)[:12]
