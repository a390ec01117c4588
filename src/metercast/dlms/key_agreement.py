"""Keys that two parties compute and nobody sends: Diffie-Hellman on the suite's curve, then a hash (SP 800-56A).

Party U is the originator, party V the recipient (Green Book edition 8, clause 9.2.3.4.6).
"""

from enum import IntEnum
from typing import Final

from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from metercast.dlms.ciphering import KEY_SIZES
from metercast.dlms.elliptic import CURVES, PrivateKey, PublicKey
from metercast.dlms.errors import DecodeError, EncodeError, SecurityError
from metercast.dlms.general_ciphering import AgreedKey, Heading, encode_string

# 2.16.756.5.8.3.x, AES-GCM-128 and AES-GCM-256 (catalogue 2.2), by suite.
_ALGORITHMS: Final = {1: bytes.fromhex("60857405080300"), 2: bytes.fromhex("60857405080301")}


class Scheme(IntEnum):
    """The key-parameters of an agreed key."""

    ONE_PASS = 1  # C(1e, 1s): the originator's key is made up for the occasion, and signed
    STATIC_UNIFIED = 2  # C(0e, 2s): both keys stand; the transaction id makes the difference


def derive_key(suite: int, secret: bytes, party_u: bytes, party_v: bytes) -> bytes:
    """The key, as long as the suite's are, that the common secret gives these two. EncodeError: suite 0 has none."""
    algorithm, curve = _ALGORITHMS.get(suite), CURVES.get(suite)
    if algorithm is None or curve is None:
        raise EncodeError(f"security suite {suite} has no key agreement")
    other = algorithm + party_u + party_v
    return ConcatKDFHash(curve.hash, KEY_SIZES[suite], other).derive(secret)


def sign_ephemeral(signing_key: PrivateKey, ephemeral: PublicKey, key_id: int | None = None) -> bytes:
    """A public key with the signature of who made it: what proves it in the one-pass scheme, and with `key_id` of the
    key to be replaced in the method key_agreement of the security setup."""
    return ephemeral.octets + signing_key.sign(_claim(ephemeral.octets, key_id))


def verify_ephemeral(data: bytes, signer: PublicKey, suite: int, key_id: int | None = None) -> PublicKey:
    """The public key in what `sign_ephemeral` made; SecurityError where it is not the signer's, DecodeError."""
    size = 2 * CURVES[suite].size if suite in CURVES else 0
    if not size or len(data) != 2 * size:
        raise DecodeError(f"an ephemeral key with its signature has not {len(data)} octets in suite {suite}")
    octets, signature = data[:size], data[size:]
    signer.verify(_claim(octets, key_id), signature)
    try:
        return PublicKey.from_octets(octets, suite)
    except EncodeError as error:
        raise SecurityError(str(error)) from None


def one_pass_key(
    heading: Heading, suite: int, signing_key: PrivateKey, recipient: PublicKey, ephemeral: PrivateKey
) -> tuple[AgreedKey, bytes]:
    """The originator's side: (key-info, key). `ephemeral` is a new random key, for this one APDU."""
    data = sign_ephemeral(signing_key, ephemeral.public)
    key = derive_key(suite, ephemeral.agree(recipient), heading.originator, heading.recipient)
    return AgreedKey(bytes((Scheme.ONE_PASS,)), data), key


def static_key(heading: Heading, suite: int, own: PrivateKey, other: PublicKey) -> tuple[AgreedKey, bytes]:
    """Either side of the static unified model: (key-info, key). `heading.transaction_id` must never come twice."""
    party_u = heading.originator + encode_string(heading.transaction_id)
    key = derive_key(suite, own.agree(other), party_u, heading.recipient)
    return AgreedKey(bytes((Scheme.STATIC_UNIFIED,)), b""), key


def agreed_key(
    heading: Heading, info: AgreedKey, suite: int, own: PrivateKey, originator: PublicKey, signer: PublicKey | None
) -> bytes:
    """The recipient's side of either scheme. `originator` is the other's standing key, `signer` its key for
    signatures, without which a one-pass key proves nothing. DecodeError, SecurityError."""
    if info.parameters == bytes((Scheme.ONE_PASS,)):
        if signer is None:
            raise SecurityError("an ephemeral key, and nobody says whose signature it must have")
        ephemeral = verify_ephemeral(info.data, signer, suite)
        return derive_key(suite, own.agree(ephemeral), heading.originator, heading.recipient)
    if info.parameters == bytes((Scheme.STATIC_UNIFIED,)):
        if info.data:
            raise DecodeError("the static unified model sends no key")
        return static_key(heading, suite, own, originator)[1]
    raise DecodeError(f"a key agreement of kind {info.parameters[:4].hex()}")


def _claim(octets: bytes, key_id: int | None) -> bytes:
    return octets if key_id is None else bytes((key_id,)) + octets
