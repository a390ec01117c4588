"""How keys travel to a meter: wrapped under the key encrypting key with AES (RFC 3394; catalogue 1.12)."""

from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from metercast.dlms.errors import EncodeError, SecurityError

KEY_SIZES: Final = frozenset({16, 32})
"""Octets of a key in suites 0 and 1, and in suite 2."""

WRAP_OVERHEAD: Final = 8


def wrap_key(key_encrypting_key: bytes, key: bytes) -> bytes:
    """`key` wrapped, 8 octets longer. EncodeError where one of them has neither 16 nor 32 octets."""
    _check(key_encrypting_key, "key encrypting key")
    _check(key, "key to be wrapped")
    return aes_key_wrap(key_encrypting_key, key)


def unwrap_key(key_encrypting_key: bytes, wrapped: bytes) -> bytes:
    """The key that `wrap_key` wrapped. SecurityError where `wrapped` was not made with that key, or was changed."""
    _check(key_encrypting_key, "key encrypting key")
    if len(wrapped) - WRAP_OVERHEAD not in KEY_SIZES:
        raise SecurityError(f"a wrapped key of {len(wrapped)} octets")
    try:
        return aes_key_unwrap(key_encrypting_key, wrapped)
    except InvalidUnwrap:
        raise SecurityError("the wrapped key was not wrapped with this key encrypting key") from None


def _check(key: bytes, what: str) -> None:
    if len(key) not in KEY_SIZES:
        raise EncodeError(f"a {what} has 16 or 32 octets, not {len(key)}")
