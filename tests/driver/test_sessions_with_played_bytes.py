"""Sessions against given bytes: what goes out, and what each kind of answer comes to."""

import errno
import socket
from typing import Any

import pytest
from tests.driver.support import driver, execute
from tests.driver.transports import PLAIN_METER, Failing, Played, framed

from metercast.domain.outcome import How, OutcomeKind, Phase
from metercast.domain.words import ErrorWord
from metercast.driver.timeouts import Timeouts

AARE = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007"
AARE_WITH_ACTION = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501901f40007"
CLOCK = "c401c100090c07ea0911040c0f0600ff4c00"
RLRE = "6303800100"


async def test_the_bytes_of_a_session() -> None:
    connector = Played(framed(AARE, CLOCK, RLRE))
    outcome = await execute(PLAIN_METER, by=driver(connector))
    assert outcome.how is How.DONE
    assert outcome.result["time"] == "2026-09-17T12:15:06+03:00"
    (transport,) = connector.transports
    assert [data[8:].hex() for data in transport.written[1:]] == ["c001c100080000010000ff0200", "6203800100"]
    assert transport.written[1][:8].hex() == "000100100001000d"
    assert transport.written[0][8:9].hex() == "60"
    assert transport.closed


@pytest.mark.parametrize(
    ("answers", "word", "phase"),
    [
        ([], ErrorWord.CONNECTION_LOST, Phase.ASSOCIATING),
        ([AARE], ErrorWord.CONNECTION_LOST, Phase.READING),
        ([AARE, "c401c10103"], ErrorWord.READ_WRITE_DENIED, Phase.READING),
        ([AARE, "c401c101fa"], ErrorWord.OTHER_REASON, Phase.READING),
        ([AARE, "c401c10163"], ErrorWord.OTHER_REASON, Phase.READING),
        ([AARE, "c401c10110"], ErrorWord.TRANSFER_ABORTED, Phase.READING),
        ([AARE, "d80202"], ErrorWord.SERVICE_NOT_SUPPORTED, Phase.READING),
        ([AARE, "d80204"], ErrorWord.PDU_TOO_LONG, Phase.READING),
        ([AARE, "d80101"], ErrorWord.TEMPORARY_FAILURE, Phase.READING),
        ([AARE, "d80201"], ErrorWord.SERVICE_NOT_SUPPORTED, Phase.READING),
        ([AARE, "d80903"], ErrorWord.OTHER_REASON, Phase.READING),
        ([AARE, "0e050502"], ErrorWord.READ_WRITE_DENIED, Phase.READING),
        ([AARE, "0e050302"], ErrorWord.SERVICE_NOT_SUPPORTED, Phase.READING),
        ([AARE, "0e050903"], ErrorWord.OTHER_REASON, Phase.READING),
        ([AARE, "c501c100"], ErrorWord.INVALID_RESPONSE, Phase.READING),
        ([AARE, "c401c1000901"], ErrorWord.INVALID_RESPONSE, Phase.READING),
        ([AARE, ""], ErrorWord.INVALID_RESPONSE, Phase.READING),
        ([AARE, "cc1030012345670000"], ErrorWord.INVALID_RESPONSE, Phase.READING),
        (["d80103"], ErrorWord.TEMPORARY_FAILURE, Phase.ASSOCIATING),
        (["d80205"], ErrorWord.AUTHENTICATION_FAILED, Phase.ASSOCIATING),
        (["0e010601"], ErrorWord.ASSOCIATION_REJECTED, Phase.ASSOCIATING),
        (["0e010006"], ErrorWord.AUTHENTICATION_FAILED, Phase.ASSOCIATING),
        # vector 4: rejected, DLMS version too low
        (
            ["611fa109060760857405080101a203020101a305a103020101be0604040e010601"],
            ErrorWord.ASSOCIATION_REJECTED,
            Phase.ASSOCIATING,
        ),
        # acse-service-provider
        (
            ["6117a109060760857405080101a203020101a305a203020102"],
            ErrorWord.ASSOCIATION_REJECTED,
            Phase.ASSOCIATING,
        ),
        # accepted, and a challenge that nobody asked for: vector 5
        (
            [
                "6142a109060760857405080101a203020100a305a10302010e88020780890760857405080205aa0a8008503677524a323146"
                "be10040e0800065f1f040000501f01f40007"
            ],
            ErrorWord.INVALID_RESPONSE,
            Phase.ASSOCIATING,
        ),
        (["c401c10000"], ErrorWord.INVALID_RESPONSE, Phase.ASSOCIATING),
    ],
)
async def test_answers_and_their_words(answers: list[str], word: ErrorWord, phase: Phase) -> None:
    outcome = await execute(PLAIN_METER, by=driver(Played(framed(*answers))))
    assert (outcome.kind, outcome.error, outcome.phase) == (OutcomeKind.FAILED, word, phase), outcome.detail
    assert outcome.detail


async def test_a_service_that_was_not_negotiated() -> None:
    no_get = AARE.replace("00501f", "005019").replace("005019", "005008")
    outcome = await execute(PLAIN_METER, by=driver(Played(framed(no_get))))
    assert (outcome.error, outcome.phase) == (ErrorWord.SERVICE_NOT_SUPPORTED, Phase.READING)


