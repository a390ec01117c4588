"""The OpenAPI 3.1 document, drawn from the calls themselves and the types that they read and answer with."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler

from metercast import __version__
from metercast.commands.contract import CommandType
from metercast.domain.words import ERROR_CLASSES
from metercast.engine.submission import SubmitRequest
from metercast.web.calls import JSON, PROBLEM, Call
from metercast.web.problems import ProblemDocument

_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+):str\}")

Document = dict[str, Any]

_DESCRIPTION = """Metercast takes one DLMS/COSEM command, drives it to every meter of a fleet at the time it is due, \
and always knows what each meter did.

Times are RFC 3339 in UTC. Ids in a path are percent-encoded. A call with a field or a parameter that is not known is \
refused. Every error is a problem document (RFC 9457). On a loopback address a call without an API key is the local \
admin's; everywhere else each call needs one."""


def build(handlers: Iterable[HTTPRouteHandler], commands: Mapping[str, CommandType]) -> Document:
    """The whole document, as plain values."""
    routes = [(handler, call_of(handler)) for handler in handlers]
    components = _components([call for _, call in routes], commands)
    paths: Document = {}
    for handler, call in routes:
        for path in sorted(handler.paths):
            methods = paths.setdefault(_PARAMETER.sub(lambda found: "{" + _camel(found[1]) + "}", path), {})
            for method in sorted(handler.http_methods):
                methods[method.lower()] = _operation(handler, call, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Metercast",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": group} for group in dict.fromkeys(call.group for _, call in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def call_of(handler: HTTPRouteHandler) -> Call:
    call = handler.opt["call"]
    assert isinstance(call, Call)
    return call


def _components(calls: list[Call], commands: Mapping[str, CommandType]) -> Document:
    types: list[Any] = [ProblemDocument]
    for call in calls:
        types += [each for each in (call.body, call.query) if each is not None]
        types += [each for each in call.returns.values() if each is not None and not isinstance(each, str)]
    parameters = {name: command.parameters for name, command in sorted(commands.items())}
    unique = list(dict.fromkeys([*types, *parameters.values()]))
    schemas, found = msgspec.json.schema_components(unique, ref_template=_REFERENCE)
    by_type = dict(zip(unique, schemas, strict=True))
    for call in calls:
        if call.query is not None:
            found.pop(call.query.__name__)  # its fields stand as parameters
    of_commands = found[SubmitRequest.__name__]["properties"]
    of_commands["commandType"] = {"type": "string", "enum": list(parameters)}
    lines = [f"- `{name}`: {commands[name].summary}" for name in parameters]
    of_commands["commandParams"] = {
        "description": "By `commandType`:\n" + "\n".join(lines),
        "anyOf": _distinct(by_type[each] for each in parameters.values()),
    }
    words = [f"- `{word.value}`: {kind.value}" for word, kind in ERROR_CLASSES.items()]
    found["ErrorWord"]["description"] = "Why a device failed or waits, and what that means:\n" + "\n".join(words)
    return found


def _distinct(schemas: Iterable[Document]) -> list[Document]:
    kept: list[Document] = []
    for schema in schemas:
        if schema not in kept:
            kept.append(schema)
    return [*kept, {"type": "null"}]


def _operation(handler: HTTPRouteHandler, call: Call, path: str) -> Document:
    operation: Document = {
        "operationId": _camel(handler.handler_name),
        "tags": [call.group],
        "summary": call.summary,
        "description": _description(call),
        "parameters": [*_path_parameters(path), *_query_parameters(call), *_header_parameters(call)],
        "responses": _responses(call),
        "security": [] if call.role is None else [{"apiKey": []}],
    }
    body = _body(call)
    return operation | ({"requestBody": body} if body else {})


def _description(call: Call) -> str:
    who = "Open to all." if call.role is None else f"Needs the role {call.role.value}."
    return f"{call.description}\n\n{who}".strip()


def _path_parameters(path: str) -> list[Document]:
    return [
        {"name": _camel(name), "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]


def _query_parameters(call: Call) -> list[Document]:
    if call.query is None:
        return []
    _, found = msgspec.json.schema_components([call.query], ref_template=_REFERENCE)
    parameters = []
    for name, schema in found[call.query.__name__]["properties"].items():
        parameter: Document = {"name": name, "in": "query", "required": False, "schema": schema}
        if "description" in schema:
            parameter["description"] = schema["description"]
        parameters.append(parameter)
    return parameters


def _header_parameters(call: Call) -> list[Document]:
    if not call.idempotent:
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": 255}
    text = "The same key with the same body answers with the same task; with another body it is refused (409)."
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "description": text, "schema": schema}]


def _body(call: Call) -> Document | None:
    content: Document = {}
    if call.body is not None:
        schema = {"$ref": _REFERENCE.format(name=call.body.__name__)}
        content[JSON] = {"schema": schema, "example": call.body_example}
    for name, text in call.bodies.items():
        content[name] = {"schema": {"type": "string"}, "example": text}
    return {"required": True, "content": content} if content else None


def _responses(call: Call) -> Document:
    responses: Document = {}
    for status, type_ in call.returns.items():
        response: Document = {"description": HTTPStatus(status).phrase}
        if isinstance(type_, str):
            text: Document = {"schema": {"type": "object" if type_ == JSON else "string"}}
            if isinstance(call.example, str):
                text["example"] = call.example
            response["content"] = {type_: text}
        elif type_ is not None:
            media: Document = {"schema": {"$ref": _REFERENCE.format(name=type_.__name__)}}
            if call.example is not None:
                media["example"] = call.example
            response["content"] = {JSON: media}
        responses[str(status)] = response
    of_role = () if call.role is None else (401, 403)
    for status in sorted({*call.errors, *of_role, 500, 503}):
        problem = {"schema": {"$ref": _REFERENCE.format(name=ProblemDocument.__name__)}}
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": {PROBLEM: problem}}
    return responses


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(each.capitalize() for each in rest)
