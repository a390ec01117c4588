"""What octets are thrown at: every parser that is found, and what reads octets in a state of its own.

Each has the exceptions that its documentation names; anything else that it raises is a finding.
"""

import io
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from tests.dlms import test_dlms_rubbish as associations
from tests.dlms.meter import AK, CTOS, EK, SERVER, plain_client
from tests.dlms.test_general_ciphering import BOOK, SIGNER, V_PRIVATE
from tests.dlms.test_hls_signatures import pem_of
from tests.fuzz.found import data_parsers, octet_parsers
from tests.fuzz.octets import APDUS, FRAMES
from tests.simulator import test_association_security as security
from tests.simulator.harness import Bench, associated, spec_of
from tests.simulator.raw_client import AARQ_NONE

from metercast.capture.dialogue import describe_frames
from metercast.capture.files import CaptureError
from metercast.capture.reading import CaptureReader
from metercast.commands.date_text import parse_date_time
from metercast.commands.meter.typed_data import from_json, to_json
from metercast.commands.plain import plain
from metercast.devicelists.gurux import gurux_rows
from metercast.devicelists.gxf import gxf_request_rows
from metercast.devicelists.joining import Additions
from metercast.devicelists.tables import csv_table_rows
from metercast.dlms.access_transfer import AccessAction, AccessGet, AccessSet
from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.block_exchange import BlockExchange
from metercast.dlms.ciphering import GLO_TAGS, Cipher, decode_ded, decode_glo, encode_glo
from metercast.dlms.conformance import CLIENT_DEFAULT, Conformance
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, decode_whole, encode_data
from metercast.dlms.deciphering import Keys
from metercast.dlms.describe import describe
from metercast.dlms.elliptic import PrivateKey, PublicKey
from metercast.dlms.errors import DecodeError, DlmsError, EncodeError, RemoteProtocolError
from metercast.dlms.general_ciphering import AgreedKey, decode_general_ciphering
from metercast.dlms.general_protection import GENERAL_GLO, decode_general, encode_general
from metercast.dlms.general_signing import decode_general_signing
from metercast.dlms.hdlc import HdlcAddress, HdlcReader
from metercast.dlms.hdlc_link import HdlcLink
from metercast.dlms.hdlc_parameters import HdlcParameters
from metercast.dlms.hls import verify
from metercast.dlms.key_agreement import agreed_key, verify_ephemeral
from metercast.dlms.key_wrap import unwrap_key
from metercast.dlms.link import WrapperLink
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.wrapper import WrapperReader
from metercast.domain.problem import Problem
from metercast.engine.decoding import decode_any
from metercast.engine.import_formats import csv_rows, ndjson_rows
from metercast.profiles.errors import ProfileError
from metercast.profiles.files import read_file
from metercast.simulator.framing import HdlcFraming

Errors = tuple[type[Exception], ...]


class Target(NamedTuple):
    """`run` takes one case: some messages, one after the other. `errors` are what it may raise."""

    name: str
    run: Callable[[list[bytes]], Any]
    errors: Errors
    seeds: list[bytes]


def targets() -> list[Target]:
    return [*_parsers(), *_of_data(), *_with_keys(), *_associations(), *_lines(), *_files()]


def _first(function: Callable[[bytes], Any]) -> Callable[[list[bytes]], Any]:
    return lambda messages: function(messages[0])


def _parsers() -> Iterable[Target]:
    for name, function in octet_parsers():
        yield Target(name, _first(function), (RemoteProtocolError,), APDUS + FRAMES)


def _of_data() -> Iterable[Target]:
    """What commands do with an answer, behind the errors that commands.steps.decoded turns into words."""
    for name, function in data_parsers():

        def run(octets: bytes, function: Callable[[Any], Any] = function) -> None:
            function(decode_whole(octets))

        yield Target(name, _first(run), (DlmsError, ValueError, OverflowError), DATA)
    yield Target("data, there and back", _first(_there_and_back), (DecodeError,), DATA)
    yield Target("typed JSON", _first(_typed), (Problem,), TYPED)


DATA = [apdu[13:] for apdu in APDUS if apdu[:1] == b"\xc1"] + [apdu for apdu in APDUS if apdu[0] in (1, 2, 0x13)]
TYPED = [
    b'{"tag":"structure","value":[{"tag":"long64","value":-5},{"tag":"octet-string","value":"00ff"}]}',
    b'{"tag":"compact-array","type":{"tag":"long"},"value":[{"tag":"long","value":1}]}',
    b'{"tag":"bit-string","value":"0101"}',
    b'{"tag":"float64","value":"1.5"}',
]


