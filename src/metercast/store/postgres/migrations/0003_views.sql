-- For people with psql or a BI tool. `day` is the UTC day on which the task was due. Only tasks that are sealed.

-- Devices by status, for each command type and day. A live task's counts are the sums over its buckets.
CREATE VIEW task_success_rate AS
SELECT t.command_type, (t.scheduled_at AT TIME ZONE 'UTC')::date AS day, count(*) AS tasks, sum(t.total) AS devices,
  sum(coalesce(live.pending, 0)) AS pending, sum(coalesce(live.sent, 0)) AS sent,
  sum(coalesce(live.success, t.success)) AS success, sum(coalesce(live.failed, t.failed)) AS failed,
  sum(coalesce(live.cancelled, t.cancelled)) AS cancelled,
  sum(coalesce(live.success, t.success))::float8
    / nullif(sum(coalesce(live.success, t.success) + coalesce(live.failed, t.failed)), 0)::float8 AS success_rate
FROM tasks t, LATERAL (
  SELECT sum(b.pending)::integer AS pending, sum(b.sent)::integer AS sent, sum(b.success)::integer AS success, sum(b.failed)::integer AS failed,
    sum(b.cancelled)::integer AS cancelled
  FROM task_buckets b WHERE b.task_id = t.task_id AND t.outcome IS NULL
) live
WHERE t.unsealed_until IS NULL
GROUP BY 1, 2;

-- Why devices failed.
CREATE VIEW failures_by_error AS
SELECT t.command_type, (t.scheduled_at AT TIME ZONE 'UTC')::date AS day, d.error_message AS error,
  count(*) AS devices, count(DISTINCT t.task_id) AS tasks
FROM tasks t JOIN task_devices d ON d.task_id = t.task_id
WHERE t.unsealed_until IS NULL AND d.command_status = 'FAILED'
GROUP BY 1, 2, 3;

-- A row for each task that ended: how long after its due time.
CREATE VIEW time_to_completion AS
SELECT t.task_id, t.command_id, t.command_type, (t.scheduled_at AT TIME ZONE 'UTC')::date AS day, t.status, t.outcome,
  t.total AS devices, t.scheduled_at, t.updated_at AS ended_at,
  extract(epoch FROM t.updated_at - t.scheduled_at)::float8 AS seconds
FROM tasks t
WHERE t.unsealed_until IS NULL AND t.outcome IS NOT NULL;

-- Sessions that succeeded, by the channel that their meters share now: ORDER BY average_seconds DESC.
CREATE VIEW slowest_gateways AS
SELECT m.channel, count(*) AS sessions, count(DISTINCT d.device_id) AS meters,
  avg(extract(epoch FROM d.last_updated - d.sent_at))::float8 AS average_seconds,
  max(extract(epoch FROM d.last_updated - d.sent_at))::float8 AS longest_seconds
FROM task_devices d JOIN devices m ON m.device_id = d.device_id JOIN tasks t ON t.task_id = d.task_id
WHERE t.unsealed_until IS NULL AND d.command_status = 'SUCCESS' AND d.sent_at IS NOT NULL
GROUP BY 1;
