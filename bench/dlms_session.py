"""CPU of whole DLMS sessions with a recorded meter: ours, of the floor's, and of dlms-cosem's where it can do them.

Ours and the floor send the same octets, which is checked before anything is measured. dlms-cosem speaks
general-glo-ciphering where we speak the service-specific form, so the same answers are recorded once more for it.
"""

import logging
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from struct import Struct
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from dlms_cosem import cosem, enumerations
from dlms_cosem import state as dlms_state
from dlms_cosem.connection import DlmsConnection
from dlms_cosem.protocol import xdlms
from dlms_cosem.utils import parse_as_dlms_data

from bench.dlms_peer import AK, CLIENT, CTOS, EK, SERVER, Answers, FloorSession, recorded
from bench.figure import Figure
from metercast.commands.tariff.calendar import Calendar
from metercast.commands.tariff.calendar_codec import encode_calendar
from metercast.dlms.action import ActionResponseNormal, MethodResponse
from metercast.dlms.association import ClientAssociation
from metercast.dlms.ciphering import BOTH, Cipher, decode_glo, encode_glo
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data, encode_data
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.events import ActionResult, Associated, GetResult, Released, Send, SetResult
from metercast.dlms.get import GetResponseBlock, GetResponseNormal
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.set import SetResponseNormal
from metercast.dlms.settings import AssociationSettings, Authentication, Protection

SETTINGS = AssociationSettings(
    client_sap=1,
    authentication=Authentication.HLS_GMAC,
    protection=Protection.BOTH,
    client_system_title=CLIENT,
    encryption_key=EK,
    authentication_key=AK,
)
CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
NOW = bytes.fromhex("07EA0911040C0F0600FF8880")
CALENDAR_NAME = LogicalName.parse("0.0.13.0.0.255")
ACTIVATE = CosemMethod(20, CALENDAR_NAME, 1)
UNARMED = Data.octets(bytes.fromhex("FFFFFFFFFFFFFFFFFF8000FF"))
CALENDAR = encode_calendar(
    msgspec.convert(
        {
            "calendarName": "TOU26",
            "seasons": [
                {"name": "1", "start": {"month": 4, "day": 1, "time": "00:00:00"}, "week": "1"},
                {"name": "2", "start": {"month": 10, "day": 1, "time": "00:00:00"}, "week": "2"},
            ],
            "weeks": [{"name": "1", "days": [1, 1, 1, 1, 1, 2, 2]}, {"name": "2", "days": [1, 1, 1, 1, 1, 1, 2]}],
            "days": [
                {"id": 1, "schedule": [{"start": "07:00:00", "selector": 1}, {"start": "23:00:00", "selector": 2}]},
                {"id": 2, "schedule": [{"start": "00:00:00", "selector": 2}]},
            ],
        },
        Calendar,
    )
)
PROFILE = CosemAttribute(7, LogicalName.parse("1.0.99.1.0.255"), 2)
ENTRIES = Selection(
    2,
    Data.structure(
        [Data.double_long_unsigned(1), Data.double_long_unsigned(0), Data.long_unsigned(1), Data.long_unsigned(0)]
    ),
)
ROWS = 1000
BLOCK = 900
START = datetime(2026, 9, 1, tzinfo=timezone(timedelta(hours=2)))

ROUNDS = 21


class Exchange(Protocol):
    """What is done between association and release."""

    def ours(self, client: ClientAssociation, answers: Iterator[bytes]) -> list[bytes]:
        """The APDUs that were sent."""

    def floor(self, session: FloorSession) -> None: ...

    def answers(self) -> list[bytes]:
        """The meter's, plain."""


class GetClock:
    def answers(self) -> list[bytes]:
        return [GetResponseNormal(0xC2, Data.octets(NOW)).encode()]

    def ours(self, client: ClientAssociation, answers: Iterator[bytes]) -> list[bytes]:
        request = client.get(CLOCK)
        result = client.receive(next(answers))
        assert type(result) is GetResult
        assert result.data is not None
        assert CosemDateTime.decode(result.data.octet_string(12)).to_datetime().year == 2026
        return [request]

    def floor(self, session: FloorSession) -> None:
        year, month, day, hour, minute, second, deviation = _DATE_TIME.unpack(
            session.ask(bytes.fromhex("C001C200080000010000FF0200"))[-12:]
        )
        zone = timezone(timedelta(minutes=-deviation))
        assert datetime(year, month, day, hour, minute, second, tzinfo=zone).year == 2026


