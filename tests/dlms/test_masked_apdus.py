"""No secret octet is left in what a trace holds; every length, and every other octet, is."""

import random
from typing import Any

import pytest
from tests.dlms.meter import AK, CLIENT, EK, seal

from metercast.dlms.access import AccessItemResult, AccessKind, AccessRequest, AccessResponse, AccessSpecification
from metercast.dlms.acse import Aarq, Rlrq
from metercast.dlms.action import (
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestList,
    ActionRequestNormal,
)
from metercast.dlms.blocks import Block
from metercast.dlms.ciphering import AUTHENTICATED, BOTH, Cipher, encode_ded, encode_glo
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data
from metercast.dlms.describe import describe
from metercast.dlms.general_block import GeneralBlock
from metercast.dlms.general_protection import encode_general
from metercast.dlms.get import (
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
)
from metercast.dlms.initiate import InitiateRequest
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.masked import Masker
from metercast.dlms.results import DataAccessResult
from metercast.dlms.set import (
    SetRequestBlock,
    SetRequestFirstBlock,
    SetRequestList,
    SetRequestListFirstBlock,
    SetRequestNormal,
)

SECRET = b"S3CRETS3CRET"
INITIATE = InitiateRequest(conformance=0x1D, client_max_receive_pdu_size=0).encode()
ASSOCIATION = LogicalName.parse("0.0.40.0.0.255")
WITH_KEY = InitiateRequest(conformance=0x1D, client_max_receive_pdu_size=0, dedicated_key=SECRET)
PASSWORD = CosemAttribute(15, ASSOCIATION, 7)
HARMLESS = CosemAttribute(1, LogicalName.parse("0.0.96.1.0.255"), 2)
CHANGE = CosemMethod(15, ASSOCIATION, 2)
TRANSFER = CosemMethod(64, LogicalName.parse("0.0.43.0.0.255"), 2)
KEYS = Data.array([Data.structure([Data.enum(0), Data.octets(SECRET)])])


class Sealed(bytes):
    """Encoded already."""

    def encode(self) -> bytes:
        return bytes(self)


def general_blocks(apdu: bytes, size: int = 16) -> list[bytes]:
    pieces = [apdu[at : at + size] for at in range(0, len(apdu), size)]
    return [
        GeneralBlock(
            last=number == len(pieces), streaming=False, window=1, number=number, acknowledged=0, data=piece
        ).encode()
        for number, piece in enumerate(pieces, start=1)
    ]


def authenticated(service: Any, encode: Any = encode_glo) -> bytes:
    """Protected, and to be read by all."""
    sealed: bytes = encode(Cipher(EK, AK), AUTHENTICATED, CLIENT, 1, service.encode())
    assert SECRET in sealed or SECRET not in service.encode()
    return sealed


def masked(*services: Any) -> list[bytes]:
    masker = Masker()
    found = []
    for service in services:
        apdu = service if isinstance(service, bytes) else service.encode()
        found.append(masker.mask(apdu))
        assert len(found[-1]) == len(apdu)
    return found


