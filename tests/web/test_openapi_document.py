"""The OpenAPI document: whole, consistent, and true."""

import re
from typing import Any

import msgspec
import pytest
from tests.web.conftest import Api

from metercast.commands.registry import COMMANDS
from metercast.domain.words import ErrorWord
from metercast.store.results import ResultLine
from metercast.web import examples
from metercast.web.app import ROUTES
from metercast.web.openapi import build, call_of

DOCUMENT = build(ROUTES, COMMANDS)
OPERATIONS = [
    (path, method, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values()))
    if isinstance(value, list):
        return set().union(*map(_references, value))
    return set()


def _resolve(schema: Any) -> Any:
    if "$ref" in schema:
        return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _check(value: Any, schema: Any, at: str) -> None:
    """A small validator: enough of JSON Schema for what msgspec writes."""
    schema = _resolve(schema)
    if "anyOf" in schema:
        problems = []
        for each in schema["anyOf"]:
            try:
                return _check(value, each, at)
            except AssertionError as error:
                problems.append(str(error))
        raise AssertionError(f"{at}: {problems}")
    if "enum" in schema:
        assert value in schema["enum"], at
        return None
    kinds: dict[str, Any] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    kind = schema.get("type")
    if kind == "null":
        assert value is None, at
    elif kind is not None:
        assert isinstance(value, kinds[kind]), f"{at}: {value!r} is no {kind}"
    if kind == "array":
        for index, each in enumerate(value):
            _check(each, schema.get("items", {}), f"{at}[{index}]")
    if kind == "object" and "properties" in schema:
        for name in schema.get("required", []):
            assert name in value, f"{at}: {name} is missing"
        for name, each in value.items():
            assert name in schema["properties"], f"{at}: {name} is not documented"
            _check(each, schema["properties"][name], f"{at}.{name}")
    return None


def test_it_names_every_route_and_no_other() -> None:
    routes = {
        (re.sub(r"\{(\w+):str\}", "{}", path), method.lower())
        for handler in ROUTES
        for path in handler.paths
        for method in handler.http_methods
    }
    assert {(re.sub(r"\{\w+\}", "{}", path), method) for path, method, _ in OPERATIONS} == routes
    assert len(routes) == len(ROUTES) == 33


def test_it_has_what_openapi_asks_for() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for path, method, operation in OPERATIONS:
        assert operation["summary"]
        assert set(operation["tags"]) <= tags
        in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))
        names = [(each["in"], each["name"]) for each in operation["parameters"]]
        assert len(names) == len(set(names))
        for status, response in operation["responses"].items():
            assert re.fullmatch("[1-5][0-9][0-9]", status)
            assert response["description"]
        assert ("requestBody" in operation) <= (method in ("post", "put"))
        for scheme in operation["security"]:
            assert set(scheme) <= set(DOCUMENT["components"]["securitySchemes"])


def test_each_reference_leads_somewhere_and_each_type_is_used() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    references = {each.removeprefix("#/components/schemas/") for each in _references(DOCUMENT)}
    assert references == set(schemas)


def test_error_responses_are_problems() -> None:
    for path, _, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], path
        secured = bool(operation["security"])
        assert ("401" in operation["responses"]) == ("403" in operation["responses"]) == secured


def test_commands_and_error_words_are_all_there() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    task = schemas["SubmitRequest"]["properties"]
    assert task["commandType"]["enum"] == sorted(COMMANDS)
    named = {each["$ref"].rpartition("/")[2] for each in task["commandParams"]["anyOf"] if "$ref" in each}
    assert named == {command.parameters.__name__ for command in COMMANDS.values()}
    assert schemas["ErrorWord"]["enum"] == sorted(word.value for word in ErrorWord)
    for word in ErrorWord:
        assert f"`{word.value}`: {word.error_class.value}" in schemas["ErrorWord"]["description"]


def test_secrets_are_taken_and_never_answered() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {"password", "encryptionKey", "authenticationKey"} <= set(schemas["AssociationRequest"]["properties"])
    assert {"password", "encryptionKey", "authenticationKey"}.isdisjoint(schemas["Association"]["properties"])


