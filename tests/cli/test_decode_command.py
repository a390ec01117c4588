"""`decode` reads what people copy out of traces."""

import io
import json
import os
from pathlib import Path

import pytest
from tests.capture.captures import CLIENT, METER, ethernet, pcap, tcp
from tests.cli.support import answers, complains

from metercast.cli.main import run

ACTION = "000100300001000fc301c10046000060030aff01010f00"
AARE_REJECTED = "611FA109060760857405080101A203020101A305A103020101BE0604040E010601"
CIPHERED_GET = "C81E3001234567411312FF935A47566827C467BC7D825C3BE4A77C3FCC056B6B"
KEYS = {
    "encryptionKey": "000102030405060708090A0B0C0D0E0F",
    "authenticationKey": "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF",
    "clientSystemTitle": "4D4D4D0000BC614E",
}


def test_a_frame_is_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert answers(capsys, "decode", ACTION).splitlines() == [
        "wrapper frame: from 48 to 1, 15 octets",
        "  action-request: ActionRequestNormal",
        "    invoke-id and priority: c1",
        "    method: class 70 0.0.96.3.10.255 method 1",
        "    parameter integer: 0",
    ]


@pytest.mark.parametrize(
    "written",
    [
        ["00:01:00:30:00:01:00:0f:c3:01:c1:00:46:00:00:60:03:0a:ff:01:01:0f:00"],
        ["0001 0030 0001 000F", "C301C10046000060030AFF01010F00"],
        ["0x00,0x01,0x00,0x30,0x00,0x01,0x00,0x0f", "c3-01-c1-00-46-00-00-60-03-0a-ff-01-01-0f-00"],
    ],
)
def test_blanks_colons_and_prefixes_are_passed_over(written: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answers(capsys, "decode", *written) == answers(capsys, "decode", ACTION)


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_it_reads_standard_input(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f" {ACTION[:20]}\n{ACTION[20:]}\n".encode())))
    assert answers(capsys, "decode", *arguments).startswith("wrapper frame: from 48 to 1")


def test_json_is_the_same_tree(capsys: pytest.CaptureFixture[str]) -> None:
    tree = json.loads(answers(capsys, "decode", "--json", AARE_REJECTED))
    assert tree["name"] == "AARE"
    found = {child["name"]: child.get("value") for child in tree["children"]}
    assert found["result"] == "rejected-permanent (1)"


def test_keys_from_a_file_open_what_is_ciphered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    closed = answers(capsys, "decode", CIPHERED_GET)
    assert "ciphered: 411312ff" in closed
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(KEYS))
    opened = answers(capsys, "decode", CIPHERED_GET, "--keys", str(keys))
    assert "attribute: class 8 0.0.1.0.0.255 attribute 2" in opened


