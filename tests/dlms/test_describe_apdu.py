"""What a person with a trace in hand is told."""

import json

import pytest
from tests.dlms.meter import AK, CLIENT, EK, SERVER, seal

from metercast.dlms.ciphering import AUTHENTICATED, BOTH, KEY_SIZES, Cipher, encode_ded, encode_glo
from metercast.dlms.deciphering import Keys
from metercast.dlms.describe import ApduReader, describe
from metercast.dlms.elliptic import PrivateKey
from metercast.dlms.errors import DecodeError, SecurityError
from metercast.dlms.general_block import GeneralBlock
from metercast.dlms.general_ciphering import (
    AgreedKey,
    GeneralCiphering,
    Heading,
    IdentifiedKey,
    WrappedKey,
    protect_general,
)
from metercast.dlms.general_protection import encode_general
from metercast.dlms.general_signing import sign_general

GET = bytes.fromhex("c001c100080000010000ff0200")
VECTOR_2 = bytes.fromhex(
    "6066A109060760857405080103A60A04084D4D4D0000BC614E8A0207808B0760857405080201AC0A80083132333435363738"
    "BE34043221303001234567801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855"
)


def text(octets: bytes, *keys: Keys) -> str:
    return "\n".join(describe(octets, keys).lines())


def test_an_action() -> None:
    assert text(bytes.fromhex("c301c10046000060030aff01010f00")) == (
        "action-request: ActionRequestNormal\n"
        "  invoke-id and priority: c1\n"
        "  method: class 70 0.0.96.3.10.255 method 1\n"
        "  parameter integer: 0"
    )


def test_without_keys_ciphered_apdus_stay_ciphered() -> None:
    shown = text(VECTOR_2)
    assert "system title: 4d4d4d0000bc614e" in shown
    assert "invocation counter: 19088743" in shown
    assert "ciphered: 801302ff" in shown
    assert "31323334" not in shown
    assert "password: 8 octets" in shown


def test_with_keys_they_are_read_under_the_title_in_the_aarq() -> None:
    shown = text(VECTOR_2, Keys(EK, AK))
    assert "client max receive pdu size: 1200" in shown
    assert "dedicated key: 16 octets" in shown
    assert "00112233" not in shown
    assert "block-transfer-set" in shown


def test_answers_need_the_servers_title() -> None:
    sealed = seal(bytes.fromhex("c401c10103"), 9)
    assert "read-write-denied (3)" in text(sealed, Keys(EK, AK, CLIENT, SERVER))
    assert "ciphered" in text(sealed, Keys(EK, AK, CLIENT))
    with pytest.raises(SecurityError):
        describe(sealed, [Keys(AK, EK, CLIENT, SERVER)])
    assert repr(Keys(EK, AK)) == "Keys()"


def test_of_several_keys_the_one_that_fits_is_found() -> None:
    sealed = seal(bytes.fromhex("c401c10103"), 9)
    wrong = [Keys(bytes([number]) * 16, AK, CLIENT, SERVER) for number in range(5)]
    assert "read-write-denied (3)" in text(sealed, *wrong, Keys(EK, AK, CLIENT, SERVER))
    with pytest.raises(SecurityError):
        describe(sealed, wrong)


def test_what_comes_in_blocks_is_joined() -> None:
    reader = ApduReader()
    first = "\n".join(reader.apdu(bytes.fromhex("c402c1000000000100040904aabb")).lines())
    last = "\n".join(reader.apdu(bytes.fromhex("c402c101000000020002ccdd")).lines())
    assert "in 2 blocks" not in first
    assert "in 2 blocks octet-string: aabbccdd" in last


@pytest.mark.parametrize(
    ("apdu", "secret"),
    [
        ("c101c1000f0000280000ff070009085345435245543131", "5345435245543131"),  # SET of the LLS secret
        ("c301c1000f0000280000ff020109085345435245543131", "5345435245543131"),  # change_HLS_secret
        ("c301c1004000002b0000ff02010101020216020904aabbccdd", "aabbccdd"),  # key_transfer
        ("c102c1000f0000280000ff07000100000001040902aabb", "aabb"),
        ("c104c10200010000600100ff0200000f0000280000ff070002060000000109 02aabb".replace(" ", ""), "aabb"),
        ("c304c1004000002b0000ff0201000000010401010202", "01010202"),
    ],
)
def test_secrets_are_not_shown(apdu: str, secret: str) -> None:
    shown = text(bytes.fromhex(apdu))
    assert secret not in shown
    assert "a secret, not shown" in shown
    assert "(0.0.40.0.0.255" not in shown


