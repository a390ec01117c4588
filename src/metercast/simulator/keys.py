"""The secrets that a meter holds, and how they change (catalogue 1.12)."""

from hashlib import blake2b

from metercast.dlms.errors import DlmsError
from metercast.dlms.key_wrap import unwrap_key
from metercast.simulator.spec import MeterSpec

UNICAST, BROADCAST, AUTHENTICATION, MASTER = range(4)  # the key ids of key_transfer


class WrongWrap(Exception):
    """A wrapped key that the meter's master key does not open, or that is of no use."""


class MeterKeys:
    """Never printed. `version` goes up with every change."""

    __slots__ = ("_keys", "password", "version")

    def __init__(self, spec: MeterSpec) -> None:
        self._keys = {
            UNICAST: spec.encryption_key,
            BROADCAST: spec.broadcast_key,
            AUTHENTICATION: spec.authentication_key,
            MASTER: spec.master_key,
        }
        self.password = spec.password
        self.version = 0

    def __repr__(self) -> str:
        return f"MeterKeys(version {self.version})"

    def key(self, key_id: int) -> bytes | None:
        return self._keys[key_id]

    @property
    def encryption(self) -> bytes | None:
        return self._keys[UNICAST]

    @property
    def authentication(self) -> bytes | None:
        return self._keys[AUTHENTICATION]

    def take_wrapped(self, wrapped: list[tuple[int, bytes]]) -> None:
        """All of them or none; WrongWrap."""
        master = self._keys[MASTER]
        if master is None:
            raise WrongWrap
        try:
            keys = {key_id: unwrap_key(master, octets) for key_id, octets in wrapped}
        except DlmsError:
            raise WrongWrap from None
        if any(len(key) != len(self._keys[UNICAST] or master) for key in keys.values()):
            raise WrongWrap
        self._keys |= keys
        self.version += 1

    def take_password(self, password: bytes) -> None:
        self.password = password
        self.version += 1

    def fingerprints(self) -> dict[str, str | None]:
        """What tells one key from another and no key."""
        names = {"encryptionKey": UNICAST, "broadcastKey": BROADCAST, "authenticationKey": AUTHENTICATION}
        held = {name: self._keys[key_id] for name, key_id in (names | {"masterKey": MASTER}).items()}
        held["password"] = self.password
        return {name: None if key is None else fingerprint(key) for name, key in held.items()}


def fingerprint(secret: bytes) -> str:
    return blake2b(secret, digest_size=8, person=b"simulated-meter").hexdigest()
