-- Times are text in UTC, fixed width, so that they sort: 2026-01-31T02:00:00.000000Z

CREATE TABLE tasks (
  task_id         varchar     NOT NULL PRIMARY KEY,
  command_id      varchar     NOT NULL,
  command_type    varchar     NOT NULL,
  scheduled_at    timestamptz NOT NULL,
  status          varchar     NOT NULL,
  created_at      timestamptz NOT NULL,
  updated_at      timestamptz NOT NULL,
  command_params  json,
  conflict_group  varchar     NOT NULL,
  expires_at      timestamptz NOT NULL,
  priority        integer     NOT NULL,
  requested_by    varchar,
  parent_task_id  varchar,
  retry           json        NOT NULL,
  body_hash       varchar     NOT NULL,
  bucket_size     integer     NOT NULL,
  total           integer     NOT NULL,
  outcome         varchar,          -- null while a device is open; then the counts below are frozen
  success         integer     NOT NULL DEFAULT 0,
  failed          integer     NOT NULL DEFAULT 0,
  cancelled       integer     NOT NULL DEFAULT 0
);
CREATE INDEX ix_tasks_command_id ON tasks (command_id);
CREATE INDEX ix_tasks_created_at ON tasks (created_at, task_id);
CREATE INDEX ix_tasks_open ON tasks (status, scheduled_at) WHERE outcome IS NULL;

CREATE TABLE task_devices (
  id                   integer     PRIMARY KEY,
  task_id              varchar     NOT NULL REFERENCES tasks (task_id),
  device_id            varchar     NOT NULL,
  command_status       varchar     NOT NULL,
  error_message        varchar,     -- the error word
  last_updated         timestamptz NOT NULL,
  tries                integer     NOT NULL DEFAULT 0,  -- sessions begun: the number of the newest attempt
  used                 integer     NOT NULL DEFAULT 0,  -- attempts used up
  association_failures integer     NOT NULL DEFAULT 0,  -- in a row
  verify_first         integer     NOT NULL DEFAULT 0,  -- an earlier session may have changed the meter
  next_attempt_at      timestamptz,
  sent_at              timestamptz,
  how                  varchar,
  error_detail         varchar,
  progress             json
);
CREATE INDEX ix_task_devices_device_id ON task_devices (device_id);
CREATE INDEX ix_task_devices_task_id ON task_devices (task_id);

-- A contiguous range of a task's devices: the unit of offering, leasing and counting.
CREATE TABLE task_buckets (
  bucket_id   integer     PRIMARY KEY,
  task_id     varchar     NOT NULL REFERENCES tasks (task_id),
  first_id    integer     NOT NULL,
  last_id     integer     NOT NULL,
  due_at      timestamptz,          -- null where nothing is open
  lease_owner varchar,
  lease_epoch integer     NOT NULL DEFAULT 0,
  lease_until timestamptz,
  pending     integer     NOT NULL,
  sent        integer     NOT NULL DEFAULT 0,
  success     integer     NOT NULL DEFAULT 0,
  failed      integer     NOT NULL DEFAULT 0,
  cancelled   integer     NOT NULL DEFAULT 0
);
CREATE INDEX ix_task_buckets_task_id ON task_buckets (task_id);
CREATE INDEX ix_task_buckets_due_at ON task_buckets (due_at) WHERE due_at IS NOT NULL;

-- One session at a time with a physical meter. A lock lives as long as the lease (bucket, epoch) that it names.
CREATE TABLE meter_locks (
  lock_key  integer PRIMARY KEY,
  bucket_id integer NOT NULL,
  epoch     integer NOT NULL
);

-- Open device commands of types that conflict with others on the same meter.
CREATE TABLE open_commands (
  id             integer PRIMARY KEY REFERENCES task_devices (id),
  device_id      varchar NOT NULL,
  conflict_group varchar NOT NULL,
  task_id        varchar NOT NULL,
  superseded     integer NOT NULL DEFAULT 0
);
CREATE INDEX ix_open_commands_device_id ON open_commands (device_id, conflict_group);

-- Attempts that ended in an error, and late results. The newest attempt stands in task_devices itself.
CREATE TABLE task_device_attempts (
  task_device_id integer     NOT NULL REFERENCES task_devices (id),
  attempt        integer     NOT NULL,
  late           integer     NOT NULL DEFAULT 0,
  started_at     timestamptz,
  ended_at       timestamptz NOT NULL,
  error_message  varchar,
  error_detail   varchar,
  PRIMARY KEY (task_device_id, attempt, late)
) WITHOUT ROWID;

CREATE TABLE task_device_results (
  task_device_id integer PRIMARY KEY REFERENCES task_devices (id),
  result         json    NOT NULL
);

CREATE TABLE devices (
  device_id    varchar     NOT NULL PRIMARY KEY,
  document     blob        NOT NULL,  -- JSON of the record, without secrets
  sealed       blob,                  -- its secrets, encrypted
  channel      varchar     NOT NULL,
  max_sessions integer     NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL
);

CREATE TABLE invocation_counters (
  device_id           varchar NOT NULL,
  key_fingerprint     varchar NOT NULL,
  client_system_title varchar NOT NULL,
  next_value          integer NOT NULL,
  PRIMARY KEY (device_id, key_fingerprint, client_system_title)
) WITHOUT ROWID;

CREATE TABLE api_keys (
  key_id      varchar     NOT NULL PRIMARY KEY,
  name        varchar     NOT NULL,
  role        varchar     NOT NULL,
  secret_hash blob        NOT NULL UNIQUE,
  created_at  timestamptz NOT NULL,
  revoked_at  timestamptz
);
