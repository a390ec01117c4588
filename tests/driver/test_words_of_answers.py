"""Every code of the standard's lists has a word of the class that the catalogue gives it (2.8, 2.9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.dlms.events import Rejected
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.service_error import ConfirmedServiceError, ExceptionResponse
from metercast.domain.words import ErrorClass, ErrorWord
from metercast.driver.words import exception_word, rejection_text, rejection_word, result_word, service_error_word

PERMANENT, TRANSIENT = ErrorClass.PERMANENT, ErrorClass.TRANSIENT


@pytest.mark.parametrize(
    ("code", "word", "class_"),
    [
        (1, ErrorWord.HARDWARE_FAULT, PERMANENT),
        (2, ErrorWord.TEMPORARY_FAILURE, TRANSIENT),
        (3, ErrorWord.READ_WRITE_DENIED, PERMANENT),
        (4, ErrorWord.OBJECT_UNDEFINED, PERMANENT),
        (9, ErrorWord.OBJECT_UNDEFINED, PERMANENT),
        (11, ErrorWord.OBJECT_UNAVAILABLE, TRANSIENT),
        (12, ErrorWord.TYPE_UNMATCHED, PERMANENT),
        (13, ErrorWord.SCOPE_OF_ACCESS_VIOLATED, PERMANENT),
        (14, ErrorWord.TRANSFER_ABORTED, TRANSIENT),
        (15, ErrorWord.TRANSFER_ABORTED, TRANSIENT),
        (16, ErrorWord.TRANSFER_ABORTED, TRANSIENT),
        (17, ErrorWord.TRANSFER_ABORTED, TRANSIENT),
        (18, ErrorWord.TRANSFER_ABORTED, TRANSIENT),
        (19, ErrorWord.TRANSFER_ABORTED, TRANSIENT),
        (250, ErrorWord.OTHER_REASON, TRANSIENT),
        (99, ErrorWord.OTHER_REASON, TRANSIENT),
    ],
)
def test_results(code: int, word: ErrorWord, class_: ErrorClass) -> None:
    assert result_word(code) is word
    assert word.error_class is class_


def test_no_listed_result_is_left_to_the_rest() -> None:
    for code in (*DataAccessResult, *ActionResultCode):
        if code not in (0, 250):
            assert result_word(code) is not ErrorWord.OTHER_REASON


@pytest.mark.parametrize(
    ("result", "source", "diagnostic", "word"),
    [
        (1, 1, 1, ErrorWord.ASSOCIATION_REJECTED),
        (1, 1, 2, ErrorWord.ASSOCIATION_REJECTED),
        (1, 1, 13, ErrorWord.AUTHENTICATION_FAILED),
        (2, 1, 13, ErrorWord.AUTHENTICATION_FAILED),
        (1, 1, 14, ErrorWord.ASSOCIATION_REJECTED),
        (2, 1, 0, ErrorWord.METER_BUSY),
        (2, 1, 1, ErrorWord.METER_BUSY),
        (2, 1, 2, ErrorWord.ASSOCIATION_REJECTED),
        (2, 1, 11, ErrorWord.ASSOCIATION_REJECTED),
        (2, 1, 12, ErrorWord.ASSOCIATION_REJECTED),
        (2, 2, 2, ErrorWord.ASSOCIATION_REJECTED),
    ],
)
def test_rejections(result: int, source: int, diagnostic: int, word: ErrorWord) -> None:
    assert rejection_word(Rejected(result, source, diagnostic)) is word


def test_a_rejection_that_says_more() -> None:
    version_too_low = Rejected(1, 1, 1, ConfirmedServiceError(1, 6, 1))
    assert rejection_word(version_too_low) is ErrorWord.ASSOCIATION_REJECTED
    assert rejection_text(version_too_low) == (
        "rejected-permanent (1), no-reason-given (1), initiate: initiate, dlms-version-too-low"
    )
    assert rejection_text(Rejected(2, 2, 1)) == "rejected-transient (2), acse-service-provider 1"
    assert rejection_text(Rejected(7, 1, 99)) == "7, 99"


octet = st.integers(0, 255)


@given(octet, octet, octet)
def test_every_code_has_a_word(first: int, second: int, third: int) -> None:
    words = set(ErrorWord)
    assert result_word(first) in words
    assert exception_word(ExceptionResponse(first, second)) in words
    assert service_error_word(ConfirmedServiceError(first, second, third)) in words
    assert rejection_word(Rejected(first, second, third)) in words
    assert rejection_text(Rejected(first, second, third))
