"""Flat records out of an XML file of any size: bounded, and without a document type, so without entities of its own."""

from collections.abc import Iterator
from typing import IO, Final
from xml.parsers import expat

from metercast.domain.problem import InvalidField

Record = tuple[int, dict[str, str]]  # the line that it begins in, and the text of each child by its local name

MAX_TEXT: Final = 64 * 1024
MAX_DEPTH: Final = 100
MAX_CHILDREN: Final = 1000
_CHUNK: Final = 256 * 1024


def xml_records(file: IO[bytes], name: str) -> Iterator[Record]:
    """Every element of that local name, in the order of the file. Deeper elements than its children are passed over.

    InvalidField where the file is no XML, or more than a record needs. It is read as far as the records are taken.
    """
    reader = _Reader(name)
    while chunk := file.read(_CHUNK):
        yield from reader.feed(chunk)
    yield from reader.feed(b"", final=True)


def xml_fragment(text: str) -> dict[str, str]:
    """The elements of a text that is some of them, one after the other, by name. InvalidField where it is not."""
    reader = _Reader("fragment")
    ((_, children),) = reader.feed(f"<fragment>{text}</fragment>".encode(), final=True)
    return children


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._found: list[Record] = []
        self._record: Record | None = None
        self._record_depth = 0
        self._depth = 0
        self._child = ""
        self._text: list[str] = []
        self._size = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, data: bytes, final: bool = False) -> list[Record]:
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as error:
            raise self._refused(f"no XML: {expat.ErrorString(error.code)}") from None
        except (LookupError, UnicodeError, ValueError):  # an encoding that is none, or not the file's
            raise self._refused("no XML: its encoding") from None
        found, self._found = self._found, []
        return found

    def _refused(self, reason: str) -> InvalidField:
        return InvalidField.secret(f"line {self._parser.CurrentLineNumber}", reason)

    def _doctype(self, *_: object) -> None:
        raise self._refused("a document type is not allowed")

    def _start(self, name: str, _: object) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refused(f"elements nested deeper than {MAX_DEPTH}")
        local = name.rpartition(" ")[2]
        if self._record is None:
            if local == self._name:
                self._record = (self._parser.CurrentLineNumber, {})
                self._record_depth = self._depth
        elif self._depth == self._record_depth + 1:
            if local in self._record[1]:
                raise self._refused(f"{local[:100]} stands twice in one {self._name}")
            if len(self._record[1]) == MAX_CHILDREN:
                raise self._refused(f"more than {MAX_CHILDREN} elements in one {self._name}")
            self._child, self._size = local, 0
            self._text.clear()

    def _characters(self, text: str) -> None:
        if self._record is not None and self._depth == self._record_depth + 1:
            self._size += len(text)
            if self._size > MAX_TEXT:
                raise self._refused(f"{self._child[:100]} is longer than {MAX_TEXT} characters")
            self._text.append(text)

    def _end(self, _: str) -> None:
        if self._record is not None:
            if self._depth == self._record_depth + 1:
                self._record[1][self._child] = "".join(self._text).strip()
            elif self._depth == self._record_depth:
                self._found.append(self._record)
                self._record = None
        self._depth -= 1