class SetTou:
    """Attribute 10 is read, 6 to 9 are written and read back, method 1, 2 to 5 are read."""

    def answers(self) -> list[bytes]:
        invokes = iter(0xC0 | number % 15 + 1 for number in count(1))
        read_back = [GetResponseNormal(next(invokes), UNARMED).encode()]
        written = [SetResponseNormal(next(invokes), DataAccessResult.SUCCESS).encode() for _ in CALENDAR]
        passive = [GetResponseNormal(next(invokes), value).encode() for value in CALENDAR]
        done = ActionResponseNormal(next(invokes), MethodResponse(ActionResultCode.SUCCESS)).encode()
        active = [GetResponseNormal(next(invokes), value).encode() for value in CALENDAR]
        return [*read_back, *written, *passive, done, *active]

    def ours(self, client: ClientAssociation, answers: Iterator[bytes]) -> list[bytes]:
        sent = []

        def read(index: int) -> Data:
            sent.append(client.get(CosemAttribute(20, CALENDAR_NAME, index)))
            result = client.receive(next(answers))
            assert type(result) is GetResult
            assert result.data is not None
            return result.data

        assert read(10) == UNARMED
        for index, value in enumerate(CALENDAR, 6):
            sent.append(client.set(CosemAttribute(20, CALENDAR_NAME, index), value))
            assert type(result := client.receive(next(answers))) is SetResult
            assert result.error is None
        for index, value in enumerate(CALENDAR, 6):
            assert read(index) == value
        sent.append(client.action(ACTIVATE, Data.integer(0)))
        assert type(done := client.receive(next(answers))) is ActionResult
        assert done.result is ActionResultCode.SUCCESS
        for index, value in enumerate(CALENDAR, 2):
            assert read(index) == value
        return sent

    def floor(self, session: FloorSession) -> None:
        """What is written was encoded before, and is compared as octets."""
        invoke = 1

        def head(service: int, index: int) -> bytes:
            nonlocal invoke
            invoke = invoke % 15 + 1
            return _HEAD.pack(service, 1, 0xC0 | invoke, 20, CALENDAR_NAME, index)

        assert session.ask(head(0xC0, 10) + b"\x00")[4:] == _UNARMED
        for index, value in enumerate(_CALENDAR, 6):
            assert session.ask(head(0xC1, index) + b"\x00" + value)[3] == 0
        for index, value in enumerate(_CALENDAR, 6):
            assert session.ask(head(0xC0, index) + b"\x00")[4:] == value
        assert session.ask(head(0xC3, 1) + b"\x01\x0f\x00")[3] == 0
        for index, value in enumerate(_CALENDAR, 2):
            assert session.ask(head(0xC0, index) + b"\x00")[4:] == value


