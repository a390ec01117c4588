"""Every command against a real server and real simulated meters."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.cli.support import answers, complains, running_server, running_simulator

from metercast.cli.main import run

METERS = 6


class Site(NamedTuple):
    url: str
    data_dir: Path
    records: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    data_dir = directory / "data"
    with running_simulator(directory, "--meters", str(METERS)) as records, running_server(data_dir) as url:
        yield Site(url, data_dir, records)


@pytest.fixture(autouse=True)
def _settings(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("METERCAST_API_KEY", "METERCAST_KEY_FILE", "METERCAST_DATA_DIR", "METERCAST_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METERCAST_URL", site.url)


Capture = pytest.CaptureFixture[str]


def documents(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def registered(capsys: Capture, site: Site) -> None:
    answers(capsys, "devices", "import", str(site.records))


def test_import_list_show_put_and_delete(capsys: Capture, site: Site, tmp_path: Path) -> None:
    report = json.loads(answers(capsys, "devices", "import", str(site.records), "--json"))
    assert report["created"] + report["updated"] == METERS
    assert report["errors"] == []
    table = answers(capsys, "devices", "list", "--prefix", "meter-000")
    assert len(table.splitlines()) == METERS + 1
    assert "hls-gmac" in table
    listed = documents(answers(capsys, "devices", "list", "--json", "--limit", "2"))
    assert [each["deviceId"] for each in listed] == ["meter-0001", "meter-0002"]

    record = tmp_path / "record.json"
    record.write_text('{"connection": {"host": "10.0.0.1"}}')
    for device_id in ("odd/../id é?#%2F", "..", "import"):
        put = json.loads(answers(capsys, "devices", "put", device_id, str(record)))
        assert put["deviceId"] == device_id
        assert json.loads(answers(capsys, "devices", "show", device_id))["connection"]["host"] == "10.0.0.1"
        assert answers(capsys, "devices", "delete", device_id) == f"{device_id} is deleted\n"
        assert f"no device {device_id!r}" in complains(capsys, "devices", "show", device_id, code=1)


def test_an_import_goes_in_chunks_and_names_the_lines_of_the_file(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "meters.csv"
    lines = ["deviceId,host,port", *(f"csv-{number},10.0.0.{number},4059" for number in range(1, 8))]
    lines[3] = "csv-3,10.0.0.3,70000"  # line 4 of the file
    lines[7] = "csv-6,10.0.0.7,4059"  # line 8, and csv-6 is in line 7
    file.write_text("\n".join(lines) + "\n\n")

    report = json.loads(answers(capsys, "devices", "import", str(file), "--chunk", "3", "--json", code=1))
    assert (report["created"], report["badLines"], report["leftOut"]) == (3, 1, 2)
    assert [(bad["line"], bad["path"], bad["received"]) for bad in report["errors"]] == [
        (4, "connection.port", "70000"),
    ]

    report = json.loads(answers(capsys, "devices", "import", str(file), "--skip-bad", "--json", code=1))
    assert (report["created"], report["updated"], report["badLines"], report["leftOut"]) == (2, 3, 2, 0)
    assert (report["errors"][1]["line"], report["errors"][1]["reason"]) == (8, "stands in line 7 already")
    listed = documents(answers(capsys, "devices", "list", "--prefix", "csv-", "--json"))
    assert [each["deviceId"] for each in listed] == ["csv-1", "csv-2", "csv-4", "csv-5", "csv-6"]


def test_bad_lines_are_lines_on_stderr(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "meters.ndjson"
    good = '{"deviceId": "nd-1", "connection": {"host": "10.0.0.1"}}'
    file.write_bytes(f"{good}\nno json\n".encode() + b"\xff\xfe\n")
    assert run(["devices", "import", str(file)]) == 1
    out, err = capsys.readouterr()
    assert f"{file}:3: line: not UTF-8\n" in err
    assert "0 created" in out
    assert run(["devices", "import", str(file), "--skip-bad"]) == 1
    out, err = capsys.readouterr()
    assert f"{file}:2: " in err
    assert out.startswith("1 created, 0 updated, 2 bad lines")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "holds no line"),
        ("deviceId,host\n", "no meter in it"),
        ("deviceId,hots\nx,y\n", "no such column"),
        ("deviceId,host\n" + "x" * 70000, "line 2 is longer than"),
    ],
)
def test_a_file_that_is_no_import(content: str, part: str, capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "meters.csv"
    file.write_text(content)
    assert part in complains(capsys, "devices", "import", str(file), code=2 if not content else 1)


def test_a_task_from_flags_to_its_end(capsys: Capture, site: Site) -> None:
    registered(capsys, site)
    lines = answers(capsys, "submit", "--type", "READ_CLOCK", "--watch", "meter-0001", "meter-0002", "meter-0003")
    task_id, *progress = lines.splitlines()
    assert "COMPLETED 3 of 3: 3 success" in progress[-1]
    shown = answers(capsys, "show", task_id, "--devices")
    assert "3 devices: 3 success" in shown
    assert "outcome SUCCEEDED" in shown
    assert "meter-0003  SUCCESS" in shown
    assert json.loads(answers(capsys, "show", task_id, "--json"))["counts"]["success"] == 3
    whole = json.loads(answers(capsys, "show", task_id, "--json", "--devices"))
    assert [each["deviceId"] for each in whole["devices"]] == ["meter-0001", "meter-0002", "meter-0003"]
    filtered = documents(answers(capsys, "show", task_id, "--json", "--status", "success"))
    assert len(filtered) == 3
    one = answers(capsys, "show", task_id, "--device", "meter-0002")
    assert "SUCCESS" in one
    assert '"differenceSeconds"' in one
    assert json.loads(answers(capsys, "show", task_id, "--device", "meter-0002", "--json"))["attempts"] == 1
    watched = documents(answers(capsys, "watch", task_id, "--json"))
    assert watched[-1]["outcome"] == "SUCCEEDED"
    results = documents(answers(capsys, "results", task_id))
    assert [each["deviceId"] for each in results] == ["meter-0001", "meter-0002", "meter-0003"]
    assert all("differenceSeconds" in each["result"] for each in results)


def test_results_into_a_file_come_whole_or_not_at_all(capsys: Capture, site: Site, tmp_path: Path) -> None:
    registered(capsys, site)
    task_id, *_ = answers(capsys, "submit", "--type", "READ_CLOCK", "--watch", "meter-0004").splitlines()
    file = tmp_path / "results.ndjson"
    assert answers(capsys, "results", task_id, "--output", str(file)) == ""
    assert [each["deviceId"] for each in documents(file.read_text())] == ["meter-0004"]
    assert "no task 'none'" in complains(capsys, "results", "none", "--output", str(tmp_path / "none"), code=1)
    assert [each.name for each in tmp_path.iterdir()] == ["results.ndjson"]


def test_a_task_from_a_file_with_devices_from_standard_input(
    capsys: Capture, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(capsys, site)
    file = tmp_path / "task.json"
    file.write_text('{"commandId": "from-file", "commandType": "READ_REGISTERS", "priority": 1}')
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"meter-0001\r\n\nmeter-0002\n")))
    params = tmp_path / "params.json"
    params.write_text('{"items": [{"obis": "1.0.1.8.0.255"}]}')
    text = answers(
        capsys,
        *("submit", "--file", str(file), "--devices-file", "-", "--params", f"@{params}", "--json"),
        *("--max-attempts", "2", "--priority", "7"),
    )
    task = json.loads(text)
    assert (task["commandId"], task["priority"], task["retry"]["maxAttempts"]) == ("from-file", 7, 2)
    assert task["counts"]["total"] == 2
    answers(capsys, "watch", task["taskId"])
    found = json.loads(answers(capsys, "tasks", "--command-id", "from-file", "--json"))
    assert [each["taskId"] for each in found["tasks"]] == [task["taskId"]]
    table = answers(capsys, "tasks", "--device", "meter-0002", "--type", "READ_REGISTERS", "--limit", "1")
    assert table.splitlines()[1].split()[:4] == [task["taskId"], "READ_REGISTERS", "COMPLETED", "SUCCEEDED"]


def test_a_task_with_devices_from_a_file_of_any_size(capsys: Capture, site: Site, tmp_path: Path) -> None:
    registered(capsys, site)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    submit = ("submit", "--type", "READ_CLOCK", "--at", tomorrow, "--allow-unknown", "--json")
    plain = tmp_path / "ids.txt"
    plain.write_text("".join(f"m,{number}\n" for number in range(50_000)))
    task = json.loads(answers(capsys, *submit, "--devices-from", str(plain), "first"))
    assert task["counts"]["total"] == 50_001
    found = documents(answers(capsys, "show", task["taskId"], "--json", "--status", "PENDING"))
    assert [each["deviceId"] for each in found[:3]] == ["first", "m,0", "m,1"]
    table = tmp_path / "meters.csv"
    table.write_text('\ufeffsite,deviceId\r\nA,meter-0001\r\n\r\n"B, C",meter-0002\r\n,\r\n', newline="")
    once = (*submit, "--command-id", "c", "--idempotency-key", "csv", "--devices-from", str(table))
    task = json.loads(answers(capsys, *once))
    found = documents(answers(capsys, "show", task["taskId"], "--json", "--status", "PENDING"))
    assert [each["deviceId"] for each in found] == ["meter-0001", "meter-0002"]
    # The same task, its devices named in another way.
    again = [*once[: once.index("--devices-from")], "meter-0001", "meter-0002"]
    assert json.loads(answers(capsys, *again))["taskId"] == task["taskId"]


def test_what_is_wrong_with_a_file_of_devices_is_said_with_its_line(
    capsys: Capture, site: Site, tmp_path: Path
) -> None:
    registered(capsys, site)
    before = answers(capsys, "tasks", "--type", "READ_CLOCK", "--json")
    file = tmp_path / "ids"
    for content, arguments, said in (
        ("meter-0001\n\nmeter-0001\n", (), f"line 3 of {file}: deviceId: stands in line 1 of {file} already"),
        ("meter-0001\nmeter-0002\n", ("meter-0002",), f"line 2 of {file}: deviceId: stands in DEVICE 1 already"),
        ("meter-0001\nnobody\nnoone\n", (), f"line 2 of {file}: deviceId: not registered"),
        ("meter-0001\na\tb\n", (), f"line 2 of {file}: deviceId: a device id holds printable characters only"),
        ("x,deviceId\n1,meter-0001\n2,meter-0001\n", (), f"line 3 of {file}: deviceId: stands in line 2 of {file}"),
        ("", (), "devices: none"),
        ("\n\n", (), "devices: none"),
    ):
        file.write_text(content)
        asked = ("submit", "--type", "READ_CLOCK", "--devices-from", str(file), *arguments)
        assert said in complains(capsys, *asked, code=1)
    for octets, said in (
        (b"m\n\xff\n", "line 2 is not UTF-8"),
        (b"x,deviceId\n1\n", "line 2 has no deviceId"),
    ):
        file.write_bytes(octets)
        assert said in complains(capsys, "submit", "--type", "READ_CLOCK", "--devices-from", str(file), code=2)
    file.write_bytes(b"m\n" + b"x" * 70_000)
    said = complains(capsys, "submit", "--type", "READ_CLOCK", "--devices-from", str(file), code=1)
    assert "line 2 is longer than 65536 octets" in said
    gone = complains(capsys, "submit", "--type", "READ_CLOCK", "--devices-from", str(tmp_path / "none"), code=2)
    assert "No such file" in gone
    assert answers(capsys, "tasks", "--type", "READ_CLOCK", "--json") == before


def test_failures_show_their_word_and_the_exit_code_tells_the_outcome(capsys: Capture, site: Site) -> None:
    registered(capsys, site)
    lines = answers(
        capsys, "submit", "--type", "READ_CLOCK", "--allow-unknown", "--watch", "nobody", "meter-0001", code=10
    )
    assert "UnknownDevice 1" in lines.splitlines()[-1]
    task_id = lines.splitlines()[0]
    assert "UnknownDevice: 1" in answers(capsys, "show", task_id)
    assert "nobody" in answers(capsys, "show", task_id, "--error", "UnknownDevice")
    again = answers(capsys, "retry-failed", task_id).strip()
    assert again != task_id
    assert "FAILED 1 of 1" in answers(capsys, "watch", again, code=11)
    assert json.loads(answers(capsys, "show", again, "--json"))["parentTaskId"] == task_id


def test_pause_resume_and_cancel(capsys: Capture, site: Site) -> None:
    registered(capsys, site)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    task_id = answers(capsys, "submit", "--type", "READ_CLOCK", "--at", tomorrow, "meter-0001").strip()
    assert answers(capsys, "pause", task_id) == f"{task_id} is PAUSED; 1 device: 1 pending\n"
    assert json.loads(answers(capsys, "resume", task_id, "--json"))["status"] == "QUEUED"
    assert answers(capsys, "cancel", task_id) == f"{task_id} is CANCELLED; 1 device: 1 cancelled\n"
    assert "cannot resume" in complains(capsys, "resume", task_id, code=1)
    assert "CANCELLED 1 of 1" in answers(capsys, "watch", task_id, code=12)


def test_the_same_idempotency_key_makes_one_task(capsys: Capture, site: Site) -> None:
    registered(capsys, site)
    arguments = ("submit", "--type", "READ_CLOCK", "--command-id", "once", "--idempotency-key", "k1", "meter-0001")
    assert answers(capsys, *arguments) == answers(capsys, *arguments)
    assert "k1" in complains(capsys, *arguments, "meter-0002", code=1)


def test_what_the_server_refuses_is_one_line_that_names_the_field(capsys: Capture, site: Site) -> None:
    registered(capsys, site)
    for arguments, part in (
        (("submit", "--type", "NO_SUCH", "meter-0001"), "commandType: unknown"),
        (("submit", "--type", "READ_CLOCK", "nobody"), "devices: 1 not registered: 'nobody'"),
        (("submit", "--type", "READ_CLOCK", "--at", "2090-01-01T00:00:00", "meter-0001"), "scheduledAt"),
        (("submit", "--type", "READ_CLOCK", "--params", '{"x": 1}', "meter-0001"), "commandParams.x: unknown field"),
        (("show", "task-none"), "task-none"),
        (("tasks", "--from", "yesterday"), "from"),
        (("devices", "delete", "nobody"), "nobody"),
        (("keys", "revoke", "nokey"), "nokey"),
    ):
        said = complains(capsys, *arguments, code=1)
        assert part in said
        assert said.startswith("metercast: ")
        assert said.count("\n") == 1


def test_an_image_is_uploaded_used_and_deleted(capsys: Capture, site: Site, tmp_path: Path) -> None:
    registered(capsys, site)
    file = tmp_path / "image.bin"
    answers(capsys, "simulate", "--write-image", str(file))
    added = answers(capsys, "images", "add", str(file))
    assert added.startswith(f"image image.bin: {file.stat().st_size} octets, sha256:")
    again = json.loads(answers(capsys, "images", "add", str(file), "--json"))
    assert again["size"] == file.stat().st_size
    table = answers(capsys, "images", "list")
    assert again["sha256"] in table
    assert json.loads(answers(capsys, "images", "list", "--json"))["images"] == [again]
    parameters = json.dumps({"image": "image.bin", "version": "SIM-2.0", "rebootSeconds": 1})
    arguments = ("submit", "--type", "FIRMWARE_UPDATE", "--params", parameters, "--watch", "meter-0002")
    answers(capsys, *arguments)
    assert "the same octets" in complains(capsys, "images", "add", str(file), "--name", "other", code=1)
    assert answers(capsys, "images", "delete", "image.bin") == "image image.bin is deleted\n"
    assert "no image 'image.bin'" in complains(capsys, "images", "delete", "image.bin", code=1)
    assert "commandParams.image" in complains(capsys, *arguments, code=1)
    complains(capsys, "images", "add", str(tmp_path / "none"), code=2)


def test_keys_are_made_shown_once_and_revoked(capsys: Capture, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "billing.key"
    said = answers(capsys, "keys", "create", "billing", "--role", "viewer", "--out", str(file))
    token = file.read_text().strip()
    assert token not in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert "cannot create" in complains(
        capsys, "keys", "create", "billing", "--role", "viewer", "--out", str(file), code=1
    )
    key_id = token.split("_")[1]
    assert "viewer" in complains(
        capsys, "submit", "--type", "READ_CLOCK", "meter-0001", "--key-file", str(file), code=1
    )
    answers(capsys, "tasks", "--key-file", str(file))
    table = answers(capsys, "keys", "list", "--data-dir", str(site.data_dir))
    assert key_id in table
    assert token not in table
    assert answers(capsys, "keys", "revoke", key_id) == f"{key_id} (billing) is revoked\n"
    assert "unknown or revoked" in complains(capsys, "tasks", "--key-file", str(file), code=1)
    shown = answers(capsys, "keys", "create", "other", "--role", "operator").strip()
    assert shown.startswith("mc_")
    listed = json.loads(answers(capsys, "keys", "list", "--json"))["keys"]
    assert {"billing", "other", "admin"} == {each["name"] for each in listed}


def test_a_key_of_the_environment_goes_before_the_data_directory(
    capsys: Capture, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERCAST_API_KEY", "mc_wrong")
    assert "unknown or revoked" in complains(capsys, "tasks", "--data-dir", str(site.data_dir), code=1)
    answers(capsys, "tasks", "--key-file", str(site.data_dir / "admin.key"))


def test_no_key_file_is_made_where_the_server_makes_no_key(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.key"
    monkeypatch.setenv("METERCAST_API_KEY", "mc_wrong")
    complains(capsys, "keys", "create", "x", "--role", "admin", "--out", str(file), code=1)
    assert not file.exists()


def test_a_list_of_another_system_with_a_key_file(capsys: Capture, tmp_path: Path) -> None:
    settings = "&lt;IP&gt;10.0.0.{0}&lt;/IP&gt;"
    meter = (
        "<GXDLMSDevice><Name>gx-{0}</Name><MediaType>Gurux.Net.GXNet</MediaType>"
        f"<MediaSettings>{settings}</MediaSettings><InterfaceType>1</InterfaceType>"
        "<Authentication>HighGMAC</Authentication></GXDLMSDevice>\n"
    )
    file, keys = tmp_path / "list.gxc", tmp_path / "keys.csv"
    file.write_text(
        f"<ArrayOfGXDLMSDevice>\n{''.join(meter.format(number) for number in (1, 2))}</ArrayOfGXDLMSDevice>"
    )
    keys.write_text(f"Serial;GUEK;AK;Batch\ngx-1;{'0A' * 16};{'0B' * 16};7\ngx-2;{'0C' * 16};{'0D' * 16};7\n")
    arguments = ("devices", "import", str(file), "--with", str(keys), "--set", "clientSystemTitle=4D43530000000001")
    assert run(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("2 created, 0 updated\n", f"{keys}: columns that are not taken over: Batch\n")
    shown = json.loads(answers(capsys, "devices", "show", "gx-2"))
    assert shown["secrets"]["management"] == ["encryptionKey", "authenticationKey"]

    keys.write_text("Serial;GUEK\ngx-3;" + "0A" * 16)
    assert "no meter in the list for gx-3 (line 2)" in complains(capsys, *arguments, code=1)
    keys.write_text("Serial;GUEK\ngx-1;" + "0F" * 15)
    message = complains(capsys, *arguments, code=1)
    assert "line 2: encryptionKey" in message
    assert "0F0F" not in message
    assert "write COLUMN=VALUE" in complains(capsys, "devices", "import", str(file), "--set", "x", code=2)


def _register(capsys: Capture, tmp_path: Path, *rows: str) -> None:
    file = tmp_path / "registered.csv"
    header = "deviceId,host,serverSystemTitle,logicalDeviceName,clientSap,authentication,password"
    file.write_text("\n".join((header, *rows)))
    answers(capsys, "devices", "import", str(file))


def test_a_key_file_alone_for_meters_that_are_registered(capsys: Capture, tmp_path: Path) -> None:
    rows = [f"key-{number},10.0.0.{number},4D4D4D00000000A{number},ABC{number},1,lls,p" for number in (1, 2)]
    _register(capsys, tmp_path, *rows)
    before = json.loads(answers(capsys, "devices", "show", "key-1"))
    keys = tmp_path / "keys.csv"
    command = ("devices", "keys", str(keys))
    for kind, header in (("deviceId", "Serial"), ("title", "System Title"), ("name", "LDN")):
        names = {"deviceId": "key-{0}", "title": "4d4d4d00000000a{0}", "name": "ABC{0}"}[kind]
        lines = [f"{names.format(number)};{'0A' * 16};0x{'0B' * 16};7" for number in (1, 2)]
        keys.write_text("\n".join((f"{header};GUEK;AK;Batch", *lines)))
        assert run(list(command)) == 0
        out, err = capsys.readouterr()
        assert (out, err) == ("0 created, 2 updated\n", f"{keys}: columns that are not taken over: Batch\n")
    after = json.loads(answers(capsys, "devices", "show", "key-1"))
    assert after["secrets"]["management"] == ["password", "encryptionKey", "authenticationKey"]
    changed = {"secrets", "updatedAt"}
    assert {**after, **dict.fromkeys(changed)} == {**before, **dict.fromkeys(changed)}


def test_a_key_file_with_a_meter_that_is_not_known_changes_none(capsys: Capture, tmp_path: Path) -> None:
    title, twice = "4D4D4D00000000B1", "4D4D4D00000000B2"
    _register(capsys, tmp_path, f"kf-1,h,{title},,1,lls,p", f"kf-2,h,{twice},,1,lls,p", f"kf-3,h,{twice},,1,lls,p")
    keys, key = tmp_path / "keys.csv", "0E" * 16
    keys.write_text(f"system title,EK\n{title},{key}\n{twice},{key}\n4D4D4D00000000B3,{key}\n4D4D4D00000000B4,\n")
    report = json.loads(answers(capsys, "devices", "keys", str(keys), "--json", code=1))
    assert (report["updated"], report["badLines"], report["leftOut"]) == (0, 3, 1)
    assert [(bad["line"], bad["reason"]) for bad in report["errors"]] == [
        (3, "more than one registered meter has it"),
        (4, "no registered meter has it"),
        (5, "no secret in it"),
    ]
    assert json.loads(answers(capsys, "devices", "show", "kf-1"))["secrets"]["management"] == ["password"]
    assert run(["devices", "keys", str(keys), "--skip-bad"]) == 1
    out, err = capsys.readouterr()
    assert out == "0 created, 1 updated, 3 bad lines, 0 good lines left out beside them\n"
    assert f"{keys}:4: serverSystemTitle: no registered meter has it; received 4D4D4D00000000B3" in err
    assert key not in out + err

    keys.write_text(f"serial,EK\nkf-1,{key}\nkf-9,{key}\n")
    report = json.loads(answers(capsys, "devices", "keys", str(keys), "--json", code=1))
    (bad,) = report["errors"]
    assert (report["updated"], bad["line"], bad["reason"]) == (0, 3, "no such meter is registered")
    keys.write_text(f"serial,EK\nkf-1,{key[2:]}")
    message = complains(capsys, "devices", "keys", str(keys), code=1)
    assert "line 2: encryptionKey" in message
    assert key[2:] not in message
    keys.write_text("serial,host\nkf-1,h")
    assert "no column holds a secret" in complains(capsys, "devices", "keys", str(keys), code=1)
    keys.write_text("serial,EK\n")
    assert "no meter in it" in complains(capsys, "devices", "keys", str(keys), code=1)


def test_a_bad_meter_of_another_systems_list_keeps_the_others_back(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "dlms_device.csv"
    file.write_text(
        "device_identification,port,hls5active,use_sn,network_address\n"
        "gxf-1,4059,f,f,10.0.0.1\ngxf-2,4059,f,t,10.0.0.2\ngxf-3,99999,f,f,10.0.0.3\n"
    )
    report = json.loads(answers(capsys, "devices", "import", str(file), "--json", code=1))
    assert (report["created"], report["badLines"], report["leftOut"]) == (0, 1, 2)
    report = json.loads(answers(capsys, "devices", "import", str(file), "--skip-bad", "--json", code=1))
    assert (report["created"], report["badLines"]) == (1, 2)
    assert sorted((bad["line"], bad["path"]) for bad in report["errors"]) == [(3, "use_sn"), (4, "connection.port")]
