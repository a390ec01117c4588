"""The keys, the system title and the invocation counters of a meter (catalogue 2.7)."""

import time

from metercast.dlms.ciphering import MAX_COUNTER, Cipher
from metercast.simulator.keys import BROADCAST, MeterKeys
from metercast.simulator.spec import MeterSpec

EPOCH_2020 = 1_577_836_800
_ANOTHER = 0x5A


class MeterSecurity:
    """Counters live as long as the meter; `client_counter` is the last one accepted from the client, under the unicast
    key, `broadcast_counter` under the broadcast key.

    The meter's own counter starts from the seconds since 2020, so that it also rises from run to run.
    """

    __slots__ = (
        "_broadcast_cipher", "_cipher", "_known", "_spec", "_wrong_cipher",
        "broadcast_counter", "client_counter", "keys", "server_counter",
    )  # fmt: skip

    def __init__(self, spec: MeterSpec, keys: MeterKeys) -> None:
        self._spec = spec
        self.keys = keys
        self._known = (keys.version, keys.encryption)  # what the ciphers and the counter belong to
        self._cipher: Cipher | None = None
        self._wrong_cipher: Cipher | None = None
        self._broadcast_cipher: Cipher | None = None
        self.client_counter = 0
        self.broadcast_counter = 0
        self.server_counter = max(0, int(time.time()) - EPOCH_2020)

    @property
    def has_keys(self) -> bool:
        return self.keys.encryption is not None and self.keys.authentication is not None

    @property
    def changes_at_once(self) -> bool:
        """A new key holds for the very answer to what brought it; else from the next association on."""
        return self._spec.new_keys == "at-once"

    def begin_association(self) -> None:
        """Keys that were transferred hold from here on."""
        version, encryption = self._known
        if version == self.keys.version:
            return
        if encryption != self.keys.encryption and self._spec.counter_restarts:
            self.client_counter = 0
        self._known = (self.keys.version, self.keys.encryption)
        self._cipher = self._wrong_cipher = self._broadcast_cipher = None

    def cipher(self, *, wrong: bool = False) -> Cipher:
        """The meter's cipher, made once; `wrong` gives one of keys that nobody was told."""
        if self.changes_at_once:
            self.begin_association()
        encryption, authentication = self.keys.encryption, self.keys.authentication
        assert encryption is not None
        assert authentication is not None
        if wrong:
            if self._wrong_cipher is None:
                self._wrong_cipher = Cipher(_differing(encryption), _differing(authentication), self._suite)
            return self._wrong_cipher
        if self._cipher is None:
            self._cipher = Cipher(encryption, authentication, self._suite)
        return self._cipher

    def broadcast_cipher(self) -> Cipher | None:
        """That of the broadcast key set; None where the meter holds no such key."""
        key, authentication = self.keys.key(BROADCAST), self.keys.authentication
        if self._broadcast_cipher is None and key is not None and authentication is not None:
            self._broadcast_cipher = Cipher(key, authentication, self._suite, broadcast=True)
        return self._broadcast_cipher

    def dedicated_cipher(self, key: bytes) -> Cipher:
        """That of one association's own key; EncodeError where the key is not as long as the suite's."""
        return Cipher(key, self.keys.authentication or b"", self._suite)

    @property
    def _suite(self) -> int:
        return self._spec.security_suite

    def next_counter(self) -> int:
        self.server_counter += 1
        return self.server_counter

    def jump(self, ahead: int) -> None:
        """The last accepted counter goes up without any client having sent it."""
        self.client_counter = min(MAX_COUNTER, self.client_counter + ahead)


def another_title(title: bytes) -> bytes:
    """The system title of a meter that is not this one."""
    return title[:4] + bytes(octet ^ 0x5A for octet in title[4:])


def another_name(name: str) -> str:
    """The logical device name of a meter that is not this one."""
    return name[:-4] + name[-4:].translate(str.maketrans("0123456789", "5678901234"))


def _differing(key: bytes) -> bytes:
    return bytes(octet ^ _ANOTHER for octet in key)
