"""CPU of one HLS-GMAC session, protection both, with a recorded peer: ours, dlms-cosem's, and a bare floor.

One session is AARQ, AARE, pass 3, pass 4, GET clock and its answer, RLRQ, RLRE. dlms-cosem speaks general-glo-ciphering
where we speak the service-specific form, so the same answers are recorded once for each.
"""

import logging
import statistics
import time
from collections.abc import Callable
from hmac import compare_digest
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from dlms_cosem import cosem, enumerations
from dlms_cosem import state as dlms_state
from dlms_cosem.connection import DlmsConnection
from dlms_cosem.protocol import xdlms
from dlms_cosem.utils import parse_as_dlms_data

from bench.figure import Figure
from metercast.dlms import hls
from metercast.dlms.acse import Aare, Rlre
from metercast.dlms.action import ActionResponseNormal, MethodResponse
from metercast.dlms.association import ClientAssociation
from metercast.dlms.ciphering import BOTH, GLO_TAGS, Cipher
from metercast.dlms.conformance import CLIENT_DEFAULT
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.events import Associated, GetResult, Released, Send
from metercast.dlms.get import GetResponseNormal
from metercast.dlms.initiate import InitiateResponse
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode
from metercast.dlms.settings import AssociationSettings, Authentication, Protection

EK = bytes(range(16))
AK = bytes(range(0xD0, 0xE0))
CLIENT = bytes.fromhex("4D43530000000001")
SERVER = bytes.fromhex("4D4D4D0000BC614E")
CTOS = bytes(range(16))
STOC = bytes(range(16, 32))
CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
NOW = bytes.fromhex("07EA0911040C0F0600FF8880")
SETTINGS = AssociationSettings(
    client_sap=1,
    authentication=Authentication.HLS_GMAC,
    protection=Protection.BOTH,
    client_system_title=CLIENT,
    encryption_key=EK,
    authentication_key=AK,
)
ROUNDS = 41
SESSIONS = 60


def recorded(*, general: bool, invoke: tuple[int, int]) -> tuple[bytes, bytes, bytes, bytes]:
    """AARE, pass 4, the clock and RLRE, as the meter of this benchmark once sent them."""
    cipher = Cipher(EK, AK)

    def protected(counter: int, apdu: bytes, title: bytes = b"") -> bytes:
        body = cipher.protect(BOTH, SERVER, counter, apdu)
        if title:
            return b"\xdb\x08" + title + bytes((len(body),)) + body
        return bytes((GLO_TAGS[apdu[0]], len(body))) + body

    title = SERVER if general else b""
    initiate = InitiateResponse(conformance=CLIENT_DEFAULT, server_max_receive_pdu_size=1024).encode()
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
    pass_4 = ActionResponseNormal(invoke[0], MethodResponse(ActionResultCode.SUCCESS, proof))
    clock = GetResponseNormal(invoke[1], Data.octets(NOW))
    return (
        aare.encode(),
        protected(3, pass_4.encode(), title),
        protected(4, clock.encode(), title),
        Rlre(0, protected(5, initiate)).encode(),
    )


def ours(answers: tuple[bytes, bytes, bytes, bytes]) -> None:
    aare, pass_4, clock, rlre = answers
    client = ClientAssociation(SETTINGS, count(1), CTOS)
    client.associate()
    assert type(client.receive(aare)) is Send
    assert type(client.receive(pass_4)) is Associated
    client.get(CLOCK)
    result = client.receive(clock)
    assert type(result) is GetResult
    assert result.data is not None
    CosemDateTime.decode(result.data.octet_string(12)).to_datetime()
    client.release()
    assert type(client.receive(rlre)) is Released


def dlms_cosem(answers: tuple[bytes, bytes, bytes, bytes]) -> None:
    client: Any = DlmsConnection(
        client_system_title=CLIENT,
        global_encryption_key=EK,
        global_authentication_key=AK,
        authentication_method=enumerations.AuthenticationMechanism.HLS_GMAC,
    )
    client.client_to_meter_challenge = CTOS

    def answered(answer: bytes) -> Any:
        client.receive_data(answer)
        return client.next_event()

    client.send(client.get_aarq())
    answered(answers[0])
    client.send(
        xdlms.ActionRequestNormal(
            cosem_method=cosem.CosemMethod(enumerations.CosemInterface.ASSOCIATION_LN, cosem.Obis(0, 0, 40, 0, 0), 1),
            data=b"\x09\x11" + client.get_hls_reply(),
        )
    )
    answered(answers[1])
    client.send(
        xdlms.GetRequestNormal(
            cosem_attribute=cosem.CosemAttribute(enumerations.CosemInterface.CLOCK, cosem.Obis(0, 0, 1, 0, 0), 2)
        )
    )
    octets = parse_as_dlms_data(answered(answers[2]).data)
    assert len(octets) == 12
    client.send(client.get_rlrq())
    answered(answers[3])
    assert client.state.current_state == dlms_state.NO_ASSOCIATION