def test_secrets_in_further_blocks_and_answers_are_not_shown() -> None:
    reader = ApduReader()
    for apdu, shown in (
        ("c102c1000f0000280000ff07000000000001020908", False),
        ("c103c1010000000208aabbccddeeff0102", False),
        ("c102c200010000600100ff02000000000001030903aa", True),
        ("c103c2010000000203bbaabb", True),
        ("c001c3000f0000280000ff0700", False),
        ("c401c3000902aabb", False),
        ("c001c300010000600100ff0200", False),
        ("c401c3000902aabb", True),
    ):
        assert ("aabb" in "\n".join(reader.apdu(bytes.fromhex(apdu)).lines())) is (shown and "aabb" in apdu)


@pytest.mark.parametrize(
    ("octets", "part"),
    [
        ("6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F040000501F01F40007", "accepted (0)"),
        ("611FA109060760857405080101A203020101A305A103020101BE0604040E010601", "dlms-version-too-low"),
        ("6303800100", "reason: 0"),
        ("d8010600000123", "invocation-counter-error (291)"),
        ("c101c1001400000d0000ff0a00090c07ea0c1fff160000008000ff", "2026-12-31 22:00:00"),
        ("c003c10200030100010800ff020000030100020800ff0200", "class 3 1.0.2.8.0.255 attribute 2"),
        ("c402c1000000000100020102", "result: 0102"),
        ("0203090402000000090600000a0064ff120002", "0.0.10.0.100.255"),
        ("13120400010002", "compact-array: 2 elements"),
        ("0404a0", "bit-string: 1010"),
        ("0f00000001001107", "value unsigned: 7"),
        ("e0810001000006c401c1001107", "unsigned: 7"),
        ("c20000010000600b00ff02113e", "class 1 0.0.96.11.0.255 attribute 2"),
    ],
)
def test_parts(octets: str, part: str) -> None:
    assert part in text(bytes.fromhex(octets))


def test_the_tree_as_json() -> None:
    tree = describe(bytes.fromhex("c401c1000202110109026162")).as_dict()
    assert json.loads(json.dumps(tree)) == {
        "name": "get-response",
        "value": "GetResponseNormal",
        "children": [
            {"name": "invoke-id and priority", "value": "c1"},
            {
                "name": "result structure",
                "value": "2 elements",
                "children": [
                    {"name": "unsigned", "value": "1"},
                    {"name": "octet-string", "value": "6162 ('ab')"},
                ],
            },
        ],
    }


@pytest.mark.parametrize("octets", ["", "7ea0", "aa", "c401c1", "0001001000010005c401", "cc05"])
def test_what_is_nothing(octets: str) -> None:
    with pytest.raises(DecodeError):
        describe(bytes.fromhex(octets))


def test_a_dedicated_key_is_learnt_from_the_initiate_request_that_brings_it() -> None:
    dedicated = bytes.fromhex("00112233445566778899aabbccddeeff")
    reader = ApduReader([Keys(EK, AK)])
    list(reader.apdu(VECTOR_2).lines())
    request = encode_ded(Cipher(dedicated, AK), BOTH, bytes.fromhex("4d4d4d0000bc614e"), 7, GET)
    shown = "\n".join(reader.apdu(request).lines())
    assert shown.startswith("ded-get-request")
    assert "class 8 0.0.1.0.0.255 attribute 2" in shown
    assert "ciphered" in "\n".join(ApduReader([Keys(EK, AK, CLIENT)]).apdu(request).lines())


@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("named", [True, False])
def test_general_ciphering_of_every_suite(suite: int, named: bool) -> None:
    keys = Keys(bytes(range(KEY_SIZES[suite])), bytes(range(16, 16 + KEY_SIZES[suite])), CLIENT, SERVER)
    cipher = Cipher(keys.encryption_key, keys.authentication_key, suite)
    sealed = encode_general(0xDB, cipher, BOTH, SERVER, 7, bytes.fromhex("c401c10103"))
    if not named:
        sealed = b"\xdb\x00" + sealed[10:]
    assert "read-write-denied" in text(sealed, Keys(EK, AK, CLIENT, SERVER), keys)
    assert "system title: " + SERVER.hex() in text(sealed, keys) or not named
    with pytest.raises(SecurityError):
        describe(sealed, [Keys(keys.encryption_key, keys.encryption_key, CLIENT, SERVER)])


def test_what_is_ciphered_twice_is_not_opened_without_end() -> None:
    inner = bytes.fromhex("c401c10103")
    for _ in range(3):
        inner = encode_general(0xDB, Cipher(EK, AK), BOTH, SERVER, 7, inner)
    with pytest.raises(DecodeError, match="inside"):
        describe(inner, [Keys(EK, AK, CLIENT, SERVER)])


def general_block(number: int, data: bytes, *, last: bool = False) -> bytes:
    return GeneralBlock(last=last, streaming=False, window=1, number=number, acknowledged=0, data=data).encode()


def test_general_blocks_are_joined_in_any_order_and_each_senders_apart() -> None:
    apdu = bytes.fromhex("c401c1000202110109026162")
    blocks = [general_block(1, apdu[:5]), general_block(3, apdu[9:], last=True), general_block(2, apdu[5:9])]
    reader = ApduReader()
    for block in blocks[:2]:
        assert "get-response" not in "\n".join(reader.apdu(block, "meter").lines())
    reader.apdu(general_block(2, b"something else"), "client")
    shown = "\n".join(reader.apdu(blocks[2], "meter").lines())
    assert "get-response" in shown
    assert "6162 ('ab')" in shown