def test_a_wrong_key_or_keys_file_is_told_without_the_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    for written, part in (
        (KEYS | {"encryptionKey": KEYS["authenticationKey"]}, "not readable"),
        (KEYS | {"encryptionKey": "D0D1"}, "encryptionKey must be 32 or 64 hexadecimal digits"),
        ({"encryptionKey": KEYS["encryptionKey"]}, "authenticationKey"),
    ):
        keys.write_text(json.dumps(written))
        said = complains(capsys, "decode", CIPHERED_GET, "--keys", str(keys), code=1)
        assert part in said
        assert "D0D1" not in said
    assert "No such file" in complains(capsys, "decode", "00", "--keys", str(tmp_path / "none"), code=1)


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("00zz", "not hexadecimal: 'z' at digit 3"),
        ("abc", "3 hexadecimal digits, an odd number"),
        (" ", "nothing to decode"),
        ("7EA00802232193BD657E", "wrong FCS"),
        ("0001001000010005c401", "a wrapper frame that is cut: 2 of 5 octets"),
        ("ff" * 40, "not readable"),
        ("60ff", "not readable"),
    ],
)
def test_what_is_no_frame_is_one_line(written: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = complains(capsys, "decode", written, code=1)
    assert part in said
    assert said.count("\n") == 1


def test_random_octets_never_end_in_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for length in range(1, 200):
        code = run(["decode", os.urandom(length).hex()])
        out, err = capsys.readouterr()
        assert (code, "internal error" in err, "Traceback" in err) in ((0, False, False), (1, False, False)), out


def test_frames_of_both_framings_and_apdus_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert answers(capsys, "decode", "7EA00802232193BD647E").startswith("HDLC frame: SNRM from 16 to 1/17 (2 octets)")
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{AARE_REJECTED}\n\n{CIPHERED_GET}\n")
    shown = answers(capsys, "decode", "--file", str(lines))
    assert [line for line in shown.splitlines() if not line.startswith(" ")] == ["AARE", "glo-get-request"]


def test_a_part_that_is_not_readable_is_shown_and_told_by_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decode", ACTION, "0001001000010002c401", ACTION]) == 1
    out, err = capsys.readouterr()
    assert out.count("action-request") == 2
    assert "not readable: a get-response ends too early" in out
    assert err == "metercast: 1 part could not be read\n"


@pytest.mark.parametrize("by", ["option", "name", "input"])
def test_a_capture(
    by: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = bytes.fromhex(ACTION)
    capture = pcap([ethernet(tcp(CLIENT, METER, 1, frame[:9])), ethernet(tcp(CLIENT, METER, 10, frame[9:]))])
    path = tmp_path / "meter.pcap"
    path.write_bytes(capture)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(capture)))
    arguments = {"option": ["--file", str(path)], "name": [str(path)], "input": []}[by]
    assert answers(capsys, "decode", *arguments).splitlines()[:3] == [
        "1970-01-01 00:16:41.000005 10.0.0.1:51000 > 10.0.0.9:4059",
        "  wrapper frame: from 48 to 1, 15 octets",
        "    action-request: ActionRequestNormal",
    ]
    if by == "option":
        (line,) = answers(capsys, "decode", "--json", *arguments).splitlines()
        said = json.loads(line)
        assert (said["time"], said["source"]) == ("1970-01-01T00:16:41.000005Z", "10.0.0.1:51000")
        assert said["frame"]["children"][0]["name"] == "action-request"


def test_a_capture_without_payload_or_one_that_is_cut(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "meter.pcap"
    path.write_bytes(pcap([ethernet(tcp(CLIENT, METER, 1))]))
    assert "no TCP payload" in complains(capsys, "decode", str(path), code=1)
    path.write_bytes(pcap([ethernet(tcp(CLIENT, METER, 1, bytes.fromhex(ACTION)))] * 2)[:-5])
    assert run(["decode", str(path)]) == 1
    out, err = capsys.readouterr()
    assert "action-request" in out
    assert "not readable: the file ends inside a packet" in out
    assert "1 part" in err


def test_keys_of_several_meters_or_of_their_records(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    other = KEYS | {"encryptionKey": "11" * 16}
    keys.write_text(json.dumps([other, KEYS]))
    assert "0.0.1.0.0.255" in answers(capsys, "decode", CIPHERED_GET, "--keys", str(keys))
    record = {"deviceId": "m", "associations": {"management": KEYS, "public": {"clientSap": 16}}}
    keys.write_text("".join(json.dumps(each) + "\n" for each in (record, record | {"deviceId": "n"})))
    assert "0.0.1.0.0.255" in answers(capsys, "decode", CIPHERED_GET, "--keys", str(keys))
    for written, part in (("[]", "holds no keys"), ("3", "not a JSON object"), ('{"key": 1}', "'key' is none of")):
        keys.write_text(written)
        assert part in complains(capsys, "decode", CIPHERED_GET, "--keys", str(keys), code=1)


def test_hex_and_a_file_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decode", "00", "--file", "x"]) == 2
    capsys.readouterr()
    assert "No such file" in complains(capsys, "decode", "--file", "/nowhere/x.pcap", code=1)
