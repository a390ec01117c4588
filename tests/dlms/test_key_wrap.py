"""Key wrap: the vectors of RFC 3394 and of the catalogue, and what is not a wrapped key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.dlms.errors import EncodeError, SecurityError
from metercast.dlms.key_wrap import unwrap_key, wrap_key

KEK_16 = bytes(range(16))
KEK_32 = bytes(range(32))
KEY_16 = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
KEY_32 = KEY_16 + bytes(range(16))

VECTORS = {  # RFC 3394, sections 4.1 (also catalogue 1.12), 4.3 and 4.6
    "128 under 128": (KEK_16, KEY_16, "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"),
    "128 under 256": (KEK_32, KEY_16, "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"),
    "256 under 256": (
        KEK_32,
        KEY_32,
        "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_wrap_and_unwrap(name: str) -> None:
    kek, key, wrapped = VECTORS[name]
    assert wrap_key(kek, key).hex().upper() == wrapped
    assert unwrap_key(kek, bytes.fromhex(wrapped)) == key


@pytest.mark.parametrize("size", [0, 8, 15, 17, 24, 33])
def test_keys_of_other_sizes_are_refused_without_being_told(size: int) -> None:
    key = b"\xa5" * size
    for arguments in ((key, KEY_16), (KEK_16, key)):
        with pytest.raises(EncodeError) as refused:
            wrap_key(*arguments)
        assert "a5a5" not in str(refused.value)
    with pytest.raises(SecurityError):
        unwrap_key(KEK_16, b"\xa5" * (size + 8))


@given(position=st.integers(0, 23), bit=st.integers(0, 7))
def test_a_changed_octet_is_noticed(position: int, bit: int) -> None:
    wrapped = bytearray(wrap_key(KEK_16, KEY_16))
    wrapped[position] ^= 1 << bit
    with pytest.raises(SecurityError):
        unwrap_key(KEK_16, bytes(wrapped))


def test_another_key_encrypting_key_does_not_unwrap() -> None:
    with pytest.raises(SecurityError):
        unwrap_key(KEY_16, wrap_key(KEK_16, KEY_16))
