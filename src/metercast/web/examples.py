"""Examples for the reference, as plain values. The tests hold each to what the API really takes and answers."""

from typing import Any

SUBMIT: dict[str, Any] = {
    "commandId": "681dce4358cba50614cee672",
    "commandType": "SET_TOU",
    "scheduledAt": "2030-05-08T02:00:00Z",
    "devices": ["meter-001", "meter-002"],
    "commandParams": {
        "calendarName": "SUMMER30",
        "activation": {"mode": "immediate"},
        "seasons": [{"name": "S1", "start": {"month": 1, "day": 1, "time": "00:00:00"}, "week": "W1"}],
        "weeks": [{"name": "W1", "days": [1, 1, 1, 1, 1, 2, 2]}],
        "days": [
            {
                "id": 1,
                "schedule": [
                    {"start": "00:00:00", "script": "0.0.10.0.100.255", "selector": 2},
                    {"start": "07:00:00", "script": "0.0.10.0.100.255", "selector": 1},
                    {"start": "23:00:00", "script": "0.0.10.0.100.255", "selector": 2},
                ],
            },
            {"id": 2, "schedule": [{"start": "00:00:00", "script": "0.0.10.0.100.255", "selector": 2}]},
        ],
    },
    "priority": 4,
    "requestedBy": "billing",
    "retry": {"maxAttempts": 5},
}

SUBMIT_NDJSON = """{"commandId": "681dce4358cba50614cee672", "commandType": "READ_CLOCK", "requestedBy": "billing"}
{"deviceId": "meter-001"}
{"deviceId": "meter-002"}
"""

SUBMIT_CSV = """commandId,commandType,requestedBy,retry
681dce4358cba50614cee672,READ_CLOCK,billing,"{""maxAttempts"": 5}"
deviceId
meter-001
meter-002
"""

TASK: dict[str, Any] = {
    "taskId": "task-3f0c9a1be2d44a7c8e6f5d2b1a098765",
    "commandId": "681dce4358cba50614cee672",
    "commandType": "SET_TOU",
    "commandParams": SUBMIT["commandParams"],
    "scheduledAt": "2030-05-08T02:00:00Z",
    "status": "QUEUED",
    "createdAt": "2030-05-08T01:59:00.125Z",
    "updatedAt": "2030-05-08T01:59:00.125Z",
    "expiresAt": "2030-05-09T02:00:00Z",
    "priority": 4,
    "requestedBy": "billing",
    "parentTaskId": None,
    "followUpAt": None,
    "followUpTaskId": None,
    "retry": {"maxAttempts": 5, "initialDelaySeconds": 30.0, "maxDelaySeconds": 3600.0},
    "outcome": None,
    "counts": {"total": 2, "pending": 2, "sent": 0, "success": 0, "failed": 0, "cancelled": 0},
}

DEVICES: list[dict[str, Any]] = [
    {
        "deviceId": "meter-001",
        "commandStatus": "SENT",
        "error": None,
        "lastUpdated": "2030-05-08T02:01:12.5Z",
        "attempts": 1,
        "how": None,
        "errorDetail": None,
        "nextAttemptAt": None,
    },
    {
        "deviceId": "meter-002",
        "commandStatus": "FAILED",
        "error": "AuthenticationFailed",
        "lastUpdated": "2030-05-08T02:03:05Z",
        "attempts": 1,
        "how": None,
        "errorDetail": "the meter refused the password",
        "nextAttemptAt": None,
    },
]

TASK_DOCUMENT: dict[str, Any] = TASK | {
    "status": "IN_PROGRESS",
    "counts": {"total": 2, "pending": 0, "sent": 1, "success": 0, "failed": 1, "cancelled": 0},
    "devices": DEVICES,
}

RESULT_LINES = """\
{"deviceId":"meter-001","commandStatus":"SUCCESS","error":null,"lastUpdated":"2030-05-08T02:03:05.000000Z",\
"how":"DONE","result":{"time":"2030-05-08T04:03:05+02:00","offsetSeconds":0.4}}
{"deviceId":"meter-002","commandStatus":"FAILED","error":"Timeout","lastUpdated":"2030-05-08T02:04:00.000000Z",\
"how":null,"result":null}
"""

