import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.logical_name import LogicalName


@pytest.mark.parametrize("text", ["0.0.13.0.0.255", "0-0:13.0.0*255", "0-0:13.0.0.255"])
def test_both_ways_of_writing(text: str) -> None:
    name = LogicalName.parse(text)
    assert name == bytes.fromhex("00000d0000ff")
    assert str(name) == "0.0.13.0.0.255"
    assert repr(name) == "LogicalName('0.0.13.0.0.255')"


@pytest.mark.parametrize("text", ["", "0.0.13.0.0", "0.0.13.0.0.256", "0.0.13.0.0.255.1", "a.0.13.0.0.255", "²" * 11])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        LogicalName.parse(text)


@pytest.mark.parametrize("size", [0, 5, 7])
def test_six_octets(size: int) -> None:
    with pytest.raises(DecodeError):
        LogicalName(bytes(size))


@given(st.binary(min_size=6, max_size=6))
def test_text_survives(octets: bytes) -> None:
    assert LogicalName.parse(str(LogicalName(octets))) == octets
