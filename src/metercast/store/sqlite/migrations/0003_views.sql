-- For a reader with SQL or a BI tool. Sealed tasks only; `day` is the UTC date of scheduled_at.

CREATE VIEW task_success_rate AS
SELECT command_type, substr(scheduled_at, 1, 10) AS day, count(*) AS tasks, sum(total) AS devices,
  sum(pending) AS pending, sum(sent) AS sent, sum(success) AS success, sum(failed) AS failed,
  sum(cancelled) AS cancelled, 1.0 * sum(success) / nullif(sum(success + failed), 0) AS success_rate
FROM (
  SELECT command_type, scheduled_at, total, 0 AS pending, 0 AS sent, success, failed, cancelled
  FROM tasks WHERE unsealed_until IS NULL AND outcome IS NOT NULL
  UNION ALL
  SELECT t.command_type, t.scheduled_at, t.total, sum(b.pending), sum(b.sent), sum(b.success), sum(b.failed),
    sum(b.cancelled)
  FROM tasks t JOIN task_buckets b ON b.task_id = t.task_id
  WHERE t.unsealed_until IS NULL AND t.outcome IS NULL GROUP BY t.task_id)
GROUP BY 1, 2;

CREATE VIEW failures_by_error AS
SELECT t.command_type, substr(t.scheduled_at, 1, 10) AS day, d.error_message AS error, count(*) AS devices,
  count(DISTINCT t.task_id) AS tasks
FROM tasks t JOIN task_devices d ON d.task_id = t.task_id
WHERE t.unsealed_until IS NULL AND d.command_status = 'FAILED' GROUP BY 1, 2, 3;

CREATE VIEW time_to_completion AS
SELECT task_id, command_id, command_type, substr(scheduled_at, 1, 10) AS day, status, outcome, total AS devices,
  scheduled_at, updated_at AS ended_at, (julianday(updated_at) - julianday(scheduled_at)) * 86400.0 AS seconds
FROM tasks WHERE unsealed_until IS NULL AND outcome IS NOT NULL;

CREATE VIEW slowest_gateways AS
SELECT m.channel, count(*) AS sessions, count(DISTINCT d.device_id) AS meters,
  avg((julianday(d.last_updated) - julianday(d.sent_at)) * 86400.0) AS average_seconds,
  max((julianday(d.last_updated) - julianday(d.sent_at)) * 86400.0) AS longest_seconds
FROM task_devices d JOIN tasks t ON t.task_id = d.task_id JOIN devices m ON m.device_id = d.device_id
WHERE t.unsealed_until IS NULL AND d.command_status = 'SUCCESS' AND d.sent_at IS NOT NULL GROUP BY 1;