DEVICE_COMMAND: dict[str, Any] = {
    "deviceId": "meter-001",
    "commandStatus": "SUCCESS",
    "error": None,
    "lastUpdated": "2030-05-08T02:03:05Z",
    "attempts": 2,
    "how": "DONE",
    "errorDetail": None,
    "nextAttemptAt": None,
    "taskId": "task-3f0c9a1be2d44a7c8e6f5d2b1a098765",
    "commandType": "READ_CLOCK",
    "attemptsMade": [
        {
            "attempt": 1,
            "startedAt": "2030-05-08T02:00:00.25Z",
            "endedAt": "2030-05-08T02:00:10.25Z",
            "error": "Unreachable",
            "errorDetail": "no answer to connect within 10 s",
            "late": False,
        },
        {
            "attempt": 2,
            "startedAt": "2030-05-08T02:03:04Z",
            "endedAt": "2030-05-08T02:03:05Z",
            "error": None,
            "errorDetail": None,
            "late": False,
        },
    ],
    "result": {
        "time": "2030-05-08T04:03:05+02:00",
        "deviationMinutes": 120,
        "status": {
            "invalidValue": False,
            "doubtfulValue": False,
            "differentBase": False,
            "invalidStatus": False,
            "daylightSaving": True,
        },
        "reference": "2030-05-08T02:03:04.412+00:00",
        "differenceSeconds": 0.588,
        "uncertaintySeconds": 0.041,
    },
    "progress": None,
}

METER: dict[str, Any] = {
    "connection": {"type": "tcp", "host": "10.1.2.3", "port": 4059, "channel": "gw-17", "maxSessions": 1},
    "serverSap": 1,
    "timeZone": "Europe/Amsterdam",
    "associations": {
        "management": {
            "clientSap": 1,
            "authentication": "hls-gmac",
            "protection": "both",
            "clientSystemTitle": "4D43530000000001",
            "encryptionKey": "000102030405060708090A0B0C0D0E0F",
            "authenticationKey": "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF",
        },
        "public": {"clientSap": 16},
    },
    "identity": {"serverSystemTitle": "4D4D4D0000BC614E"},
}

METER_VIEW: dict[str, Any] = {
    "deviceId": "meter-001",
    "connection": {
        "type": "tcp",
        "host": "10.1.2.3",
        "port": 4059,
        "framing": "wrapper",
        "hdlc": None,
        "channel": "gw-17",
        "maxSessions": 1,
        "connectTimeoutSeconds": None,
        "progressTimeoutSeconds": None,
    },
    "serverSap": 1,
    "profile": "generic",
    "timeZone": "Europe/Amsterdam",
    "associations": {
        "management": {
            "clientSap": 1,
            "authentication": "hls-gmac",
            "protection": "both",
            "securitySuite": 0,
            "clientSystemTitle": "4D43530000000001",
            "keySet": "unicast",
            "dedicatedCiphering": False,
            "generalProtection": False,
            "hlsMethod": None,
            "serverPublicKey": None,
        },
        "public": {
            "clientSap": 16,
            "authentication": "none",
            "protection": "none",
            "securitySuite": 0,
            "clientSystemTitle": None,
            "keySet": "unicast",
            "dedicatedCiphering": False,
            "generalProtection": False,
            "hlsMethod": None,
            "serverPublicKey": None,
        },
    },
    "identity": {"serverSystemTitle": "4D4D4D0000BC614E", "logicalDeviceName": None},
    "secrets": {"management": ["encryptionKey", "authenticationKey"]},
    "createdAt": "2030-05-01T08:00:00Z",
    "updatedAt": "2030-05-01T08:00:00Z",
}

CSV = """deviceId,host,port,clientSap,authentication,password
meter-010,10.1.2.10,4059,1,lls,secret-1
meter-011,10.1.2.11,4059,1,lls,secret-2
"""

NDJSON = """{"deviceId": "meter-020", "connection": {"host": "10.1.2.20"}}
{"deviceId": "meter-021", "connection": {"host": "10.1.2.21"}, "timeZone": "Europe/Amsterdam"}
"""

IMPORTED: dict[str, Any] = {"lines": 2, "created": 2, "updated": 0}

IMAGE_BODY = "the octets of the image"

IMAGE: dict[str, Any] = {
    "name": "ACME-2.1.bin",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size": 524288,
    "createdAt": "2030-05-01T08:00:00Z",
}

KEY: dict[str, Any] = {"name": "billing", "role": "operator"}

NEW_KEY: dict[str, Any] = {
    "keyId": "9f2b6c01d4e7",
    "name": "billing",
    "role": "operator",
    "createdAt": "2030-05-01T08:00:00Z",
    "revokedAt": None,
    "key": "mc_9f2b6c01d4e7_Jc0uY…",
}
