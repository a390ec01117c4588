"""Tasks: submit, look up, act upon."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.response import Stream

from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import DeviceCommand, DeviceCommandDetail, Task
from metercast.domain.words import ErrorWord
from metercast.engine.intake import Intake
from metercast.engine.service import Service
from metercast.engine.submission import Instant, SubmitRequest, Word, utc
from metercast.engine.task_formats import HEADER_COLUMNS, CsvTask, NdjsonTask, TaskLines
from metercast.store.keys import Role
from metercast.store.tasks import Created, DeviceQuery, ErrorCount, TaskQuery
from metercast.web import examples
from metercast.web.calls import CSV, JSON, NDJSON, Call, documented
from metercast.web.context import HttpRequest, caller_of, context_of, service_of
from metercast.web.requests import answer, media_type, path_id, read_json, read_nothing, read_query
from metercast.web.uploads import upload

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="Most items of the page")]
Cursor = Annotated[
    str, msgspec.Meta(min_length=1, max_length=1000, description="`nextCursor` of the page before, same query")
]
Unset = msgspec.UnsetType
UNSET = msgspec.UNSET


class TaskFilter(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`from` <= createdAt < `to`."""

    command_id: Word | Unset = UNSET
    device_id: Word | Unset = UNSET
    status: TaskStatus | Unset = UNSET
    command_type: Word | Unset = UNSET
    from_: Instant | Unset = msgspec.field(default=UNSET, name="from")
    to: Instant | Unset = UNSET
    limit: Limit = 100
    cursor: Cursor | Unset = UNSET

    @property
    def query(self) -> TaskQuery:
        return TaskQuery(
            command_id=self.command_id or None,
            device_id=self.device_id or None,
            status=self.status or None,
            command_type=self.command_type or None,
            created_from=utc(self.from_ or None, "from"),
            created_to=utc(self.to or None, "to"),
        )


