"""Meters: put, look up, delete, import."""

from typing import Annotated, Literal

import msgspec
from litestar import Response, delete, get, post, put

from metercast.engine.import_formats import COLUMNS, REQUIRED, csv_rows, ndjson_rows
from metercast.engine.imports import MeterImport
from metercast.engine.meters import Imported, MeterPut, MeterRequest, MeterView, shows_no_secret
from metercast.engine.secret_requests import SecretsRequest
from metercast.store.keys import Role
from metercast.web import examples
from metercast.web.calls import CSV, NDJSON, Call, documented
from metercast.web.context import HttpRequest, caller_of, context_of, service_of
from metercast.web.problems import UnsupportedMediaType
from metercast.web.requests import answer, media_type, path_id, read_json, read_query
from metercast.web.tasks import UNSET, Cursor, Limit, Unset

MAX_RECORD = 1 << 20


class MeterFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    prefix: Annotated[str, msgspec.Meta(max_length=128, description="How the device id begins")] | Unset = UNSET
    limit: Limit = 100
    cursor: Cursor | Unset = UNSET


class ImportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    only: (
        Annotated[Literal["secrets"], msgspec.Meta(description="Only secrets, of meters that are registered")] | Unset
    ) = UNSET


class MeterPage(msgspec.Struct, frozen=True, rename="camel"):
    """In order of device id."""

    devices: list[MeterView]
    next_cursor: str | None


@put(
    "/devices/{device_id:str}",
    request_max_body_size=MAX_RECORD,
    **documented(
        Call(
            group="Devices",
            summary="Create or replace a meter",
            description="Only `connection` is required. Secrets are write-only: one that is left out keeps what is "
            "stored for the association of that name, null removes it, and an association that is left out goes with "
            "its secrets. What a GET showed may be put back, changed. A secret that REPLACE_KEYS is replacing "
            "stays beside what is given, and is not removed (409). The device id is percent-encoded in the path.",
            role=Role.OPERATOR,
            body=MeterPut,
            body_example=examples.METER,
            returns={200: MeterView, 201: MeterView},
            example=examples.METER_VIEW,
            errors=(400, 409, 413, 415, 422),
        )
    ),
)
async def put_device(request: HttpRequest) -> Response[bytes]:
    record, device_id = await read_json(request, MeterPut, shows_no_secret), path_id(request, "device_id")
    record.check_names(device_id)
    meter, created = await service_of(request).meters.put(device_id, record, caller_of(request))
    return answer(meter, 201 if created else 200)


@get(
    "/devices/{device_id:str}",
    **documented(
        Call(
            group="Devices",
            summary="Read a meter",
            description="`secrets` names which are set, by association; null where they can't be opened. "
            "`replacements`, where there are any, tells since when a secret is being replaced and when it last was.",
            role=Role.VIEWER,
            returns={200: MeterView},
            example=examples.METER_VIEW,
            errors=(404,),
        )
    ),
)
async def read_device(request: HttpRequest) -> Response[bytes]:
    return answer(await service_of(request).meters.get(path_id(request, "device_id")))


@delete(
    "/devices/{device_id:str}",
    status_code=204,
    **documented(
        Call(
            group="Devices",
            summary="Delete a meter",
            description="Refused while a task still needs it. Its commands of the past stay.",
            role=Role.OPERATOR,
            returns={204: None},
            errors=(404, 409),
        )
    ),
)
async def delete_device(request: HttpRequest) -> None:
    await service_of(request).meters.delete(path_id(request, "device_id"), caller_of(request))


@get(
    "/devices",
    **documented(
        Call(
            group="Devices",
            summary="List meters",
            role=Role.VIEWER,
            query=MeterFilter,
            returns={200: MeterPage},
            errors=(422,),
        )
    ),
)
async def list_devices(request: HttpRequest) -> Response[bytes]:
    asked = read_query(request, MeterFilter)
    page = await service_of(request).meters.page(asked.prefix or None, asked.limit, asked.cursor or None)
    return answer(MeterPage(page.items, page.next_cursor))


@post(
    "/devices/import",
    status_code=200,
    **documented(
        Call(
            group="Devices",
            summary="Import meters",
            description="All of them or none. NDJSON: a record as for PUT with its `deviceId`, one a line. CSV: a "
            f"header and a meter a line, no line breaks inside quotes; columns: {', '.join(COLUMNS)}; deviceId and "
            "host are required, an empty cell is as if left out, and the association columns make the association "
            "`management`. With `only=secrets` a line holds the `deviceId` of a meter that is registered and the "
            "secrets of its associations, as columns or below `associations` and the name; all else of it stays. The "
            "lines that will not do are reported, the first 100 of them in `errors`.",
            role=Role.OPERATOR,
            query=ImportQuery,
            bodies={CSV: examples.CSV, NDJSON: examples.NDJSON},
            returns={200: Imported},
            example=examples.IMPORTED,
            errors=(409, 413, 415, 422),
        )
    ),
)
async def import_devices(request: HttpRequest) -> Response[bytes]:
    only_secrets = bool(read_query(request, ImportQuery).only)
    sent = media_type(request)
    if sent == CSV:
        rows = csv_rows(request.stream(), ("deviceId",) if only_secrets else REQUIRED)
    elif sent == NDJSON:
        rows = ndjson_rows(request.stream())
    else:
        raise UnsupportedMediaType(f"an import is {CSV} or {NDJSON}, not {sent[:100] or 'without a Content-Type'}")
    context = context_of(request)
    form = SecretsRequest if only_secrets else MeterRequest
    importer = MeterImport(context.service.meters, context.config.max_devices_per_import, form)
    return answer(await importer.run(rows, caller_of(request)))


ROUTES = [list_devices, put_device, read_device, delete_device, import_devices]
