"""Keys on the curves of suites 1 and 2: signatures, and secrets agreed on (catalogue 2.4; FIPS 186-4, SP 800-56A)."""

from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from metercast.dlms.errors import EncodeError, SecurityError

_PEM = "-----BEGIN "
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)  # what the library raises at PEM


class Curve(NamedTuple):
    """`size` is the number of octets of a coordinate, of a private key, and of half a signature."""

    curve: ec.EllipticCurve
    hash: hashes.HashAlgorithm
    size: int


CURVES: Final = {
    1: Curve(ec.SECP256R1(), hashes.SHA256(), 32),
    2: Curve(ec.SECP384R1(), hashes.SHA384(), 48),
}
"""By security suite; suite 0 has none."""


class PublicKey:
    """A peer's key, to check its signatures with or to agree on a secret with it."""

    __slots__ = ("_curve", "_key", "suite")

    def __init__(self, key: ec.EllipticCurvePublicKey, suite: int) -> None:
        """EncodeError where the key is not on the suite's curve."""
        self._curve = _fitting(key.curve, suite)
        self._key = key
        self.suite = suite

    @classmethod
    def parse(cls, text: str, suite: int) -> "PublicKey":
        """Hex of both coordinates, with or without 04 before them, or PEM of the key or of its certificate.

        EncodeError that does not repeat `text`.
        """
        try:
            if _PEM + "CERTIFICATE-" in text:
                key = x509.load_pem_x509_certificate(text.encode()).public_key()
            elif _PEM in text:
                key = load_pem_public_key(text.encode())  # type: ignore[assignment]
            else:
                return cls.from_octets(bytes.fromhex(text), suite)
        except _UNREADABLE:
            raise EncodeError("a public key is neither hex of its coordinates nor PEM") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise EncodeError("a public key that is not on an elliptic curve")
        return cls(key, suite)

    @classmethod
    def from_octets(cls, octets: bytes, suite: int) -> "PublicKey":
        """From both coordinates, as they stand in APDUs; EncodeError where they are no point of the curve."""
        curve = _curve_of(suite)
        point = octets[1:] if len(octets) == 2 * curve.size + 1 and octets[0] == 4 else octets
        if len(point) != 2 * curve.size:
            raise EncodeError(f"a public key of suite {suite} has {2 * curve.size} octets, not {len(point)}")
        try:
            return cls(ec.EllipticCurvePublicKey.from_encoded_point(curve.curve, b"\x04" + point), suite)
        except ValueError:
            raise EncodeError(f"a public key that is no point of the curve of suite {suite}") from None

    @property
    def octets(self) -> bytes:
        """Both coordinates."""
        numbers, size = self._key.public_numbers(), self._curve.size
        return numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")

    @property
    def key(self) -> ec.EllipticCurvePublicKey:
        return self._key

    def verify(self, octets: bytes, signature: bytes) -> None:
        """SecurityError where `signature`, r and s one after the other, is not that of the key's holder."""
        size = self._curve.size
        if len(signature) != 2 * size:
            raise SecurityError(f"a signature of {len(signature)} octets, not {2 * size}")
        halves = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        try:
            self._key.verify(encode_dss_signature(*halves), octets, ec.ECDSA(self._curve.hash))
        except InvalidSignature:
            raise SecurityError("the signature is wrong") from None


class PrivateKey:
    """Our own key. Never printed."""

    __slots__ = ("_curve", "_key", "suite")

    def __init__(self, key: ec.EllipticCurvePrivateKey, suite: int) -> None:
        """EncodeError where the key is not on the suite's curve."""
        self._curve = _fitting(key.curve, suite)
        self._key = key
        self.suite = suite

    def __repr__(self) -> str:
        return "PrivateKey()"

    @classmethod
    def parse(cls, text: str, suite: int) -> "PrivateKey":
        """Hex of the number, or PEM without a passphrase; EncodeError that does not repeat `text`."""
        curve = _curve_of(suite)
        try:
            if _PEM in text:
                key = load_pem_private_key(text.encode(), None)
            else:
                octets = bytes.fromhex(text)
                if len(octets) != curve.size:
                    raise EncodeError(f"a private key of suite {suite} has {curve.size} octets")
                key = ec.derive_private_key(int.from_bytes(octets, "big"), curve.curve)
        except _UNREADABLE:
            raise EncodeError("a private key is neither hex of its number nor PEM without a passphrase") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise EncodeError("a private key that is not of an elliptic curve")
        return cls(key, suite)

    @classmethod
    def generate(cls, suite: int) -> "PrivateKey":
        """A new random one, as for one exchange only."""
        return cls(ec.generate_private_key(_curve_of(suite).curve), suite)

    @property
    def public(self) -> PublicKey:
        return PublicKey(self._key.public_key(), self.suite)

    def sign(self, octets: bytes) -> bytes:
        """r and s, one after the other."""
        size = self._curve.size
        r, s = decode_dss_signature(self._key.sign(octets, ec.ECDSA(self._curve.hash)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def agree(self, other: PublicKey) -> bytes:
        """The secret that only the two holders can compute: one coordinate of the common point."""
        try:
            return self._key.exchange(ec.ECDH(), other.key)
        except ValueError:
            raise EncodeError("the two keys are not on the same curve") from None


def _curve_of(suite: int) -> Curve:
    curve = CURVES.get(suite)
    if curve is None:
        raise EncodeError(f"security suite {suite} has no elliptic curve")
    return curve


def _fitting(curve: ec.EllipticCurve, suite: int) -> Curve:
    expected = _curve_of(suite)
    if curve.name != expected.curve.name:
        raise EncodeError(f"a key on the curve {curve.name}; suite {suite} uses {expected.curve.name}")
    return expected
