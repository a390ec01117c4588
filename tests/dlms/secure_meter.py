"""A meter's ciphering for tests, by hand from catalogue 2.5 and 2.6: any suite, key set, dedicated key and form."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CLIENT = bytes.fromhex("4D43530000000001")
SERVER = bytes.fromhex("4D4D4D0000BC614E")
GLO = {0x01: 0x21, 0x08: 0x28, 0x0E: 0x2E, 0xC0: 0xC8, 0xC1: 0xC9, 0xC3: 0xCB, 0xC4: 0xCC, 0xC5: 0xCD, 0xC7: 0xCF}
DED = {0x0E: 0x4E, 0xC0: 0xD0, 0xC1: 0xD1, 0xC3: 0xD3, 0xC4: 0xD4, 0xC5: 0xD5, 0xC7: 0xD7}


def length(size: int) -> bytes:
    return bytes((size,)) if size < 128 else b"\x82" + size.to_bytes(2, "big")


def _strings(octets: bytes) -> list[bytes]:
    """The length-led strings that follow one another."""
    found, at = [], 0
    while at < len(octets):
        size, at = octets[at], at + 1
        if size > 0x80:
            width = size - 0x80
            size, at = int.from_bytes(octets[at : at + width], "big"), at + width
        found.append(octets[at : at + size])
        at += size
    return found


@dataclass
class Keys:
    """What one key protects; `marks` is the suite and the key set as they stand in the control octet."""

    encryption: bytes
    authentication: bytes
    marks: int = 0

    def gcm(self, nonce: bytes, aad: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        encryptor = Cipher(algorithms.AES(self.encryption), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(aad)
        return encryptor.update(plaintext) + encryptor.finalize(), encryptor.tag[:12]

    def seal(self, apdu: bytes, counter: int, how: int = 0x30, title: bytes = SERVER) -> bytes:
        """Control octet, counter, payload and tag."""
        octets = counter.to_bytes(4, "big")
        nonce, head = title + octets, bytes((how | self.marks,))
        if how == 0x30:
            payload = b"".join(self.gcm(nonce, head + self.authentication, apdu))
        elif how == 0x10:
            payload = apdu + self.gcm(nonce, head + self.authentication + apdu, b"")[1]
        else:
            payload = self.gcm(nonce, b"", apdu)[0]
        return head + octets + payload

    def unseal(self, body: bytes, title: bytes = CLIENT) -> bytes:
        """The plain APDU; AssertionError or InvalidTag where it is not what a client with these keys sends."""
        assert body[0] & 0xCF == self.marks
        how, nonce = body[0] & 0x30, title + body[1:5]
        if how == 0x20:
            return self.gcm(nonce, b"", body[5:])[0]
        payload, tag = body[5:-12], body[-12:]
        if how == 0x10:
            if self.gcm(nonce, body[:1] + self.authentication + payload, b"")[1] != tag:
                raise InvalidTag
            return payload
        decryptor = Cipher(algorithms.AES(self.encryption), modes.GCM(nonce, tag, min_tag_length=12)).decryptor()
        decryptor.authenticate_additional_data(body[:1] + self.authentication)
        return decryptor.update(payload) + decryptor.finalize()

    def glo(self, apdu: bytes, counter: int, how: int = 0x30) -> bytes:
        return _led(GLO[apdu[0]], self.seal(apdu, counter, how))

    def ded(self, apdu: bytes, counter: int, how: int = 0x30) -> bytes:
        return _led(DED[apdu[0]], self.seal(apdu, counter, how))

    def general(self, tag: int, apdu: bytes, counter: int, how: int = 0x30, title: bytes = SERVER) -> bytes:
        body = self.seal(apdu, counter, how, title)
        return bytes((tag, len(title))) + title + length(len(body)) + body

    def proof(self, title: bytes, counter: int, challenge: bytes) -> bytes:
        head, octets = bytes((0x10 | self.marks,)), counter.to_bytes(4, "big")
        return head + octets + self.gcm(title + octets, head + self.authentication + challenge, b"")[1]


def _led(tag: int, body: bytes) -> bytes:
    return bytes((tag,)) + length(len(body)) + body


def parts(apdu: bytes) -> tuple[int, list[bytes]]:
    """(tag, the strings behind it): one in a service-specific form, title and body in a general one."""
    return apdu[0], _strings(apdu[1:])
