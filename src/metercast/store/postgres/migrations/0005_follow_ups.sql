-- What a task does later, by itself or on the meters, is looked at by another task once it is due.

ALTER TABLE tasks ADD COLUMN follow_up_at timestamptz;                -- null: it has none, or there was nothing to look at
ALTER TABLE tasks ADD COLUMN follow_up_task_id varchar COLLATE "C";   -- the task that looks, once it is made
CREATE INDEX ix_tasks_follow_up ON tasks (follow_up_at) WHERE follow_up_at IS NOT NULL AND follow_up_task_id IS NULL;
