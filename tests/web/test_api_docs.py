"""docs/api.md is run: each curl in order, each answer held to what is printed."""

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.web.conftest import Api, open_api

from metercast.config import Config
from metercast.domain.problem import Conflict, Forbidden, InvalidField, NotFound, Problem, Unavailable
from metercast.engine.decoding import Malformed
from metercast.engine.line_report import InvalidLines, LineError
from metercast.web.problems import (
    ContentTooLarge,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
    document_of,
)

DOCS = Path(__file__).parent.parent.parent / "docs" / "api.md"
_EXAMPLE = re.compile(
    r"^```sh\n(?P<curl>.*?)\n```\n`(?P<status>\d+)`(?P<text>.*?)(?=^```sh|^#|\Z)", re.MULTILINE | re.DOTALL
)
_ANSWER = re.compile(r"^```json\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


@dataclass
class Example:
    curl: str
    status: int
    answer: Any


def _examples() -> list[Example]:
    text = DOCS.read_text()
    found = [
        Example(each["curl"], int(each["status"]), answer and msgspec.json.decode(answer[1]))
        for each in _EXAMPLE.finditer(text)
        for answer in [_ANSWER.search(each["text"])]
    ]
    assert len(found) == text.count("```sh\n")
    return found


async def _run(client: httpx.AsyncClient, curl: str) -> httpx.Response:
    words = shlex.split(curl)
    assert words.pop(0) == "curl"
    method, content, url = None, None, ""
    headers: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-binary"):
            content = words.pop(0)
        else:
            url = word
    return await client.request(method or "GET", url, headers=headers, content=content)


def _same_shape(documented: Any, real: Any, at: str) -> None:
    """The same names and kinds at every depth; null stands beside anything."""
    if documented is None or real is None:
        return
    numbers = isinstance(documented, int | float) and isinstance(real, int | float)
    assert numbers or type(documented) is type(real), at
    if isinstance(documented, dict):
        assert list(documented) == list(real), at
        for name, each in documented.items():
            _same_shape(each, real[name], f"{at}.{name}")
    if isinstance(documented, list):
        assert len(documented) == len(real), at
        for index, each in enumerate(documented):
            _same_shape(each, real[index], f"{at}[{index}]")


def _document(response: httpx.Response) -> Any:
    """Of lines the first one."""
    lines = response.headers.get("content-type", "").startswith("application/x-ndjson")
    return msgspec.json.decode(response.content.splitlines()[0]) if lines else response.json()


async def answers(api: Api) -> list[tuple[Example, httpx.Response]]:
    """Each documented request, and what it really is answered."""
    names: dict[str, str] = {}
    pairs = []
    for example in _examples():
        curl = example.curl
        for name, value in names.items():
            curl = curl.replace(f"${name}", value)
        response = await _run(api.client, curl)
        body = _document(response) if response.content else {}
        if response.status_code == 201 and "taskId" in body and "traceId" not in body:
            names.setdefault("TASK", body["taskId"])
            await api.ended(body["taskId"])
        if "traceId" in body:
            names.setdefault("TRACE", body["traceId"])
        if "key" in body:
            names["KEY"] = body["keyId"]
        pairs.append((example, response))
    return pairs


async def test_each_request_is_answered_as_documented(config: Config) -> None:
    async with open_api(replace(config, trace_dir=config.data_dir / "traces")) as api:
        pairs = await answers(api)
    assert len(pairs) > 17
    for example, response in pairs:
        assert response.status_code == example.status, (example.curl, response.text)
        if example.answer is not None:
            _same_shape(example.answer, _document(response), example.curl.splitlines()[0])


def test_the_table_of_problems_is_whole() -> None:
    problems: list[Problem] = [
        Malformed(""),
        RequestTimeout(""),
        ContentTooLarge(""),
        Unauthorized(""),
        Forbidden(""),
        NotFound(""),
        Conflict(""),
        UnsupportedMediaType(""),
        InvalidField("", "", ""),
        InvalidLines("", [LineError(1, "", "")], 1),
        Unavailable(""),
    ]
    rows = re.findall(r"^\| (\d{3}) \| `([\w:-]+)` \|", DOCS.read_text(), re.MULTILINE)
    documented = {(int(status), type_) for status, type_ in rows}
    own = {(each.status, each.type) for each in map(document_of, problems)}
    assert own <= documented
    assert {status for status, _ in documented - own} == {405, 500}