class ReadProfile:
    """1,000 rows of clock, status and two registers, in blocks."""

    def answers(self) -> list[bytes]:
        rows = [
            Data.structure(
                [
                    Data.octets(CosemDateTime.from_datetime(START + timedelta(minutes=15 * number)).encode()),
                    Data.unsigned(8),
                    Data.double_long_unsigned(8213450 + 221 * number),
                    Data.double_long_unsigned(17 * number),
                ]
            )
            for number in range(ROWS)
        ]
        octets = encode_data(Data.array(rows))
        cut = [octets[at : at + BLOCK] for at in range(0, len(octets), BLOCK)]
        return [
            GetResponseBlock(0xC2, number == len(cut), number, block).encode() for number, block in enumerate(cut, 1)
        ]

    def ours(self, client: ClientAssociation, answers: Iterator[bytes]) -> list[bytes]:
        sent = [client.get(PROFILE, ENTRIES)]
        while type(event := client.receive(next(answers))) is Send:
            sent.append(event.apdu)
        assert type(event) is GetResult
        assert event.data is not None
        rows = event.data.elements(ROWS)
        assert rows[-1].elements(4)[2].number() == 8213450 + 221 * (ROWS - 1)
        return sent

    def floor(self, session: FloorSession) -> None:
        """Reads any row of numbers and octets by its tags, into plain values."""
        selection = bytes.fromhex("010202040600000001060000000012000112" + "0000")
        answer = session.ask(bytes.fromhex("C001C2000701006301 00FF02".replace(" ", "")) + selection)
        blocks = []
        while True:
            last, number = _BLOCK.unpack_from(answer, 3)
            at = 10 if answer[9] < 128 else answer[9] - 0x76
            blocks.append(answer[at:])
            assert number == len(blocks)
            if last:
                break
            answer = session.ask(b"\xc0\x02\xc2" + number.to_bytes(4, "big"))
        octets = b"".join(blocks)
        assert octets[:4] == b"\x01\x82\x03\xe8"
        rows: list[list[Any]] = []
        at = 4
        for _ in range(ROWS):
            assert octets[at] == 2
            columns = octets[at + 1]
            at += 2
            row: list[Any] = []
            for _ in range(columns):
                tag = octets[at]
                if tag == 9:
                    end = at + 2 + octets[at + 1]
                    row.append(octets[at + 2 : end])
                else:
                    number_of = _NUMBERS[tag]
                    end = at + 1 + number_of.size
                    row.append(number_of.unpack_from(octets, at + 1)[0])
                at = end
            rows.append(row)
        assert at == len(octets)
        assert rows[-1][2] == 8213450 + 221 * (ROWS - 1)


_DATE_TIME = Struct(">HBBxBBBxhx")
_HEAD = Struct(">BBBH6sB")
_BLOCK = Struct(">?I")
_NUMBERS = {5: Struct(">i"), 6: Struct(">I"), 15: Struct(">b"), 16: Struct(">h"), 17: Struct(">B"), 18: Struct(">H")}
_UNARMED = encode_data(UNARMED)
_CALENDAR = tuple(encode_data(value) for value in CALENDAR)


def ours(exchange: Exchange, answers: Answers) -> list[bytes]:
    """One whole session; what was sent."""
    coming = iter(answers)
    client = ClientAssociation(SETTINGS, count(1), CTOS)
    sent = [client.associate()]
    pass_3 = client.receive(next(coming))
    assert type(pass_3) is Send
    sent.append(pass_3.apdu)
    assert type(client.receive(next(coming))) is Associated
    sent += exchange.ours(client, coming)
    sent.append(client.release())
    assert type(client.receive(next(coming))) is Released
    return sent


def floor(exchange: Exchange, answers: Answers) -> list[bytes]:
    session = FloorSession(answers)
    session.associate()
    exchange.floor(session)
    session.release()
    return session.sent


def dlms_cosem_session(exchange: Exchange, answers: Answers) -> None:
    """dlms-cosem, with the services of the exchange."""
    client: Any = DlmsConnection(
        client_system_title=CLIENT,
        global_encryption_key=EK,
        global_authentication_key=AK,
        authentication_method=enumerations.AuthenticationMechanism.HLS_GMAC,
    )
    client.client_to_meter_challenge = CTOS
    coming = iter(answers)

    def ask(request: Any) -> Any:
        client.send(request)
        client.receive_data(next(coming))
        return client.next_event()

    ask(client.get_aarq())
    ask(
        xdlms.ActionRequestNormal(
            cosem_method=cosem.CosemMethod(enumerations.CosemInterface.ASSOCIATION_LN, cosem.Obis(0, 0, 40, 0, 0), 1),
            data=b"\x09\x11" + client.get_hls_reply(),
        )
    )
    _DLMS_COSEM[type(exchange)](ask)
    ask(client.get_rlrq())
    assert client.state.current_state == dlms_state.NO_ASSOCIATION


def _cosem_get_clock(ask: Callable[[Any], Any]) -> None:
    clock = cosem.CosemAttribute(enumerations.CosemInterface.CLOCK, cosem.Obis(0, 0, 1, 0, 0), 2)
    assert len(parse_as_dlms_data(ask(xdlms.GetRequestNormal(cosem_attribute=clock)).data)) == 12