def _there_and_back(octets: bytes) -> None:
    data = decode_whole(octets)
    plain(data)
    again = encode_data(data)
    assert encode_data(decode_whole(again)) == again
    shown = to_json(data)  # the unused bits behind a bit-string are all that it leaves out
    assert to_json(from_json(shown, "value")) == shown


def _typed(octets: bytes) -> None:
    try:
        raw = msgspec.json.decode(octets)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    encode_data(from_json(raw, "value"))


def _with_keys() -> Iterable[Target]:
    cipher, errors = Cipher(EK, AK), (RemoteProtocolError,)
    yield Target("glo", _first(lambda octets: decode_glo(cipher, SERVER, octets)), errors, APDUS)
    yield Target("ded", _first(lambda octets: decode_ded(cipher, SERVER, octets)), errors, APDUS)
    yield Target("general", _first(lambda octets: decode_general(cipher, SERVER, octets)), errors, APDUS)
    yield Target("general-ciphering", _first(_general_ciphering), errors, [BOOK, *APDUS])
    yield Target("general-signing", _first(lambda octets: decode_general_signing(octets).verify(SIGNER)), errors, APDUS)
    yield Target("ephemeral key", _first(lambda octets: verify_ephemeral(octets, SIGNER, 1)), errors, [bytes(128)])
    for kind in (PublicKey, PrivateKey):

        def parse(octets: bytes, kind: type[PublicKey | PrivateKey] = kind) -> None:
            kind.parse(octets.decode("latin-1"), 1)

        yield Target(f"{kind.__name__} from text", _first(parse), (EncodeError,), PEM)
    yield Target("wrapped key", _first(lambda octets: unwrap_key(EK, octets)), errors, [bytes(24), bytes(40)])
    for suite in (1, 2):
        other = PrivateKey.generate(suite).public

        def key(octets: bytes, suite: int = suite) -> None:
            PublicKey.from_octets(octets, suite)

        def signature(octets: bytes, other: PublicKey = other) -> None:
            other.verify(CTOS, octets)

        yield Target(f"public key, suite {suite}", _first(key), (EncodeError,), [other.octets])
        yield Target(f"signature, suite {suite}", _first(signature), errors, [bytes(64), bytes(96)])
    yield Target("proof", _first(lambda octets: verify(cipher, SERVER, CTOS, octets)), errors, [bytes(17), APDUS[-1]])
    keys = [Keys(EK, AK, None, SERVER)]
    yield Target("describe with keys", _first(lambda octets: list(describe(octets, keys).lines())), (DlmsError,), APDUS)


def _general_ciphering(octets: bytes) -> None:
    apdu = decode_general_ciphering(octets)
    if isinstance(apdu.key_info, AgreedKey):
        agreed_key(apdu.heading, apdu.key_info, 1, V_PRIVATE, SIGNER, SIGNER)
    apdu.unprotect(EK, AK, 1)


PEM = [each.encode() for each in pem_of(derive_private_key(5, SECP256R1())).values()]


def _associations() -> Iterable[Target]:
    for make in (
        *(associations.associating, associations.authenticating, associations.reading, associations.writing),
        *(associations.reading_ciphered, associations.releasing),
        *(reading_list, writing_list, acting, acting_list, accessing, in_general_blocks),
        *(associations.reading_under_a_dedicated_key, associations.proving_with_signatures),
    ):

        def client(messages: list[bytes], make: Callable[[], ClientAssociation] = make) -> None:
            association = make()
            for message in messages:
                if association.state in (State.CLOSED, State.BROKEN):
                    return
                association.receive(message)

        yield Target(f"client, {make.__name__}", client, (RemoteProtocolError,), APDUS)
    yield Target("client, sealed answers", _sealed_answers, (RemoteProtocolError,), APDUS)
    yield Target("simulated meter, sealed requests", _sealed_requests, (), APDUS)
    yield Target("general blocks", _blocks, (RemoteProtocolError,), APDUS)
    benches: dict[str, Callable[[], Bench]] = {
        "plain": associated,
        "hls-gmac": lambda: Bench(spec_of("hls-gmac")),
        "hls-sha256": lambda: Bench(spec_of("hls-sha256")),
        "hls-ecdsa": lambda: Bench(spec_of("hls-ecdsa")),
    }
    for name, make_bench in benches.items():

        def meter(messages: list[bytes], make: Callable[[], Bench] = make_bench) -> None:
            bench = make()
            for message in messages:
                bench.ask(message)

        yield Target(f"simulated meter, {name}", meter, (), [*APDUS, AARQ_NONE])


