"""Keys and passwords that really change, APDU by APDU, with the golden APDU of the catalogue."""

from typing import Any

import pytest
from tests.simulator.harness import Bench
from tests.simulator.test_association_security import AK, CIPHER, CLIENT, DECIPHERING, EK, TITLE, aarq, keyed

from metercast.dlms.acse import decode_aare
from metercast.dlms.ciphering import Cipher, decode_glo, encode_glo
from metercast.dlms.key_wrap import wrap_key

# The key encrypting key of the golden APDU is that of the harness' encryption key.
GOLDEN = "c301c1004000002b0000ff020101010202160009181fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"
NEW = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
OTHER = bytes(range(0x40, 0x50))
TRANSFER = "c301c1004000002b0000ff0201"
DONE, OTHER_REASON, TYPE_UNMATCHED, DENIED = "c701c10000", "c701c1fa00", "c701c10c00", "c701c10300"


class Line(Bench):
    """An association of LLS with protection both; counters go up by themselves."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(keyed(protection="both", master_key=EK, **changes))
        self.cipher, self.counter = CIPHER, 0

    def associate(self, cipher: Cipher = CIPHER, password: bytes = b"12345678", counter: int | None = None) -> int:
        """The result of the AARE."""
        self.counter = self.counter + 1 if counter is None else counter
        self.cipher = cipher
        answer = self.ask(aarq(1, 0x30, self.counter, authentication=password, cipher=cipher))
        return int(decode_aare(bytes.fromhex(answer)).result)

    def say(self, apdu: str, answered_with: Cipher | None = None) -> str:
        self.counter += 1
        answer = self.ask(encode_glo(self.cipher, 0x30, CLIENT, self.counter, bytes.fromhex(apdu)))
        if answer[:2] not in ("cc", "cd", "cf"):
            return answer
        return decode_glo(answered_with or self.cipher, TITLE, bytes.fromhex(answer)).plaintext.hex()


def transfer(*keys: tuple[int, bytes], by: bytes = EK) -> str:
    items = "".join(f"020216{key_id:02x}0918{wrap_key(by, key).hex()}" for key_id, key in keys)
    return f"{TRANSFER}01{len(keys):02x}{items}"


def test_a_new_key_holds_from_the_next_association_on() -> None:
    line = Line()
    assert line.associate() == 0
    assert line.say(GOLDEN) == DONE
    assert line.say(transfer((2, OTHER))) == DONE, "the association goes on as it began"
    assert line.associate() == 1
    assert line.associate(Cipher(NEW, AK)) == 1
    assert line.associate(Cipher(NEW, OTHER)) == 0
    assert line.meter.state.executed[(64, bytes.fromhex("00002b0000ff"), 2)] == 2  # type: ignore[index]


def test_a_new_key_may_hold_at_once() -> None:
    line = Line(new_keys="at-once")
    line.associate()
    assert line.say(GOLDEN, answered_with=Cipher(NEW, AK)) == DONE
    assert line.say(transfer((2, OTHER))) == DECIPHERING
    line.cipher = Cipher(NEW, AK)
    line.counter = 0
    assert line.say(transfer((2, OTHER)), answered_with=Cipher(NEW, OTHER)) == DONE


@pytest.mark.parametrize("restarts", [True, False])
def test_the_counter_may_begin_anew_with_a_new_encryption_key(restarts: bool) -> None:
    line = Line(counter_restarts=restarts)
    line.associate(counter=1000)
    line.say(transfer((2, OTHER)))
    assert line.associate(Cipher(EK, OTHER)) == 0, "another authentication key leaves the counter alone"
    assert line.meter.security.client_counter == 1002
    line.say(transfer((0, NEW)))
    aare = line.ask(aarq(1, 0x30, 1, authentication=b"12345678", cipher=Cipher(NEW, OTHER)))
    assert aare.startswith("61" if restarts else "d80106")


@pytest.mark.parametrize(
    ("apdu", "answer"),
    [
        (transfer((0, NEW), by=OTHER), OTHER_REASON),
        (transfer((0, NEW))[:-2] + "00", OTHER_REASON),
        (TRANSFER + "01010202160009 00".replace(" ", ""), OTHER_REASON),
        (f"{TRANSFER}010102021600 0928{wrap_key(EK, NEW * 2).hex()}".replace(" ", ""), OTHER_REASON),
        (transfer((3, NEW)), TYPE_UNMATCHED),
        (transfer((4, NEW)), TYPE_UNMATCHED),
        (transfer((2, NEW), (3, NEW)), TYPE_UNMATCHED),
        (TRANSFER + "0100", TYPE_UNMATCHED),
        (TRANSFER + "0900", TYPE_UNMATCHED),
        (TRANSFER + "010102020f00" + transfer((0, NEW))[-52:], TYPE_UNMATCHED),
        ("c301c1000f0000280000ff0201" + "09083837363534333231", DENIED),
    ],
)
def test_what_is_refused_changes_nothing(apdu: str, answer: str) -> None:
    line = Line()
    line.associate()
    before = line.meter.state.keys.fingerprints()
    assert line.say(apdu) == answer
    assert line.meter.state.keys.fingerprints() == before
    assert line.associate() == 0


def test_version_1_has_a_master_key_and_bits_for_its_policy() -> None:
    line = Line(security_version=1)
    line.associate()
    assert line.say("c001c1004000002b0000ff0200") == "c401c100166c"
    assert line.say(transfer((3, OTHER))) == DONE
    assert line.say(transfer((2, NEW))) == OTHER_REASON
    assert line.say(transfer((2, NEW), (1, NEW), by=OTHER)) == DONE
    assert line.associate(Cipher(EK, NEW)) == 0


def test_the_password_of_lls_is_written() -> None:
    line = Line()
    line.associate()
    assert line.say("c101c1000f0000280000ff0700" + "09083837363534333231") == "c501c100"
    assert line.say("c101c1000f0000280000ff0700" + "0a083837363534333231") == "c501c10c"
    assert line.say("c101c1000f0000280000ff0700" + "0900") == "c501c10c"
    assert line.associate() == 1
    assert line.associate(password=b"87654321") == 0


def test_no_secret_is_told() -> None:
    line = Line()
    assert EK.hex() not in repr(line.meter.spec) + repr(line.meter.state.keys)
    assert EK.hex() not in str(line.meter.snapshot()).lower()