@pytest.mark.parametrize(
    "services",
    [
        [SetRequestNormal(0xC1, PASSWORD, Data.octets(SECRET))],
        [SetRequestNormal(0xC1, PASSWORD, Data.visible_string(SECRET.decode()))],
        [SetRequestNormal(0xC1, PASSWORD, Data.utf8_string(SECRET.decode()))],
        [SetRequestNormal(0xC1, PASSWORD, Data.octets(SECRET), Selection(1, Data.null()))],
        [SetRequestList(0xC1, [(HARMLESS, None), (PASSWORD, None)], [Data.unsigned(5), Data.octets(SECRET)])],
        [
            SetRequestFirstBlock(0xC1, PASSWORD, Block(False, 1, b"\x09\x18" + SECRET)),
            SetRequestBlock(0xC1, Block(True, 2, SECRET)),
        ],
        [
            SetRequestListFirstBlock(0xC1, [(PASSWORD, None)], Block(False, 1, b"\x01\x09\x18" + SECRET)),
            SetRequestBlock(0xC1, Block(True, 2, SECRET)),
        ],
        [ActionRequestNormal(0xC1, CHANGE, Data.octets(SECRET))],
        [ActionRequestNormal(0xC1, TRANSFER, KEYS)],
        [ActionRequestList(0xC1, [TRANSFER], [KEYS])],
        [
            ActionRequestFirstBlock(0xC1, TRANSFER, Block(False, 1, SECRET)),
            ActionRequestBlock(0xC1, Block(True, 2, SECRET)),
        ],
        [GetRequestNormal(0xC1, PASSWORD), GetResponseNormal(0xC1, Data.octets(SECRET))],
        [
            GetRequestList(0xC1, [(PASSWORD, None), (HARMLESS, None)]),
            GetResponseList(0xC1, [Data.octets(SECRET), DataAccessResult.READ_WRITE_DENIED]),
        ],
        [
            GetRequestNormal(0xC1, PASSWORD),
            GetResponseBlock(0xC1, False, 1, b"\x00\x09\x0c" + SECRET[:5]),
            GetRequestNext(0xC1, 1),
            GetResponseBlock(0xC1, True, 2, SECRET[5:]),
        ],
        [Aarq(application_context=1, user_information=INITIATE, mechanism=1, authentication=SECRET)],
        [Aarq(application_context=1, user_information=INITIATE, authentication=SECRET)],
        [Aarq(application_context=1, user_information=WITH_KEY.encode())],
        [
            AccessRequest(
                5,
                [AccessSpecification(AccessKind.SET, PASSWORD), AccessSpecification(AccessKind.GET, HARMLESS)],
                [Data.octets(SECRET), Data.null()],
            )
        ],
        [
            AccessRequest(5, [AccessSpecification(AccessKind.GET, PASSWORD)], [Data.null()]),
            AccessResponse(5, [Data.octets(SECRET)], [AccessItemResult(AccessKind.GET, DataAccessResult.SUCCESS)], b""),
        ],
        [authenticated(SetRequestNormal(0xC1, PASSWORD, Data.octets(SECRET)))],  # not encrypted: in the clear
        [authenticated(ActionRequestNormal(0xC1, TRANSFER, KEYS), encode_ded)],
        [
            encode_general(
                0xDB, Cipher(EK, AK), AUTHENTICATED, CLIENT, 1, ActionRequestNormal(0xC1, TRANSFER, KEYS).encode()
            )
        ],
        [
            authenticated(GetRequestNormal(0xC1, PASSWORD)),
            authenticated(GetResponseNormal(0xC1, Data.octets(SECRET))),
        ],
        general_blocks(authenticated(SetRequestNormal(0xC1, PASSWORD, Data.octets(SECRET)))),
        [Aarq(application_context=3, user_information=authenticated(WITH_KEY))],
        [Rlrq(0, authenticated(WITH_KEY))],
        [Rlrq(0, WITH_KEY.encode())],
        [b"\xd9" + bytes(5) + SECRET],  # not to be read
        [b"\xd6" + bytes(5) + SECRET],  # what nobody knows
        [b"\xe0\x80\x00\x01\x00\x00\x0c" + SECRET],  # a block of something that is not known
        general_blocks(SetRequestNormal(0xC1, PASSWORD, Data.octets(SECRET)).encode()),
        general_blocks(ActionRequestNormal(0xC1, TRANSFER, KEYS).encode()),
        general_blocks(SetRequestList(0xC1, [(PASSWORD, None)], [Data.octets(SECRET)]).encode()),
        [
            *general_blocks(GetRequestNormal(0xC1, PASSWORD).encode()),
            *general_blocks(GetResponseNormal(0xC1, Data.octets(SECRET)).encode()),
        ],
        [
            *general_blocks(GetRequestList(0xC1, [(HARMLESS, None), (PASSWORD, None)]).encode()),
            GetResponseList(0xC1, [Data.octets(SECRET), Data.octets(SECRET)]),
        ],
        [b"\xc1\x01\xc1" + SECRET],  # not to be read
        [b"\x60\x0c" + SECRET],
    ],
    ids=lambda services: type(services[-1]).__name__,
)
def test_no_secret_is_left(services: list[Any]) -> None:
    for apdu in masked(*services):
        for at in range(len(SECRET) - 3):
            assert SECRET[at : at + 4] not in apdu