def _sealed_answers(messages: list[bytes]) -> None:
    """What a holder of the keys may say."""
    client = associations.reading_ciphered()
    for counter, message in enumerate(messages, 4):
        if client.state in (State.CLOSED, State.BROKEN):
            return
        client.receive(_sealed(Cipher(EK, AK), SERVER, counter, message))


def _sealed_requests(messages: list[bytes]) -> None:
    bench = security.opened("both")
    for counter, message in enumerate(messages, 2):
        bench.ask(_sealed(security.CIPHER, security.CLIENT, counter, message))


def _sealed(cipher: Cipher, title: bytes, counter: int, apdu: bytes) -> bytes:
    if apdu[:1] and apdu[0] in GLO_TAGS:
        return encode_glo(cipher, 0x30, title, counter, apdu)
    return encode_general(GENERAL_GLO, cipher, 0x30, title, counter, apdu)


CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
RESET = CosemMethod(9, LogicalName.parse("0.0.10.0.1.255"), 1)


def _client(size: int = 0) -> ClientAssociation:
    return plain_client(size=size, conformance=int(CLIENT_DEFAULT))


def reading_list() -> ClientAssociation:
    client = _client()
    client.get_list([(CLOCK, None), (CLOCK, None)])
    return client


def writing_list() -> ClientAssociation:
    client = _client(64)
    client.set_list([(CLOCK, Data.octets(bytes(40))), (CLOCK, Data.octets(bytes(40)))])
    return client


def acting() -> ClientAssociation:
    client = _client(64)
    client.action(RESET, Data.octets(bytes(100)))
    return client


def acting_list() -> ClientAssociation:
    client = _client()
    client.action_list([(RESET, Data.long_unsigned(1)), (RESET, None)])
    return client


def accessing() -> ClientAssociation:
    client = _client()
    client.access([AccessGet(CLOCK), AccessSet(CLOCK, Data.null()), AccessAction(RESET, Data.long_unsigned(1))])
    return client


def in_general_blocks() -> ClientAssociation:
    client = plain_client(size=64, conformance=int(CLIENT_DEFAULT & ~Conformance.BLOCK_TRANSFER_SET))
    client.set(CLOCK, Data.octets(bytes(200)))
    return client


def _blocks(messages: list[bytes]) -> None:
    exchange = BlockExchange(3, 1 << 16)
    exchange.send(bytes(500), 100)
    for message in messages:
        exchange.receive(message)


def _lines() -> Iterable[Target]:
    yield Target("wrapper", _fed(lambda: WrapperReader().feed), (RemoteProtocolError,), FRAMES)
    yield Target("wrapper link", _fed(lambda: WrapperLink(1, 1).receive), (RemoteProtocolError,), FRAMES)
    yield Target("hdlc", _fed(lambda: HdlcReader().feed), (), FRAMES)
    yield Target("hdlc link", _link, (RemoteProtocolError,), FRAMES)
    yield Target("simulated hdlc", _fed(_station), (), FRAMES)
    yield Target("frames of a capture", _first(describe_frames), (DecodeError,), FRAMES)


def _fed(make: Callable[[], Callable[[bytes], Any]]) -> Callable[[list[bytes]], None]:
    def run(messages: list[bytes]) -> None:
        feed = make()
        for message in messages:
            feed(message)

    return run


def _link(messages: list[bytes]) -> None:
    link = HdlcLink(1, HdlcAddress(1, 17, 2), HdlcParameters(64, 64, 3, 3), 1 << 16)
    link.open()
    for message in messages:
        link.receive(message)
        if link.is_open:
            link.send(CTOS)
        link.take_outgoing()
        link.unblock()
        link.poll()
    link.close()


def _station() -> Callable[[bytes], Any]:
    framing = HdlcFraming(HdlcAddress(1, 17, 2), HdlcParameters(64, 64, 3, 3), lambda: None)

    def feed(message: bytes) -> None:
        for request in framing.feed(message):
            framing.answer(request, bytes(300))
        framing.outgoing()

    return feed