class DeviceFilter(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    status: DeviceStatus | Unset = UNSET
    error: ErrorWord | Unset = UNSET
    updated_since: Instant | Unset = UNSET
    limit: Limit = 100
    cursor: Cursor | Unset = UNSET

    @property
    def query(self) -> DeviceQuery:
        return DeviceQuery(
            status=self.status or None,
            error=self.error or None,
            updated_since=utc(self.updated_since or None, "updatedSince"),
        )


class DocumentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    devices: Annotated[bool, msgspec.Meta(description="false: the task without its devices")] = True


class TaskDocument(Task, frozen=True, rename="camel", kw_only=True):
    """The task with its devices, in the order of submission."""

    devices: list[DeviceCommand]


class TaskPage(msgspec.Struct, frozen=True, rename="camel"):
    """Newest first, each without its devices."""

    tasks: list[Task]
    next_cursor: str | None


class DevicePage(msgspec.Struct, frozen=True, rename="camel"):
    """In the order of submission."""

    devices: list[DeviceCommand]
    next_cursor: str | None


class ErrorSummary(msgspec.Struct, frozen=True):
    """Devices by status and error word, most first: failures, and what waits for another attempt."""

    errors: list["ErrorLine"]


class ErrorLine(msgspec.Struct, frozen=True, rename="camel"):
    command_status: DeviceStatus
    error: ErrorWord
    devices: int

    @classmethod
    def of(cls, count: ErrorCount) -> "ErrorLine":
        return cls(count.command_status, count.error, count.devices)


@post(
    "/tasks",
    **documented(
        Call(
            group="Tasks",
            summary="Submit a task",
            description="One command for many meters. With an Idempotency-Key a repeated request answers with the task "
            "that the first one made, and the header `Idempotent-Replayed: true`. A task of many meters may come as "
            "lines, and is then created whole or not at all. NDJSON: the first line is the task without `devices`, "
            'each other one a device, `{"deviceId": "..."}` or `"..."`. CSV: a line with columns of the task '
            f"({', '.join(HEADER_COLUMNS)}), one with their values (commandParams and retry as JSON), one with the "
            "column deviceId, and then an id a line; an empty cell is as if left out. The lines that will not do are "
            "reported, the first 100 of them in `errors`.",
            role=Role.OPERATOR,
            body=SubmitRequest,
            body_example=examples.SUBMIT,
            bodies={NDJSON: examples.SUBMIT_NDJSON, CSV: examples.SUBMIT_CSV},
            idempotent=True,
            returns={201: Task},
            example=examples.TASK,
            errors=(400, 408, 409, 413, 415, 422),
        )
    ),
)
async def submit_task(request: HttpRequest) -> Response[bytes]:
    form = _FORMS.get(media_type(request))
    if form is not None:
        return await _submit_lines(request, form())
    asked = await read_json(request, SubmitRequest, or_else=_FORMS)
    return _created(await service_of(request).submit(asked, caller_of(request), _idempotency_key(request)))


@post(
    "/tasks/{task_id:str}/retry-failed",
    **documented(
        Call(
            group="Tasks",
            summary="Retry the failed devices",
            description="Makes a new task that names this one as its parent, due now, with the same command for the "
            "devices that FAILED. This task must be over.",
            role=Role.OPERATOR,
            idempotent=True,
            returns={201: Task},
            errors=(404, 409, 422),
        )
    ),
)
async def retry_failed_devices(request: HttpRequest) -> Response[bytes]:
    await read_nothing(request)
    task_id = path_id(request, "task_id")
    return _created(await service_of(request).retry_failed(task_id, caller_of(request), _idempotency_key(request)))


@post(
    "/tasks/{task_id:str}/cancel",
    status_code=200,
    **documented(
        Call(
            group="Tasks",
            summary="Cancel a task",
            description="CANCELLED at once, and every PENDING device with it. What is SENT ends by itself.",
            role=Role.OPERATOR,
            returns={200: Task},
            errors=(404, 409),
        )
    ),
)
async def cancel_task(request: HttpRequest) -> Response[bytes]:
    await read_nothing(request)
    return answer(await service_of(request).cancel(path_id(request, "task_id"), caller_of(request)))


@post(
    "/tasks/{task_id:str}/pause",
    status_code=200,
    **documented(
        Call(
            group="Tasks",
            summary="Pause a task",
            description="No further device starts until it is resumed; its expiry still counts.",
            role=Role.OPERATOR,
            returns={200: Task},
            errors=(404, 409),
        )
    ),
)
async def pause_task(request: HttpRequest) -> Response[bytes]:
    await read_nothing(request)
    return answer(await service_of(request).pause(path_id(request, "task_id"), caller_of(request)))


@post(
    "/tasks/{task_id:str}/resume",
    status_code=200,
    **documented(
        Call(
            group="Tasks",
            summary="Resume a paused task",
            role=Role.OPERATOR,
            returns={200: Task},
            errors=(404, 409),
        )
    ),
)
async def resume_task(request: HttpRequest) -> Response[bytes]:
    await read_nothing(request)
    return answer(await service_of(request).resume(path_id(request, "task_id"), caller_of(request)))


@get(
    "/tasks",
    **documented(
        Call(
            group="Tasks",
            summary="Find tasks",
            role=Role.VIEWER,
            query=TaskFilter,
            returns={200: TaskPage},
            errors=(422,),
        )
    ),
)
async def find_tasks(request: HttpRequest) -> Response[bytes]:
    asked = read_query(request, TaskFilter)
    page = await service_of(request).tasks(asked.query, asked.limit, asked.cursor or None)
    return answer(TaskPage(page.items, page.next_cursor))


@get(
    "/tasks/{task_id:str}",
    **documented(
        Call(
            group="Tasks",
            summary="Read a task, whole",
            description="The document is streamed; `devices` comes last, and each bucket of it is one consistent read.",
            role=Role.VIEWER,
            query=DocumentOptions,
            returns={200: TaskDocument},
            example=examples.TASK_DOCUMENT,
            errors=(404, 422),
        )
    ),
)
async def read_task(request: HttpRequest) -> Response[Any]:
    asked = read_query(request, DocumentOptions)
    service = service_of(request)
    task = await service.task(path_id(request, "task_id"))
    return Stream(_document(service, task), media_type=JSON) if asked.devices else answer(task)


@get(
    "/tasks/{task_id:str}/devices",
    **documented(
        Call(
            group="Tasks",
            summary="Find devices of a task",
            role=Role.VIEWER,
            query=DeviceFilter,
            returns={200: DevicePage},
            errors=(404, 422),
        )
    ),
)
async def find_task_devices(request: HttpRequest) -> Response[bytes]:
    asked = read_query(request, DeviceFilter)
    task_id = path_id(request, "task_id")
    page = await service_of(request).devices(task_id, asked.query, asked.limit, asked.cursor or None)
    return answer(DevicePage(page.items, page.next_cursor))


@get(
    "/tasks/{task_id:str}/results",
    **documented(
        Call(
            group="Tasks",
            summary="Read the results of a whole task",
            description="NDJSON, one line a device in the order of submission: `deviceId`, `commandStatus`, `error`, "
            "`lastUpdated`, `how` and `result`, which is null where nothing was read. It may be asked for while the "
            "task runs. An answer that breaks off lacks its last chunk: the client sees an error, no short answer.",
            role=Role.VIEWER,
            returns={200: NDJSON},
            example=examples.RESULT_LINES,
            errors=(404,),
        )
    ),
)
async def read_task_results(request: HttpRequest) -> Response[Any]:
    service = service_of(request)
    task = await service.task(path_id(request, "task_id"))
    return Stream(service.stream_results(task.task_id), media_type=NDJSON)


@get(
    "/tasks/{task_id:str}/devices/{device_id:str}",
    **documented(
        Call(
            group="Tasks",
            summary="Read one device of a task",
            description="With its attempts and its result: the values read, or the read-back.",
            role=Role.VIEWER,
            returns={200: DeviceCommandDetail},
            example=examples.DEVICE_COMMAND,
            errors=(404,),
        )
    ),
)
async def read_task_device(request: HttpRequest) -> Response[bytes]:
    return answer(await service_of(request).device(path_id(request, "task_id"), path_id(request, "device_id")))


@get(
    "/tasks/{task_id:str}/errors",
    **documented(
        Call(
            group="Tasks",
            summary="Count a task's errors",
            role=Role.VIEWER,
            returns={200: ErrorSummary},
            errors=(404,),
        )
    ),
)
async def read_task_errors(request: HttpRequest) -> Response[bytes]:
    counts = await service_of(request).errors(path_id(request, "task_id"))
    return answer(ErrorSummary([ErrorLine.of(each) for each in counts]))


async def _submit_lines(request: HttpRequest, lines: TaskLines) -> Response[bytes]:
    context = context_of(request)
    with context.spools.open() as spool:
        intake = Intake(lines, upload(request, context.config.stream_limit), spool)
        return _created(await context.service.submit_lines(intake, caller_of(request), _idempotency_key(request)))


def _created(created: Created) -> Response[bytes]:
    headers = {"Location": f"/tasks/{created.task.task_id}"}
    if not created.is_new:
        headers["Idempotent-Replayed"] = "true"
    return answer(created.task, 201, headers)


def _idempotency_key(request: HttpRequest) -> str | None:
    return request.headers.get("idempotency-key")


async def _document(service: Service, task: Task) -> AsyncIterator[bytes]:
    yield _encode(task)[:-1] + b',"devices":['
    async for piece in service.stream_devices(task.task_id):
        yield piece
    yield b"]}"


_encode = msgspec.json.Encoder().encode
_FORMS: dict[str, Callable[[], TaskLines]] = {NDJSON: NdjsonTask, CSV: CsvTask}

ROUTES = [
    submit_task,
    find_tasks,
    read_task,
    cancel_task,
    pause_task,
    resume_task,
    retry_failed_devices,
    read_task_errors,
    find_task_devices,
    read_task_device,
    read_task_results,
]
