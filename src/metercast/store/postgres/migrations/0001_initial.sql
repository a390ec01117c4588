-- Times are timestamptz; sessions of Metercast are in UTC. Ids sort by code point: COLLATE "C".

CREATE TABLE tasks (
  task_id         varchar     COLLATE "C" NOT NULL PRIMARY KEY,
  command_id      varchar     COLLATE "C" NOT NULL,
  command_type    varchar     COLLATE "C" NOT NULL,
  scheduled_at    timestamptz NOT NULL,
  status          varchar     COLLATE "C" NOT NULL,
  created_at      timestamptz NOT NULL,
  updated_at      timestamptz NOT NULL,
  command_params  json,
  conflict_group  varchar     COLLATE "C" NOT NULL,
  expires_at      timestamptz NOT NULL,
  priority        integer     NOT NULL,
  requested_by    varchar,
  parent_task_id  varchar     COLLATE "C",
  retry           json        NOT NULL,
  body_hash       varchar     COLLATE "C" NOT NULL,
  bucket_size     integer     NOT NULL,
  total           integer     NOT NULL,
  outcome         varchar     COLLATE "C",          -- null while a device is open; then the counts below are frozen
  success         integer     NOT NULL DEFAULT 0,
  failed          integer     NOT NULL DEFAULT 0,
  cancelled       integer     NOT NULL DEFAULT 0,
  first_id        bigint      NOT NULL,  -- its devices have the ids first_id to first_id + total - 1
  unsealed_until  timestamptz            -- null: the task is there. Else it is being made or deleted, claimed until then
) WITH (fillfactor = 70);
-- Both serve pages, newest first.
CREATE INDEX ix_tasks_command_id ON tasks (command_id, created_at, task_id);
CREATE INDEX ix_tasks_created_at ON tasks (created_at, task_id);
CREATE INDEX ix_tasks_open ON tasks (status, scheduled_at) WHERE outcome IS NULL;
CREATE INDEX ix_tasks_unsealed ON tasks (unsealed_until) WHERE unsealed_until IS NOT NULL;

-- More than half of each page is left free: whole buckets change at once, and again before the space of their first
-- versions can be used; what stays on the page (HOT) needs no index to know of it. An index on command_status would end
-- that.
CREATE TABLE task_devices (
  id                   bigserial   PRIMARY KEY,
  task_id              varchar     COLLATE "C" NOT NULL REFERENCES tasks (task_id),
  device_id            varchar     COLLATE "C" NOT NULL,
  command_status       varchar     COLLATE "C" NOT NULL,
  error_message        varchar     COLLATE "C",           -- the error word
  last_updated         timestamptz NOT NULL,
  tries                integer     NOT NULL DEFAULT 0,      -- sessions begun: the number of the newest attempt
  used                 integer     NOT NULL DEFAULT 0,      -- attempts used up
  association_failures integer     NOT NULL DEFAULT 0,      -- in a row
  verify_first         boolean     NOT NULL DEFAULT false,  -- an earlier session may have changed the meter
  next_attempt_at      timestamptz,
  sent_at              timestamptz,
  how                  varchar     COLLATE "C",
  error_detail         varchar,
  progress             json
) WITH (fillfactor = 40);
CREATE INDEX ix_task_devices_device_id ON task_devices (device_id);
CREATE INDEX ix_task_devices_task_id ON task_devices (task_id);

-- A contiguous range of a task's devices: the unit of offering, leasing and counting.
CREATE TABLE task_buckets (
  bucket_id   bigserial   PRIMARY KEY,
  task_id     varchar     COLLATE "C" NOT NULL REFERENCES tasks (task_id),
  first_id    bigint      NOT NULL,
  last_id     bigint      NOT NULL,
  due_at      timestamptz,              -- null where nothing is open, and while the task is not sealed
  lease_owner varchar     COLLATE "C",
  lease_epoch integer     NOT NULL DEFAULT 0,
  lease_until timestamptz,
  pending     integer     NOT NULL,
  sent        integer     NOT NULL DEFAULT 0,
  success     integer     NOT NULL DEFAULT 0,
  failed      integer     NOT NULL DEFAULT 0,
  cancelled   integer     NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX ix_task_buckets_task_id ON task_buckets (task_id, first_id);
CREATE INDEX ix_task_buckets_due_at ON task_buckets (due_at) WHERE due_at IS NOT NULL;

-- One session at a time with a physical meter. A lock lives while the device command at `position` is SENT and the
-- lease (bucket, epoch) that it names lives; so no unlocking is written, and the row is used again. What it named
-- before tells whoever takes it whether it was free.
CREATE TABLE meter_locks (
  lock_key       bigint  PRIMARY KEY,
  bucket_id      bigint  NOT NULL,
  position       bigint  NOT NULL,
  last_bucket_id bigint,
  last_position  bigint,
  epoch          integer NOT NULL,
  last_epoch     integer
) WITH (fillfactor = 50);

-- Open device commands of types that conflict with others on the same meter.
CREATE TABLE open_commands (
  id             bigint  PRIMARY KEY,
  device_id      varchar COLLATE "C" NOT NULL,
  conflict_group varchar COLLATE "C" NOT NULL,
  task_id        varchar COLLATE "C" NOT NULL,
  superseded     boolean NOT NULL DEFAULT false
) WITH (fillfactor = 90);
CREATE INDEX ix_open_commands_device_id ON open_commands (device_id, conflict_group);

-- Attempts that ended in an error, and late results. The newest attempt stands in task_devices itself.
CREATE TABLE task_device_attempts (
  task_device_id bigint      NOT NULL,
  attempt        integer     NOT NULL,
  late           boolean     NOT NULL DEFAULT false,
  started_at     timestamptz,
  ended_at       timestamptz NOT NULL,
  error_message  varchar     COLLATE "C",
  error_detail   varchar,
  PRIMARY KEY (task_device_id, attempt, late)
);

CREATE TABLE task_device_results (
  task_device_id bigint PRIMARY KEY,
  result         json   NOT NULL
);

CREATE TABLE devices (
  device_id    varchar     COLLATE "C" NOT NULL PRIMARY KEY,
  document     bytea       NOT NULL,  -- JSON of the record, without secrets, as it came
  sealed       bytea,                 -- its secrets, encrypted
  channel      varchar     COLLATE "C" NOT NULL,
  max_sessions integer     NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL
);

CREATE TABLE invocation_counters (
  device_id           varchar COLLATE "C" NOT NULL,
  key_fingerprint     varchar COLLATE "C" NOT NULL,
  client_system_title varchar COLLATE "C" NOT NULL,
  next_value          bigint  NOT NULL,
  PRIMARY KEY (device_id, key_fingerprint, client_system_title)
) WITH (fillfactor = 70);

CREATE TABLE api_keys (
  key_id      varchar     COLLATE "C" NOT NULL PRIMARY KEY,
  name        varchar     NOT NULL,
  role        varchar     COLLATE "C" NOT NULL,
  secret_hash bytea       NOT NULL UNIQUE,
  created_at  timestamptz NOT NULL,
  revoked_at  timestamptz
);
