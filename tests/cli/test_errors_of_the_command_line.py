"""Whatever goes wrong is one line on stderr and an exit code, never a traceback."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.support import METERCAST, SECONDS, answers, complains, environment

from metercast.cli import exits
from metercast.cli.main import run

Capture = pytest.CaptureFixture[str]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "API_KEY", "KEY_FILE", "DATA_DIR", "CA_FILE", "ALLOW_HTTP"):
        monkeypatch.delenv(f"METERCAST_{name}", raising=False)


@contextmanager
def listening(serve: Serve) -> Iterator[str]:
    """The URL of something that answers as `serve` does, in a thread of its own."""
    ready = threading.Event()
    found: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            end = asyncio.Event()
            found.append((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), end))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(SECONDS)
    port, loop, end = found[0]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(SECONDS)


def answering(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    return serve


def http(status: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def test_nobody_listens(capsys: Capture) -> None:
    said = complains(capsys, "tasks", "--url", "http://127.0.0.1:1", code=exits.NOT_REACHED)
    assert said == "metercast: cannot connect to http://127.0.0.1:1: Connection refused\n"


def test_no_such_host(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    said = complains(capsys, "tasks", "--url", "https://no-such-host.invalid", code=exits.NOT_REACHED)
    assert said.startswith("metercast: cannot connect to https://no-such-host.invalid: ")


@pytest.mark.parametrize(
    ("answer", "part", "code"),
    [
        (http("200 OK", b"<html>hello</html>", "text/html"), "not as Metercast does", 1),
        (http("502 Bad Gateway", b"<html>nginx</html>", "text/html"), "answered 502", 1),
        (http("200 OK", b"[1, 2"), "not as Metercast does", 1),
        (http("200 OK", b'"text"'), "not as Metercast does", 1),
        (http("403 Forbidden", b'{"title": "Forbidden", "status": 403, "detail": "no"}'), "metercast: no\n", 1),
        (http("503 Service Unavailable", b'{"title": "Unavailable"}'), "metercast: Unavailable\n", 1),
        (http("200 OK", b"\xff\xfe"), "not as Metercast does", 1),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off", exits.NOT_REACHED),
        (b"", "broke off", exits.NOT_REACHED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", "broke off", exits.NOT_REACHED),
    ],
)
def test_something_else_answers(answer: bytes, part: str, code: int, capsys: Capture) -> None:
    with listening(answering(answer)) as url:
        said = complains(capsys, "show", "task-1", "--json", "--url", url, code=code)
    assert part in said
    assert said.count("\n") == 1


def test_an_answer_that_lacks_what_every_answer_has_is_no_traceback(capsys: Capture) -> None:
    with listening(answering(http("200 OK", b"{}"))) as url:
        for arguments, name in (
            ("show t", "errors"),
            ("tasks", "tasks"),
            ("watch t", "errors"),
            ("keys list", "keys"),
            ("devices list", "devices"),
            ("cancel t", "taskId"),
        ):
            assert run([*arguments.split(), "--url", url]) == 1
            out, err = capsys.readouterr()
            assert err == f"metercast: {url} is no Metercast, or another version: its answer lacks {name!r}\n", out


def test_https_to_a_server_that_speaks_http(capsys: Capture) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(http("400 Bad Request", b"{}"))
        writer.close()
        await writer.wait_closed()

    with listening(serve) as url:
        said = complains(capsys, "tasks", "--url", url.replace("http", "https"), code=exits.NOT_REACHED)
    assert "cannot connect" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("ftp://127.0.0.1", "is no server's URL"),
        ("127.0.0.1:8080", "is no server's URL"),
        ("http://", "is no server's URL"),
        ("http://127.0.0.1:99999", "is no URL"),
        ("http://[::1", "is no URL"),
        ("http://user:secret@127.0.0.1", "must not hold a user"),
    ],
)
def test_a_url_that_is_none(url: str, part: str, capsys: Capture) -> None:
    said = complains(capsys, "tasks", "--url", url, code=exits.USAGE)
    assert part in said
    assert "secret" not in said


def test_a_key_never_goes_unencrypted_to_another_machine(capsys: Capture, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("mc_1_secretsecret\n")
    arguments = ("tasks", "--url", "http://192.0.2.1", "--key-file", str(key))
    said = complains(capsys, *arguments, code=exits.USAGE)
    assert "would go to 192.0.2.1 unencrypted" in said
    assert "secretsecret" not in said


def test_a_key_file_that_is_none(capsys: Capture, tmp_path: Path) -> None:
    for content, part in ((b"", "holds no API key"), (b"\xff\xfe", "holds no API key"), (b"a\nb", "holds no API key")):
        (tmp_path / "key").write_bytes(content)
        assert part in complains(capsys, "tasks", "--key-file", str(tmp_path / "key"), code=exits.USAGE)
    assert "No such file" in complains(capsys, "tasks", "--key-file", str(tmp_path / "none"), code=exits.USAGE)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("submit", "--type", "X"), "names no devices"),
        (("submit", "d"), "names no commandType"),
        (("submit", "--file", "-", "--devices-file", "-"), "not both"),
        (("submit", "--type", "X", "--params", "{", "d"), "--params is no JSON"),
        (("submit", "--type", "X", "--params", "[]", "d"), "must hold a JSON object"),
        (("submit", "--type", "X", "--params", "@/no/such/file", "d"), "No such file"),
        (("submit", "--file", "/no/such/file"), "No such file"),
        (("show", "t", "--device", "d", "--status", "FAILED"), "goes with no filter"),
        (("show", "t", "--status", "DONE"), "DONE"),
        (("nope",), "No such command"),
        (("demo", "--meters", "3"), "3 is not in the range"),
        (("serve", "--port", "abc"), "'abc' is no whole number"),
        (("serve", "--host", "0.0.0.0"), "not a loopback address"),
        (("devices", "put", "d", "/no/such/file"), "No such file"),
        (("devices", "import", "/no/such/file"), "No such file"),
    ],
)
def test_usage(arguments: tuple[str, ...], part: str, capsys: Capture) -> None:
    assert part in complains(capsys, *arguments, code=exits.USAGE)


def test_an_id_that_can_be_none(capsys: Capture) -> None:
    for wrong in ("", "a\nb", "\udcff"):
        assert "no id" in complains(capsys, "show", wrong, code=1)


def test_a_submission_without_an_answer_says_how_to_ask_again(capsys: Capture) -> None:
    said = complains(
        capsys, "submit", "--type", "READ_CLOCK", "d", "--url", "http://127.0.0.1:1", code=exits.NOT_REACHED
    )
    assert "--idempotency-key cli-" in said
    assert "--command-id cli-" in said


def test_a_defect_of_ours_is_one_line_too(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no good")

    monkeypatch.setattr("metercast.cli.decode.parse_hex", fails)
    assert complains(capsys, "decode", "00", code=1) == "metercast: internal error: RuntimeError: no good\n"


def test_commands_are_listed_and_explained_without_a_server(capsys: Capture) -> None:
    assert "SET_TOU" in answers(capsys, "commands")
    assert '"READ_CLOCK"' in answers(capsys, "commands", "--json")
    assert "calendarName" in answers(capsys, "commands", "SET_TOU")
    assert "commandType: unknown" in complains(capsys, "commands", "NOPE", code=1)


def test_a_reader_that_has_gone_is_no_error_to_tell() -> None:
    script = f"{sys.executable} -m metercast commands SET_TOU | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env=environment(), timeout=SECONDS
    )
    assert done.stderr == ""


def interrupted(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """Ctrl-C, and again where Python dropped it: it may come while a callback runs whose errors go nowhere."""
    for _ in range(10):
        process.send_signal(2)
        try:
            return process.communicate(timeout=SECONDS / 10)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("Ctrl-C does not end it")


def test_ctrl_c_ends_without_a_word() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()

    asked = threading.Event()
    with listening(never) as url:
        process = subprocess.Popen(
            [*METERCAST, "tasks", "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        with process:
            assert asked.wait(SECONDS)
            out, err = interrupted(process)
    assert (process.returncode, out, err.strip()) == (exits.INTERRUPTED, b"", b"")