def test_what_is_left_is_readable() -> None:
    (apdu,) = masked(SetRequestNormal(0xC1, PASSWORD, Data.octets(SECRET)))
    assert describe(apdu).name == "set-request"
    (apdu,) = masked(ActionRequestNormal(0xC1, TRANSFER, KEYS))
    assert describe(apdu).name == "action-request"


@pytest.mark.parametrize(
    "service",
    [
        SetRequestNormal(0xC1, HARMLESS, Data.octets(SECRET)),
        GetResponseNormal(0xC1, Data.octets(SECRET)),
        ActionRequestNormal(0xC1, CosemMethod(70, LogicalName.parse("0.0.96.3.10.255"), 1), Data.integer(0)),
        Aarq(application_context=1, user_information=INITIATE, mechanism=5, authentication=SECRET),
        encode_glo(Cipher(EK, AK), BOTH, CLIENT, 1, b"\xc1" + SECRET),
        seal(bytes.fromhex("c401c10103"), 9),
        authenticated(SetRequestNormal(0xC1, HARMLESS, Data.octets(SECRET))),
        Aarq(application_context=3, user_information=encode_glo(Cipher(EK, AK), BOTH, CLIENT, 1, WITH_KEY.encode())),
    ],
    ids=lambda service: type(service).__name__,
)
def test_what_is_no_secret_stays(service: Any) -> None:
    apdu = service if isinstance(service, bytes) else service.encode()
    assert masked(apdu) == [apdu]


def test_an_aarq_with_its_password_struck_out_is_an_aarq() -> None:
    (apdu,) = masked(Aarq(application_context=1, user_information=INITIATE, mechanism=1, authentication=SECRET))
    assert "password: 12 octets" in "\n".join(describe(apdu).lines())


def test_general_blocks_without_a_secret_stay() -> None:
    for service in (
        SetRequestNormal(0xC1, HARMLESS, Data.octets(SECRET)),
        GetRequestNormal(0xC1, HARMLESS),
        GetResponseNormal(0xC1, Data.octets(SECRET)),
        Sealed(encode_glo(Cipher(EK, AK), BOTH, CLIENT, 1, b"\xc1" + SECRET)),
        Sealed(encode_general(0xDB, Cipher(EK, AK), BOTH, CLIENT, 1, b"\xc1" + SECRET)),
    ):
        blocks = general_blocks(service.encode())
        assert masked(*blocks) == blocks


def test_a_secret_is_awaited_until_its_answer_is_whole() -> None:
    masker = Masker()
    masker.mask(GetRequestNormal(0xC1, PASSWORD).encode())
    assert masker.awaits_secret
    masker.mask(GetResponseBlock(0xC1, False, 1, SECRET).encode())
    assert masker.awaits_secret
    masker.mask(GetResponseBlock(0xC1, True, 2, SECRET).encode())
    assert not masker.awaits_secret


def test_any_octets_keep_their_length() -> None:
    for seed in range(3000):
        chance = random.Random(seed)
        tag = chance.choice([0x60, 0xC0, 0xC1, 0xC3, 0xC4, 0xD9, 0xE0, chance.randrange(256)])
        apdu = bytes([tag]) + chance.randbytes(chance.randrange(40))
        assert len(Masker().mask(apdu)) == len(apdu)
