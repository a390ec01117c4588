"""HLS, mechanisms 2 to 7: what each side proves to the other (catalogue 2.6)."""

import hashlib
from hmac import compare_digest
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from metercast.dlms.acse import Mechanism
from metercast.dlms.ciphering import HEADER_SIZE, TAG_SIZE, Cipher
from metercast.dlms.cosem import CosemMethod
from metercast.dlms.elliptic import PrivateKey, PublicKey
from metercast.dlms.errors import EncodeError, SecurityError
from metercast.dlms.logical_name import LogicalName

REPLY_TO_HLS: Final = CosemMethod(15, LogicalName(b"\x00\x00\x28\x00\x00\xff"), 1)
"""The method that carries pass 3 and answers with pass 4."""

PROOF_SIZE: Final = HEADER_SIZE + TAG_SIZE
MIN_CHALLENGE: Final = 8
MAX_CHALLENGE: Final = 64
MAX_BLOCK_SECRET: Final = 16


def prove(cipher: Cipher, system_title: bytes, counter: int, challenge: bytes) -> bytes:
    """f(challenge): security control, counter and tag. `system_title` is the prover's, `challenge` the other's."""
    tag = cipher.authenticate(system_title, counter, challenge)
    return bytes((cipher.authenticated_control,)) + counter.to_bytes(4, "big") + tag


def verify(cipher: Cipher, system_title: bytes, challenge: bytes, proof: bytes) -> int:
    """The counter inside a proof made by the holder of `system_title`; SecurityError where it proves nothing."""
    if len(proof) != PROOF_SIZE or proof[0] != cipher.authenticated_control:
        raise SecurityError(f"not a GMAC proof: {len(proof)} octets, security control {proof[:1].hex()}")
    if len(system_title) != 8:
        raise SecurityError(f"the prover's system title has {len(system_title)} octets, not 8")
    counter = int.from_bytes(proof[1:5], "big")
    if not compare_digest(cipher.authenticate(system_title, counter, challenge), proof[5:]):
        raise SecurityError("the proof of the challenge is wrong")
    return counter


class Prover(Protocol):
    """How the mechanisms without a counter prove: by the titles and challenges of both sides."""

    def prove(self, title: bytes, other_title: bytes, challenge: bytes, own_challenge: bytes) -> bytes:
        """f(challenge) of the side that has `title`; `challenge` is what the other side sent, of `other_title`."""

    def verify(self, title: bytes, other_title: bytes, challenge: bytes, own_challenge: bytes, proof: bytes) -> None:
        """As `prove` of the side that made the proof; SecurityError where it proves nothing."""


class SharedSecret(NamedTuple):
    """Of the mechanisms 2, MD5, SHA-1 and SHA-256: both sides know one secret. Never printed.

    Mechanism 2 is each manufacturer's own; here it is what most of them do, AES-128-ECB of the challenge under the
    secret, both filled up with zeros (catalogue 2.6).
    """

    mechanism: Mechanism
    secret: bytes

    def __repr__(self) -> str:
        return f"SharedSecret({self.mechanism.name})"

    def prove(self, title: bytes, other_title: bytes, challenge: bytes, own_challenge: bytes) -> bytes:
        if self.mechanism is Mechanism.HLS_MD5:
            return hashlib.md5(challenge + self.secret, usedforsecurity=False).digest()
        if self.mechanism is Mechanism.HLS_SHA1:
            return hashlib.sha1(challenge + self.secret, usedforsecurity=False).digest()
        if self.mechanism is Mechanism.HLS:
            return self._encrypted(challenge)
        assert self.mechanism is Mechanism.HLS_SHA256
        return hashlib.sha256(self.secret + title + other_title + challenge + own_challenge).digest()

    def verify(self, title: bytes, other_title: bytes, challenge: bytes, own_challenge: bytes, proof: bytes) -> None:
        if not compare_digest(self.prove(title, other_title, challenge, own_challenge), proof):
            raise SecurityError("the proof of the challenge is wrong")

    def _encrypted(self, challenge: bytes) -> bytes:
        if len(self.secret) > MAX_BLOCK_SECRET:
            raise EncodeError(f"a secret of mechanism 2 has at most {MAX_BLOCK_SECRET} octets")
        # The mechanism is the meter's; ECB is what it is.
        encryptor = BlockCipher(algorithms.AES(self.secret.ljust(16, b"\0")), modes.ECB()).encryptor()  # noqa: S305
        return encryptor.update(challenge.ljust(-(-len(challenge) // 16) * 16, b"\0")) + encryptor.finalize()


class Signatures(NamedTuple):
    """Of the mechanism ECDSA: each side signs with its own key, and knows the other's public key."""

    own: PrivateKey
    other: PublicKey

    def prove(self, title: bytes, other_title: bytes, challenge: bytes, own_challenge: bytes) -> bytes:
        return self.own.sign(title + other_title + challenge + own_challenge)

    def verify(self, title: bytes, other_title: bytes, challenge: bytes, own_challenge: bytes, proof: bytes) -> None:
        self.other.verify(title + other_title + challenge + own_challenge, proof)


def check_challenge(challenge: bytes) -> None:
    """EncodeError where our own challenge has not 8 to 64 octets."""
    if not MIN_CHALLENGE <= len(challenge) <= MAX_CHALLENGE:
        raise EncodeError(f"a challenge has {MIN_CHALLENGE} to {MAX_CHALLENGE} octets, not {len(challenge)}")