def _files() -> Iterable[Target]:
    yield Target("pcap", _first(_capture), (CaptureError,), CAPTURES)
    yield Target("profile", _first(_profile), (ProfileError,), PROFILES)
    yield Target("date and time", _first(_date_time), (EncodeError,), [b"*-*-last 02:00:00", b"2026-12-25 *:05:00"])
    yield Target("gxc", _first(lambda octets: list(gurux_rows(io.BytesIO(octets)))), (Problem,), XML)
    yield Target("gxf", _first(lambda octets: list(gxf_request_rows(io.BytesIO(octets)))), (Problem,), XML)
    yield Target("table of meters", _first(lambda octets: list(csv_table_rows(_text(octets)))), (Problem,), TABLES)
    yield Target("key file", _first(lambda octets: Additions(_text(octets))), (Problem,), TABLES)
    yield Target("JSON", _first(decode_any), (Problem,), TYPED)
    yield Target("import, CSV", lambda messages: _drained(csv_rows(_chunks(messages))), (Problem,), TABLES)
    yield Target("import, NDJSON", lambda messages: _drained(ndjson_rows(_chunks(messages))), (Problem,), TYPED)


class _Memory(io.BytesIO):
    """A file as importlib has them, in memory."""

    name = "fuzz.toml"

    def open(self, mode: str = "r") -> "_Memory":
        return self


def _profile(octets: bytes) -> None:
    read_file(cast("Path", _Memory(octets)), "fuzz.toml")


def _date_time(octets: bytes) -> None:
    parse_date_time(octets.decode("latin-1"))


def _capture(octets: bytes) -> None:
    for said in CaptureReader().read(io.BytesIO(octets)):
        said.as_dict()


def _text(octets: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(octets), "utf-8-sig", newline="")


async def _chunks(messages: list[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


def _drained(rows: AsyncIterator[Any]) -> None:
    """To the end, without an event loop: nothing in it waits."""
    while True:
        try:
            rows.__anext__().__await__().send(None)
        except StopIteration:
            continue
        except StopAsyncIteration:
            return


def _packet(payload: bytes) -> bytes:
    tcp = b"\x0f\xdb\x10\x00" + bytes(8) + b"\x50\x18" + bytes(6) + payload
    ip = b"\x45\x00" + (20 + len(tcp)).to_bytes(2, "big") + bytes(4) + b"\x40\x06" + bytes(2) + bytes(range(8)) + tcp
    frame = bytes(12) + b"\x08\x00" + ip
    return bytes(8) + 2 * len(frame).to_bytes(4, "little") + frame


CAPTURES = [
    b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00"
    + bytes(8)
    + b"\xff\xff\x00\x00\x01\x00\x00\x00"
    + b"".join(map(_packet, FRAMES)),
    b"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a\x01\x00\x00\x00" + b"\xff" * 8 + b"\x1c\x00\x00\x00",
]
PROFILES = [b'extends = "generic"\ndescription = "x"\n[dates]\ndeviation_sign = "inverted"\n[delays]\nlooks = 5\n']
XML = [
    b'<ArrayOfGXDLMSDevice xmlns="Gurux1"><GXDLMSDevice><Name>m</Name><MediaType>Gurux.Net.GXNet</MediaType>'
    b"<MediaSettings>&lt;IP&gt;h&lt;/IP&gt;</MediaSettings><Authentication>HighGMAC</Authentication>"
    b"</GXDLMSDevice></ArrayOfGXDLMSDevice>",
    b'<?xml version="1.0" encoding="utf-8"?><a><AddDeviceRequest><Device><Device_Identification>m'
    b"</Device_Identification><HLS5_active>true</HLS5_active></Device></AddDeviceRequest></a>",
    b'<!DOCTYPE a [<!ENTITY b "c">]><GXDLMSDevice>&b;</GXDLMSDevice>',
]
TABLES = [
    b"deviceId,host,port,encryptionKey\nm1,h,4059,000102030405060708090A0B0C0D0E0F\nm2,h,,\n",
    b'Serial;GUEK;AK\n"m;1";"00 01 02";x\n',
    b"device_identification,hls5active,use_sn,network_address\nE1,t,f,10.0.0.1\n",
]