@pytest.mark.parametrize("handler", ROUTES, ids=lambda handler: handler.handler_name)
def test_examples_are_of_their_type(handler: Any) -> None:
    call = call_of(handler)
    if call.body is not None:
        _check(call.body_example, {"$ref": f"/{call.body.__name__}"}, "body")
        msgspec.convert(call.body_example, call.body)
    if call.example is not None:
        for status, type_ in call.returns.items():
            if isinstance(type_, str):  # lines, each of which is JSON
                assert [msgspec.json.decode(line, type=ResultLine) for line in call.example.splitlines()]
                continue
            _check(call.example, {"$ref": f"/{type_.__name__}"}, str(status))


async def test_the_examples_are_what_the_api_takes_and_answers(api: Api) -> None:
    put = await api.client.put("/devices/meter-001", json=examples.METER)
    assert put.status_code == 201
    assert put.json().keys() == examples.METER_VIEW.keys()
    for media_type, content in (("text/csv", examples.CSV), ("application/x-ndjson", examples.NDJSON)):
        imported = await api.client.post("/devices/import", content=content, headers={"Content-Type": media_type})
        assert imported.json() == examples.IMPORTED
    await api.register("meter-002")
    task = (await api.client.post("/tasks", json=examples.SUBMIT)).json()
    assert task.keys() == examples.TASK.keys()
    for media_type, content in (
        ("text/csv", examples.SUBMIT_CSV),
        ("application/x-ndjson", examples.SUBMIT_NDJSON),
    ):
        response = await api.client.post("/tasks", content=content, headers={"Content-Type": media_type})
        assert (response.status_code, response.json()["counts"]["total"]) == (201, 2)
    document = (await api.client.get(f"/tasks/{task['taskId']}")).json()
    assert document.keys() == examples.TASK_DOCUMENT.keys()
    assert document["devices"][0].keys() == examples.DEVICES[0].keys()
    device = (await api.client.get(f"/tasks/{task['taskId']}/devices/meter-001")).json()
    assert device.keys() == examples.DEVICE_COMMAND.keys()
    key = (await api.client.post("/keys", json=examples.KEY)).json()
    assert key.keys() == examples.NEW_KEY.keys()


async def test_answers_are_as_documented(api: Api) -> None:
    await api.register("m-1", "bad-2")
    task_id = (await api.submit("m-1", "bad-2")).json()["taskId"]
    await api.ended(task_id)
    problem = await api.client.get("/tasks?limit=0")
    _check(problem.json(), {"$ref": "/ProblemDocument"}, "problem")
    for path, name in (
        ("/tasks", "TaskPage"),
        (f"/tasks/{task_id}", "TaskDocument"),
        (f"/tasks/{task_id}?devices=false", "Task"),
        (f"/tasks/{task_id}/devices", "DevicePage"),
        (f"/tasks/{task_id}/devices/bad-2", "DeviceCommandDetail"),
        (f"/tasks/{task_id}/errors", "ErrorSummary"),
        ("/devices", "MeterPage"),
        ("/devices/m-1", "MeterView"),
        ("/keys", "KeyList"),
        ("/healthz", "Status"),
        ("/readyz", "Status"),
    ):
        _check((await api.client.get(path)).json(), {"$ref": f"/{name}"}, path)


async def test_it_is_served_to_programs_and_to_people(idle_api: Api) -> None:
    for path, headers in (("/schema/openapi.json", {}), ("/schema", {}), ("/schema", {"Accept": "application/json"})):
        response = await idle_api.client.get(path, headers=headers)
        assert response.headers["content-type"] == "application/json"
        assert response.json() == DOCUMENT
    page = await idle_api.client.get("/schema", headers={"Accept": "text/html,application/xhtml+xml"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path, _, operation in OPERATIONS:
        assert path in page.text
        assert operation["summary"] in page.text.replace("&#x27;", "'")
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=.?https?:", page.text)
    anchors = set(re.findall(r'id="([^"]+)"', page.text))
    assert set(re.findall(r"href=[\"']#([^\"']+)", page.text)) <= anchors