def test_a_ciphered_apdu_in_general_blocks_and_a_secret_in_them() -> None:
    sealed = seal(bytes.fromhex("c401c10103"), 9)
    reader = ApduReader([Keys(EK, AK, CLIENT, SERVER)])
    reader.apdu(general_block(1, sealed[:7]))
    assert "read-write-denied" in "\n".join(reader.apdu(general_block(2, sealed[7:], last=True)).lines())
    secret = bytes.fromhex("c101c1000f0000280000ff070009085345435245543131")
    shown = [
        line
        for block in (general_block(1, secret[:18]), general_block(2, secret[18:], last=True))
        for line in reader.apdu(block).lines()
    ]
    assert "a secret, not shown" in "\n".join(shown)
    assert "5245543131" not in "\n".join(shown)


def test_general_blocks_in_general_blocks_end() -> None:
    inner = general_block(1, bytes.fromhex("c401c10103"), last=True)
    with pytest.raises(DecodeError, match="no APDU in general blocks"):
        describe(general_block(1, inner, last=True))
    reader = ApduReader()
    for number in range(1, 40_000):
        reader.apdu(general_block(number % 65_535, bytes(100)))


HEADING = Heading(b"\x01\x02", CLIENT, SERVER)


def test_general_ciphering_under_a_key_that_both_hold() -> None:
    octets = protect_general(HEADING, IdentifiedKey(0), (EK, AK), 1, BOTH, 5, GET).encode()
    assert text(octets, Keys(EK, AK)) == (
        "general-ciphering\n"
        "  transaction id: 0102\n"
        f"  originator: {CLIENT.hex()}\n"
        f"  recipient: {SERVER.hex()}\n"
        "  date time: \n"
        "  other information: \n"
        "  key info: one that both hold\n"
        "    key id: 0\n"
        "  security control: 31\n"
        "  invocation counter: 5\n"
        "  get-request: GetRequestNormal\n"
        "    invoke-id and priority: c1\n"
        "    attribute: class 8 0.0.1.0.0.255 attribute 2"
    )
    assert "ciphered:" in text(octets)
    with pytest.raises(SecurityError):
        describe(octets, [Keys(EK, EK)])


@pytest.mark.parametrize("info", [WrappedKey(0, bytes(24)), AgreedKey(b"\x02", b"")], ids=["wrapped", "agreed"])
def test_general_ciphering_under_a_key_that_is_not_in_the_file(info: WrappedKey | AgreedKey) -> None:
    said = text(protect_general(HEADING, info, (EK, AK), 1, BOTH, 0, GET).encode(), Keys(EK, AK))
    assert "ciphered:" in said
    assert "get-request" not in said


def test_general_signing_with_what_is_ciphered_inside_and_outside() -> None:
    signed = sign_general(HEADING, GET, PrivateKey.generate(1))
    said = text(signed.encode())
    assert "general-signing" in said
    assert "get-request" in said
    assert signed.signature.hex() in said
    sealed = protect_general(HEADING, None, (EK, AK), 1, BOTH, 0, signed.encode()).encode()
    assert "get-request" in text(sealed, Keys(EK, AK))
    twice = sign_general(HEADING, sealed, PrivateKey.generate(1)).encode()
    with pytest.raises(DecodeError, match="layers"):
        describe(twice, [Keys(EK, AK)])


def test_a_wrapped_key_is_not_shown() -> None:
    wrapped = bytes.fromhex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5")
    heading = Heading(b"\x01", CLIENT, SERVER)
    shown = text(GeneralCiphering(heading, WrappedKey(2, wrapped), bytes.fromhex("3000000001aabbccdd")).encode())
    assert "wrapped: 24 octets" in shown
    assert wrapped.hex() not in shown


def test_what_is_only_authenticated_is_read_without_keys_and_its_secrets_are_not_shown() -> None:
    vector = "C81E1001234567C0010000080000010000FF020006725D910F9221D263877516"
    shown = text(bytes.fromhex(vector))
    assert "authentication tag: not checked" in shown
    assert "class 8 0.0.1.0.0.255 attribute 2" in shown
    title = bytes.fromhex("4d4d4d0000bc614e")
    assert "not checked" not in text(bytes.fromhex(vector), Keys(EK, AK, title))
    with pytest.raises(SecurityError):
        describe(bytes.fromhex(vector), [Keys(EK, EK, title)])
    secret = bytes.fromhex("c101c1000f0000280000ff070009085345435245543131")
    shown = text(encode_glo(Cipher(EK, AK), AUTHENTICATED, CLIENT, 7, secret))
    assert "a secret, not shown" in shown
    assert "5345435245543131" not in shown