@pytest.mark.parametrize("last", [[], ["ff"], ["d80101"], [AARE]])
async def test_the_release_never_changes_a_result(last: list[str]) -> None:
    outcome = await execute(PLAIN_METER, by=driver(Played(framed(AARE, CLOCK, *last))))
    assert outcome.how is How.DONE


async def test_a_meter_silent_at_release_costs_the_short_limit_only() -> None:
    timeouts = Timeouts(progress=3600, session=3600, release=0.05)
    connector = Played(framed(AARE, CLOCK), silent=True)
    outcome = await execute(PLAIN_METER, by=driver(connector, timeouts=timeouts))
    assert outcome.how is How.DONE
    assert connector.transports[0].closed


async def test_answers_to_nothing_are_passed_over_but_not_for_ever() -> None:
    stray = "c401c200090c07ea0911040c0f0600ff4c00"  # another invoke-id
    connector = Played([*framed(AARE), b"".join(framed(stray, stray, CLOCK)), *framed(RLRE)])
    assert (await execute(PLAIN_METER, by=driver(connector))).how is How.DONE
    outcome = await execute(PLAIN_METER, by=driver(Played([*framed(AARE), b"".join(framed(stray) * 200)])))
    assert outcome.error is ErrorWord.INVALID_RESPONSE
    assert outcome.detail is not None
    assert "101 answers to nothing" in outcome.detail


async def test_an_answer_in_endless_blocks_is_cut_off() -> None:
    def block(number: int) -> str:
        return f"c402c100{number:08x}0082fe00" + "09" * 0xFE00

    connector = Played(framed(AARE, *(block(number) for number in range(1, 60))))
    outcome = await execute(PLAIN_METER, by=driver(connector))
    assert (outcome.error, outcome.phase) == (ErrorWord.INVALID_RESPONSE, Phase.READING), outcome.detail
    assert len(connector.transports[0].written) < 25  # 1 MiB in blocks of 65 kB


@pytest.mark.parametrize(
    ("error", "word", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), ErrorWord.CONNECTION_REFUSED, "refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed"),
            ErrorWord.CONNECTION_REFUSED,
            "refused",
        ),
        (OSError(errno.EHOSTUNREACH, "No route to host"), ErrorWord.UNREACHABLE, "EHOSTUNREACH"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), ErrorWord.UNREACHABLE, "ENETUNREACH"),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), ErrorWord.UNREACHABLE, "no answer to connect"),
        (socket.gaierror(-2, "Name or service not known"), ErrorWord.UNREACHABLE, "no address"),
        (OSError(errno.EMFILE, "Too many open files"), ErrorWord.UNREACHABLE, "EMFILE"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ErrorWord.UNREACHABLE, "ECONNRESET"),
        (OSError(), ErrorWord.UNREACHABLE, "no connection"),
        (UnicodeError("label empty or too long"), ErrorWord.UNREACHABLE, "not a host name"),
    ],
)
async def test_what_keeps_a_connection_from_opening(error: Exception, word: ErrorWord, said: str) -> None:
    outcome = await execute(PLAIN_METER, by=driver(Failing(error)))
    assert (outcome.error, outcome.phase) == (word, Phase.BEFORE_ASSOCIATION)
    assert outcome.detail is not None
    assert said in outcome.detail
    assert outcome.detail.startswith("127.0.0.1:4059")


async def test_no_answer_to_connect() -> None:
    connector = Failing()
    outcome = await execute(PLAIN_METER, by=driver(connector, timeouts=Timeouts(connect=0.05)))
    assert (outcome.error, outcome.phase) == (ErrorWord.UNREACHABLE, Phase.BEFORE_ASSOCIATION)
    assert connector.cancelled == 1


@pytest.mark.parametrize(("answers", "phase"), [([], Phase.ASSOCIATING), ([AARE], Phase.READING)])
async def test_silence(answers: list[str], phase: Phase) -> None:
    connector = Played(framed(*answers), silent=True)
    outcome = await execute(PLAIN_METER, by=driver(connector, timeouts=Timeouts(progress=0.05)))
    assert (outcome.error, outcome.phase) == (ErrorWord.TIMEOUT, phase)
    assert outcome.detail is not None
    assert "no answer for 0.05 s" in outcome.detail
    assert connector.transports[0].closed


async def test_a_change_without_an_answer_is_a_timeout_while_changing() -> None:
    answers = framed(AARE_WITH_ACTION, "c401c1001601", "c401c2001604", "c401c3000301")
    connector = Played(answers, silent=True)
    by = driver(connector, timeouts=Timeouts(progress=0.05), require_identity=False)
    outcome = await execute(PLAIN_METER, "DISCONNECT", by=by)
    assert (outcome.error, outcome.phase) == (ErrorWord.TIMEOUT, Phase.CHANGING)
    assert connector.transports[0].written[-1][8:].hex() == "c301c40046000060030aff01010f00"


async def test_results_are_kept_out_of_trouble_details() -> None:
    connector = Played(framed(AARE, "c401c10104"))
    outcome = await execute(PLAIN_METER, by=driver(connector))
    assert outcome.detail == "GET class 8 0.0.1.0.0.255 attribute 2: object-undefined (4)"
    assert len(connector.transports) == 1


def test_timeouts_are_above_zero() -> None:
    values: Any
    for values in ({"connect": 0}, {"progress": -1.0}, {"session": 0.0}, {"release": float("nan")}):
        with pytest.raises(ValueError, match="must be above 0"):
            Timeouts(**values)
