"""The closed list of error words, and the page that documents it."""

import re
from pathlib import Path

import pytest

from metercast.domain.words import CORRECTABLE, ERROR_CLASSES, FOUND_BY_READING, ErrorClass, ErrorWord

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_every_word_has_a_class() -> None:
    assert set(ERROR_CLASSES) == set(ErrorWord)


def test_words_are_words() -> None:
    assert all(re.fullmatch("([A-Z][a-z]+)+", word.value) for word in ErrorWord)


def test_the_page_lists_every_word_once_with_its_class() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert [row[0] for row in rows] == list(dict.fromkeys(row[0] for row in rows))
    assert {name: error_class for name, error_class, _, _ in rows} == {
        word.value: word.error_class.value for word in ErrorWord
    }


@pytest.mark.parametrize("word", list(ErrorWord))
def test_the_page_says_what_it_means_and_what_to_do(word: ErrorWord) -> None:
    (row,) = [row for row in ROW.findall(PAGE.read_text()) if row[0] == word.value]
    assert len(row[2]) > 20
    assert len(row[3]) > 10


def test_only_guesses_can_be_corrected() -> None:
    assert all(word.error_class is ErrorClass.AMBIGUOUS for word in CORRECTABLE)
    assert {ErrorWord.TIMEOUT, ErrorWord.OUTCOME_UNKNOWN} <= CORRECTABLE


def test_what_reading_finds_is_permanent() -> None:
    assert all(word.error_class is ErrorClass.PERMANENT for word in FOUND_BY_READING)