def floor(answers: tuple[bytes, bytes, bytes, bytes]) -> None:
    """The least that does the same exchange: fixed offsets, no checks but the tags."""
    gcm = AESGCM(EK)
    initiate = b"\x01\x00\x00\x00\x06\x5f\x1f\x04\x00\x00\x5e\x1d\xff\xff"

    def seal(tag: int, counter: int, apdu: bytes) -> bytes:
        octets = counter.to_bytes(4, "big")
        body = b"\x30" + octets + gcm.encrypt(CLIENT + octets, apdu, b"\x30" + AK)[:-4]
        return bytes((tag, len(body))) + body

    def unseal(apdu: bytes) -> bytes:
        nonce = SERVER + apdu[3:7]
        plain = gcm.encrypt(nonce, apdu[7:-12], None)[:-16]
        assert compare_digest(gcm.encrypt(nonce, plain, b"\x30" + AK)[-16:-4], apdu[-12:])
        return plain

    def gmac(title: bytes, octets: bytes, challenge: bytes) -> bytes:
        return gcm.encrypt(title + octets, b"", b"\x10" + AK + challenge)[:12]

    body = bytes.fromhex("A109060760857405080103A60A0408") + CLIENT + bytes.fromhex("8A0207808B0760857405080205")
    sealed = seal(0x21, 1, initiate)
    body += b"\xac\x12\x80\x10" + CTOS + bytes((0xBE, len(sealed) + 2, 4, len(sealed))) + sealed
    _ = bytes((0x60, len(body))) + body
    aare = answers[0]
    unseal(aare[aare.index(b"\x28\x1f") :])
    challenge = aare[aare.index(b"\xaa\x12") + 4 :][:16]
    proof = b"\x10\x00\x00\x00\x02" + gmac(CLIENT, b"\x00\x00\x00\x02", challenge)
    seal(0xCB, 3, bytes.fromhex("C301C1000F0000280000FF01010911") + proof)
    answer = unseal(answers[1])[-17:]
    assert compare_digest(gmac(SERVER, answer[1:5], CTOS), answer[5:])
    seal(0xC8, 4, bytes.fromhex("C001C200080000010000FF0200"))
    assert unseal(answers[2])[-12:] == NOW
    sealed = seal(0x21, 5, initiate)
    _ = bytes((0x62, len(sealed) + 7, 0x80, 1, 0, 0xBE, len(sealed) + 2, 4, len(sealed))) + sealed
    unseal(answers[3][answers[3].index(b"\x28\x1f") :])


def cpu_microseconds(session: Callable[[], None]) -> float:
    started = time.process_time_ns()
    for _ in range(SESSIONS):
        session()
    return (time.process_time_ns() - started) / SESSIONS / 1000


def run() -> list[Figure]:
    logging.getLogger("dlms_cosem").setLevel(logging.ERROR)
    specific = recorded(general=False, invoke=(0xC1, 0xC2))
    general = recorded(general=True, invoke=(0xC1, 0xC1))
    contenders: dict[str, Callable[[], None]] = {
        "ours": lambda: ours(specific),
        "dlms-cosem": lambda: dlms_cosem(general),
        "floor": lambda: floor(specific),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for session in contenders.values():
        session()
    for _ in range(ROUNDS):
        for name, session in contenders.items():
            times[name].append(cpu_microseconds(session))
    medians = {name: statistics.median(values) for name, values in times.items()}
    detail = ", ".join(f"{name} {value:.0f} µs" for name, value in medians.items())
    return [
        Figure(
            "dlms: CPU of an HLS-GMAC session, of dlms-cosem's",
            medians["ours"] / medians["dlms-cosem"],
            bar=0.5,
            detail=detail,
        ),
        Figure("dlms: CPU of an HLS-GMAC session, of the bare floor's", medians["ours"] / medians["floor"]),
    ]