def _cosem_profile(ask: Callable[[Any], Any]) -> None:
    profile = cosem.CosemAttribute(enumerations.CosemInterface.PROFILE_GENERIC, cosem.Obis(1, 0, 99, 1, 0), 2)
    answer = ask(xdlms.GetRequestNormal(cosem_attribute=profile))  # it can't ask for entries
    blocks = bytearray()
    while not isinstance(answer, xdlms.GetResponseLastBlock):
        blocks += answer.data
        answer = ask(xdlms.GetRequestNext(block_number=answer.block_number))
    blocks += answer.data
    assert len(parse_as_dlms_data(bytes(blocks))) == ROWS


_DLMS_COSEM: dict[type, Callable[[Callable[[Any], Any]], None]] = {
    GetClock: _cosem_get_clock,
    ReadProfile: _cosem_profile,
}
EXCHANGES: dict[str, Exchange] = {
    "HLS GET": GetClock(),
    "SET_TOU": SetTou(),
    "a profile of 1,000 rows": ReadProfile(),
}


def cpu_microseconds(session: Callable[[], Any], times: int) -> float:
    started = time.process_time_ns()
    for _ in range(times):
        session()
    return (time.process_time_ns() - started) / times / 1000


def medians(contenders: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """CPU of one run of each, in µs: medians of rounds in which all take part."""
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, session in contenders.items():
            measured[name].append(cpu_microseconds(session, times))
    return {name: statistics.median(values) for name, values in measured.items()}


def exchange_figures(name: str, exchange: Exchange) -> list[Figure]:
    plain = exchange.answers()
    answers = recorded(plain)
    assert ours(exchange, answers) == floor(exchange, answers), "the floor does another exchange"
    contenders: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours(exchange, answers),
        "floor": lambda: floor(exchange, answers),
    }
    if type(exchange) in _DLMS_COSEM:
        theirs = recorded([apdu[:2] + b"\xc1" + apdu[3:] for apdu in plain], general=True)
        contenders["dlms-cosem"] = lambda: dlms_cosem_session(exchange, theirs)
    took = medians(contenders, max(5, 400 // len(plain)))  # some hundredths of a second each
    detail = ", ".join(f"{each} {value:.0f} µs" for each, value in took.items())
    figures = [Figure(f"dlms: CPU of {name}, of the floor's", took["ours"] / took["floor"], bar=2.5, detail=detail)]
    if "dlms-cosem" in took:
        figures.append(
            Figure(f"dlms: CPU of {name}, of dlms-cosem's", took["ours"] / took["dlms-cosem"], bar=0.5, detail=detail)
        )
    return figures


def protection_figures() -> list[Figure]:
    """An APDU of 1,000 octets, protection both, beside the bare AES-GCM call; the bar is the larger of two."""
    apdu = b"\xc4\x01\xc1\x00\x09\x82\x03\xe0" + bytes(992)
    cipher, gcm = Cipher(EK, AK), AESGCM(EK)
    sealed = encode_glo(cipher, BOTH, SERVER, 7, apdu)
    nonce, additional = SERVER + bytes(4), b"\x30" + AK
    took = medians(
        {
            "encode": lambda: encode_glo(cipher, BOTH, SERVER, 7, apdu),
            "decode": lambda: decode_glo(cipher, SERVER, sealed),
            "AES-GCM": lambda: gcm.encrypt(nonce, apdu, additional),
        },
        500,
    )
    bar = max(15.0, 2.5 * took["AES-GCM"])
    detail = f"the bare call {took['AES-GCM']:.2f} µs"
    return [
        Figure(f"dlms: {each} a protected APDU of 1,000 octets", took[each], "µs", bar=bar, detail=detail)
        for each in ("encode", "decode")
    ]


def run() -> list[Figure]:
    logging.getLogger("dlms_cosem").setLevel(logging.ERROR)
    figures = [figure for name, exchange in EXCHANGES.items() for figure in exchange_figures(name, exchange)]
    return figures + protection_figures()
