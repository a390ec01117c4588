"""The API reference as one page of HTML, drawn from the OpenAPI document. No script, nothing from elsewhere."""

from html import escape
from typing import Any

import msgspec

from metercast.web.openapi import Document

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h2 { margin-top: 3rem; border-bottom: 1px solid #d0d7de; }
h3 code { background: none; padding: 0; }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f3f5f7; padding: .1rem .3rem; border-radius: 4px; }
pre { padding: .8rem; overflow: auto; max-height: 30rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
td, th { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #e5e9ed; }
summary { cursor: pointer; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
@media (prefers-color-scheme: dark) {
  body { background: #14171a; color: #dfe4ea; } code, pre { background: #20252b; }
  td, th, h2 { border-color: #343b43; } a { color: #7cb7ff; }
}
"""


def render(document: Document) -> str:
    """The page."""
    info = document["info"]
    groups: dict[str, list[tuple[str, str, Document]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]].append((method, path, operation))
    parts = [f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>", _prose(info["description"])]
    parts.append('<p>For programs: <a href="/schema/openapi.json">/schema/openapi.json</a>.</p>')
    for name, operations in groups.items():
        parts.append(f"<h2>{escape(name)}</h2>")
        parts += [_operation(*each) for each in operations]
    parts.append("<h2>Types</h2>")
    schemas = document["components"]["schemas"]
    parts += [_type(name, schemas[name]) for name in sorted(schemas)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _operation(method: str, path: str, operation: Document) -> str:
    anchor = escape(operation["operationId"])
    parts = [
        f'<h3 id="{anchor}"><code><span class="method">{method.upper()}</span>{escape(path)}</code></h3>',
        f"<p><b>{escape(operation['summary'])}.</b></p>",
        _prose(operation["description"]),
    ]
    if operation["parameters"]:
        rows = [
            (each["name"], f"{each['in']}: {_shape(each['schema'])}", each.get("description", ""))
            for each in operation["parameters"]
        ]
        parts.append(_table(("Parameter", "What it is", ""), rows))
    body = operation.get("requestBody")
    if body:
        parts += [_content("Request", name, media) for name, media in body["content"].items()]
    for status, response in operation["responses"].items():
        if int(status) < 400:
            contents = response.get("content", {})
            parts += [_content(f"{status} {response['description']}", *each) for each in contents.items()]
            if not contents:
                parts.append(f"<p>{status} {escape(response['description'])}</p>")
    errors = [status for status in operation["responses"] if int(status) >= 400]
    parts.append(f"<p>Errors, as <a href='#type-ProblemDocument'>ProblemDocument</a>: {', '.join(errors)}</p>")
    return "".join(parts)


def _content(title: str, media_type: str, media: Document) -> str:
    head = f"<p>{escape(title)}, <code>{escape(media_type)}</code>: {_shape(media['schema'])}</p>"
    example = media.get("example")
    if example is None:
        return head
    text = example if isinstance(example, str) else _json(example)
    return f"{head}<details><summary>Example</summary><pre>{escape(text)}</pre></details>"


def _type(name: str, schema: Document) -> str:
    parts = [f'<h3 id="type-{escape(name)}">{escape(name)}</h3>', _prose(schema.get("description", ""))]
    if "properties" in schema:
        required = schema.get("required", [])
        rows = [
            (field, _shape(each) + ("" if field in required else ", optional"), each.get("description", ""))
            for field, each in schema["properties"].items()
        ]
        parts.append(_table(("Field", "What it is", ""), rows))
    else:
        parts.append(f"<p>{_shape(schema)}</p>")
    return "".join(parts)


def _shape(schema: Any) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#type-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_shape(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    limits = [
        f"{text} {schema[key]}"
        for key, text in (("minimum", "at least"), ("maximum", "at most"), ("maxLength", "longest"), ("format", "as"))
        if key in schema
    ]
    return escape(", ".join([str(schema.get("type", "any")), *limits]))


def _table(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    cells = "".join(f"<th>{escape(each)}</th>" for each in head)
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{shape}</td><td>{_inline(text)}</td></tr>"
        for name, shape, text in rows
    )
    return f"<table><tr>{cells}</tr>{lines}</table>"


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(each)}</p>" for each in text.split("\n\n") if each)


def _inline(text: str) -> str:
    """Escaped, with `code` and line breaks."""
    pieces = escape(text).replace("\n", "<br>").split("`")
    return "".join(f"<code>{each}</code>" if index % 2 else each for index, each in enumerate(pieces))


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
