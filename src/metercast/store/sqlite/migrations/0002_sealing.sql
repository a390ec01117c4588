-- A large task is written in chunks under a header that is not sealed; so is a retired task until it is swept away.

ALTER TABLE tasks ADD COLUMN unsealed_until timestamptz;  -- null: sealed. Else nobody sees it, and from then on it is swept

DROP INDEX ix_tasks_created_at;
CREATE INDEX ix_tasks_created_at ON tasks (created_at, task_id) WHERE unsealed_until IS NULL;
DROP INDEX ix_tasks_open;
CREATE INDEX ix_tasks_open ON tasks (status, scheduled_at) WHERE outcome IS NULL AND unsealed_until IS NULL;
CREATE INDEX ix_tasks_ended ON tasks (updated_at) WHERE outcome IS NOT NULL AND unsealed_until IS NULL;
CREATE INDEX ix_tasks_unsealed ON tasks (unsealed_until) WHERE unsealed_until IS NOT NULL;

-- Whether a task has an open bucket is asked after each bucket that ends.
CREATE INDEX ix_task_buckets_open ON task_buckets (task_id) WHERE due_at IS NOT NULL;

-- The greatest ids of rows that were deleted: no id is given twice.
CREATE TABLE last_ids (
  table_name varchar NOT NULL PRIMARY KEY,
  last_id    integer NOT NULL
) WITHOUT ROWID;
