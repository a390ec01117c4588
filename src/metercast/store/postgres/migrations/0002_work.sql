-- The hot path: one round trip a batch. Each statement of a function sees what was committed before it began, so what
-- follows a row lock sees what its last holder did. Order of locks: the own bucket, meters by key, open commands by
-- id; buckets of others only where nobody has them. All plans are nested loops over the batch: it is never large, and
-- rows are then locked in its order.

-- Moves a bucket's counts. Without open devices it is never due again.
CREATE FUNCTION metercast_count(
  bucket bigint, to_pending integer, to_sent integer, to_success integer, to_failed integer, to_cancelled integer
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE task_buckets SET pending = pending + to_pending, sent = sent + to_sent, success = success + to_success,
    failed = failed + to_failed, cancelled = cancelled + to_cancelled,
    due_at = CASE WHEN pending + to_pending + sent + to_sent > 0 THEN due_at END
  WHERE bucket_id = bucket;
END $$;

-- These commands are final.
CREATE FUNCTION metercast_forget(ids bigint[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
BEGIN
  PERFORM FROM open_commands o WHERE o.id = ANY (ids) ORDER BY o.id FOR UPDATE;
  DELETE FROM open_commands o WHERE o.id = ANY (ids);
END $$;

-- PENDING -> FAILED without an attempt, in a bucket that the caller has locked.
CREATE FUNCTION metercast_refuse(
  bucket bigint, at timestamptz, positions bigint[], error varchar, detail varchar, OUT refused varchar[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
  ids bigint[];
BEGIN
  WITH moved AS (
    UPDATE task_devices SET command_status = 'FAILED', error_message = error, error_detail = detail,
      next_attempt_at = NULL, last_updated = at
    WHERE id = ANY (positions) AND command_status = 'PENDING' RETURNING id, device_id
  ) SELECT array_agg(id ORDER BY id), array_agg(device_id ORDER BY id) INTO ids, refused FROM moved;
  IF ids IS NOT NULL THEN
    PERFORM metercast_forget(ids);
    PERFORM metercast_count(bucket, -cardinality(ids), 0, 0, cardinality(ids), 0);
  END IF;
END $$;

-- Those of `positions` for which an older command of their group comes first: while it is in a session or could begin
-- now; where a newer one does not supersede it, also while it waits for its next attempt. A due task counts before the
-- scheduler has started it.
CREATE FUNCTION metercast_waits(positions bigint[], supersedes boolean, at timestamptz) RETURNS bigint[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
BEGIN
  RETURN (
    SELECT array_agg(mine.id) FROM open_commands mine JOIN tasks my_task ON my_task.task_id = mine.task_id
    WHERE mine.id = ANY (positions) AND EXISTS (
      SELECT FROM open_commands other JOIN tasks t ON t.task_id = other.task_id JOIN task_devices d ON d.id = other.id
      WHERE other.device_id = mine.device_id AND other.conflict_group = mine.conflict_group AND other.id <> mine.id
        AND t.unsealed_until IS NULL
        AND (t.scheduled_at, t.created_at, t.task_id) < (my_task.scheduled_at, my_task.created_at, my_task.task_id)
        AND (d.command_status = 'SENT'
          OR ((t.status = 'IN_PROGRESS' OR (t.status = 'QUEUED' AND t.scheduled_at <= at)) AND NOT other.superseded
            AND (NOT supersedes OR d.next_attempt_at IS NULL OR d.next_attempt_at <= at)))));
END $$;

-- `positions` have begun: what is older in their group is void, and its buckets are due to say so. A bucket that
-- someone is busy with finds out by itself.
CREATE FUNCTION metercast_supersede(positions bigint[], at timestamptz) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
  older bigint[];
  buckets bigint[];
BEGIN
  SELECT array_agg(o.id) INTO older FROM (
    SELECT other.id FROM open_commands mine JOIN tasks my_task ON my_task.task_id = mine.task_id
    JOIN open_commands other ON other.device_id = mine.device_id AND other.conflict_group = mine.conflict_group
    JOIN tasks t ON t.task_id = other.task_id
    WHERE mine.id = ANY (positions) AND other.id <> mine.id AND NOT other.superseded AND t.unsealed_until IS NULL
      AND (t.scheduled_at, t.created_at, t.task_id) < (my_task.scheduled_at, my_task.created_at, my_task.task_id)
    ORDER BY other.id FOR UPDATE OF other
  ) o;
  IF older IS NULL THEN
    RETURN;
  END IF;
  UPDATE open_commands o SET superseded = true WHERE o.id = ANY (older);
  SELECT array_agg(DISTINCT b.bucket_id) INTO buckets
  FROM task_devices d, LATERAL (
    SELECT each.bucket_id FROM task_buckets each WHERE each.task_id = d.task_id AND each.first_id <= d.id
    ORDER BY each.first_id DESC LIMIT 1) b
  WHERE d.id = ANY (older);
  SELECT array_agg(f.bucket_id) INTO buckets FROM (
    SELECT b.bucket_id FROM task_buckets b WHERE b.bucket_id = ANY (buckets) FOR UPDATE SKIP LOCKED) f;
  UPDATE task_devices d SET next_attempt_at = NULL FROM task_buckets b
  WHERE d.id = ANY (older) AND b.bucket_id = ANY (buckets) AND d.id BETWEEN b.first_id AND b.last_id
    AND d.command_status = 'PENDING';
  UPDATE task_buckets b SET due_at = at WHERE b.bucket_id = ANY (buckets) AND b.due_at > at;
END $$;

-- Begins devices: see store.attempts.AttemptStore.begin_attempts. `keys` are the lock keys of `positions`, ascending;
-- `tried` their attempts so far. `task_status` is null where the lease is not the caller's, and OUTSIDE where
-- `lowest` or `highest` are of another bucket.
CREATE FUNCTION metercast_begin(
  lease_bucket bigint, lease_by varchar, lease_number integer, at timestamptz, lowest bigint, highest bigint,
  keys bigint[], positions bigint[], tried integer[], superseding varchar[], superseded_detail varchar,
  OUT task_status varchar, OUT begun bigint[], OUT tries integer[], OUT documents bytea[], OUT sealed bytea[],
  OUT progress text[], OUT locked bigint[], OUT waits bigint[], OUT ended bigint[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
  held record;
  task record;
  void bigint[];
  free_keys bigint[];
  free_positions bigint[];
  turns integer[];
  taken bigint[];
  made bigint[];
  again bigint[];
BEGIN
  SELECT b.task_id, b.first_id, b.last_id INTO held FROM task_buckets b
  WHERE b.bucket_id = lease_bucket AND b.lease_owner = lease_by AND b.lease_epoch = lease_number AND b.lease_until > at
  FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF lowest < held.first_id OR highest > held.last_id THEN
    task_status := 'OUTSIDE';
    RETURN;
  END IF;
  SELECT t.status, t.conflict_group, t.expires_at INTO task FROM tasks t WHERE t.task_id = held.task_id;
  task_status := task.status;
  IF task.status <> 'IN_PROGRESS' THEN
    RETURN;
  END IF;
  IF task.expires_at <= at THEN
    ended := positions;
    RETURN;
  END IF;
  IF task.conflict_group <> 'none' THEN
    -- A task that is sealed now comes before all this or after it: see metercast_seal.
    PERFORM pg_advisory_xact_lock_shared(1296257363, 2);
  END IF;

  -- A lock that is free is taken if nobody took it since.
  SELECT array_agg(k.key), array_agg(k.position), array_agg(l.turn) INTO free_keys, free_positions, turns
  FROM unnest(keys, positions) k (key, position)
  JOIN task_devices d ON d.id = k.position AND d.command_status = 'PENDING'
  LEFT JOIN meter_locks l ON l.lock_key = k.key
  WHERE l.lock_key IS NULL OR NOT coalesce((
    SELECT (SELECT h.command_status = 'SENT' FROM task_devices h WHERE h.id = l.position)
    FROM task_buckets b WHERE b.bucket_id = l.bucket_id AND b.lease_epoch = l.epoch AND b.lease_until > at), false);
  WITH moved AS (
    UPDATE meter_locks l SET bucket_id = lease_bucket, epoch = lease_number, position = k.position, turn = l.turn + 1
    FROM unnest(free_keys, free_positions, turns) k (key, position, turn)
    WHERE l.lock_key = k.key AND l.turn = k.turn RETURNING k.position
  ) SELECT array_agg(m.position) INTO taken FROM moved m;
  IF cardinality(free_keys) > coalesce(cardinality(taken), 0) THEN
    WITH new_locks AS (
      INSERT INTO meter_locks AS l (lock_key, bucket_id, position, epoch)
      SELECT k.key, lease_bucket, k.position, lease_number
      FROM unnest(free_keys, free_positions, turns) k (key, position, turn) WHERE k.turn IS NULL
      ON CONFLICT DO NOTHING RETURNING l.position
    ) SELECT array_agg(n.position) INTO made FROM new_locks n;
    taken := taken || made;
  END IF;

  IF task.conflict_group <> 'none' THEN
    SELECT array_agg(o.id) INTO void FROM open_commands o WHERE o.id = ANY (positions) AND o.superseded;
    IF void IS NOT NULL THEN
      PERFORM metercast_refuse(lease_bucket, at, void, 'Superseded', superseded_detail);
    END IF;
    waits := metercast_waits(positions, task.conflict_group = ANY (superseding), at);
    IF waits IS NOT NULL THEN
      SELECT array_agg(p) INTO taken FROM unnest(taken) p WHERE p NOT IN (SELECT unnest(waits));
    END IF;
  END IF;

  WITH sent AS (
    UPDATE task_devices d SET command_status = 'SENT', tries = d.tries + 1, error_message = NULL, error_detail = NULL,
      next_attempt_at = NULL, sent_at = at, last_updated = at
    FROM unnest(taken) k (position), devices m
    WHERE d.id = k.position AND d.command_status = 'PENDING' AND m.device_id = d.device_id
    RETURNING d.id, d.tries, m.document, m.sealed, d.progress
  )
  SELECT array_agg(s.id), array_agg(s.tries), array_agg(s.document), array_agg(s.sealed),
    array_agg(s.progress::text)
  INTO begun, tries, documents, sealed, progress FROM sent s;
  IF begun IS NOT NULL THEN
    PERFORM metercast_count(lease_bucket, -cardinality(begun), cardinality(begun), 0, 0, 0);
    IF task.conflict_group = ANY (superseding) THEN
      PERFORM metercast_supersede(begun, at);
    END IF;
    IF cardinality(begun) = cardinality(positions) THEN
      RETURN;
    END IF;
  END IF;

  -- `again`: begun by an earlier call of the same, whose answer was lost.
  SELECT array_agg(k.position) FILTER (WHERE m.device_id IS NOT NULL AND d.command_status = 'PENDING'),
    array_agg(k.position) FILTER (WHERE m.device_id IS NOT NULL AND d.command_status = 'SENT' AND d.tries = k.tries + 1
      AND l.lock_key IS NOT NULL)
  INTO locked, again
  FROM unnest(keys, positions, tried) k (key, position, tries)
  JOIN task_devices d ON d.id = k.position LEFT JOIN devices m ON m.device_id = d.device_id
  LEFT JOIN meter_locks l ON l.lock_key = k.key AND l.position = k.position AND l.bucket_id = lease_bucket
    AND l.epoch = lease_number
  WHERE k.position NOT IN (SELECT unnest(begun)) AND k.position NOT IN (SELECT unnest(waits));
  IF again IS NOT NULL THEN
    SELECT begun || array_agg(d.id), metercast_begin.tries || array_agg(d.tries), documents || array_agg(m.document),
      metercast_begin.sealed || array_agg(m.sealed), metercast_begin.progress || array_agg(d.progress::text)
    INTO begun, tries, documents, sealed, progress
    FROM unnest(again) k (position) JOIN task_devices d ON d.id = k.position
    JOIN devices m ON m.device_id = d.device_id;
  END IF;
  SELECT array_agg(p) INTO ended FROM unnest(positions) p
  WHERE p NOT IN (SELECT unnest(begun)) AND p NOT IN (SELECT unnest(waits)) AND p NOT IN (SELECT unnest(locked));
END $$;

-- Records results, one column an array: see store.attempts.AttemptStore.record_results. `task_status` as in
-- metercast_begin. Nothing is written where the task is cancelled and the results are not those of such a task
-- (`cancelled`). `moved`: those of `positions` that were SENT in the attempt that they name.
CREATE FUNCTION metercast_record(
  lease_bucket bigint, lease_by varchar, lease_number integer, at timestamptz, lowest bigint, highest bigint,
  cancelled boolean, positions bigint[], tried integer[], statuses varchar[], errors varchar[], details varchar[],
  hows varchar[], useds integer[], failures integer[], verifies boolean[], nexts timestamptz[], uncounted boolean[],
  valued bigint[], results text[], progressed bigint[], progresses text[],
  OUT task_status varchar, OUT moved bigint[], OUT of_task varchar
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
  held record;
  task record;
  ended bigint[];
  by_status integer[];
BEGIN
  SELECT b.task_id, b.first_id, b.last_id INTO held FROM task_buckets b
  WHERE b.bucket_id = lease_bucket AND b.lease_owner = lease_by AND b.lease_epoch = lease_number AND b.lease_until > at
  FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF lowest < held.first_id OR highest > held.last_id THEN
    task_status := 'OUTSIDE';
    RETURN;
  END IF;
  SELECT t.status, t.conflict_group INTO task FROM tasks t WHERE t.task_id = held.task_id;
  task_status := task.status;
  of_task := held.task_id;
  IF task.status = 'CANCELLED' AND NOT cancelled THEN
    RETURN;
  END IF;
  WITH ended_now AS (
    UPDATE task_devices d SET command_status = r.status, error_message = r.error, error_detail = r.detail, how = r.how,
      used = r.used, association_failures = r.failures, verify_first = r.verify, next_attempt_at = r.next_at,
      tries = d.tries - r.uncounted::integer, last_updated = at
    FROM unnest(positions, tried, statuses, errors, details, hows, useds, failures, verifies, nexts, uncounted)
      r (position, tries, status, error, detail, how, used, failures, verify, next_at, uncounted)
    WHERE d.id = r.position AND d.command_status = 'SENT' AND d.tries = r.tries
    RETURNING d.id, d.command_status, d.error_message, d.error_detail, d.sent_at, r.tries
  ), kept AS (
    INSERT INTO task_device_attempts (task_device_id, attempt, started_at, ended_at, error_message, error_detail)
    SELECT e.id, e.tries, e.sent_at, at, e.error_message, e.error_detail FROM ended_now e
    WHERE e.error_message IS NOT NULL
    ON CONFLICT (task_device_id, attempt, late) DO UPDATE SET started_at = excluded.started_at,
      ended_at = excluded.ended_at, error_message = excluded.error_message, error_detail = excluded.error_detail
  )
  SELECT array_agg(e.id), array_agg(e.id ORDER BY e.id) FILTER (WHERE e.command_status <> 'PENDING'),
    ARRAY[count(*) FILTER (WHERE e.command_status = 'PENDING'), count(*) FILTER (WHERE e.command_status = 'SUCCESS'),
      count(*) FILTER (WHERE e.command_status = 'FAILED'), count(*) FILTER (WHERE e.command_status = 'CANCELLED')]
  INTO moved, ended, by_status FROM ended_now e;
  IF moved IS NULL THEN
    RETURN;
  END IF;
  IF valued <> '{}' THEN
    INSERT INTO task_device_results (task_device_id, result)
    SELECT v.position, v.result::json FROM unnest(valued, results) v (position, result)
    WHERE v.position NOT IN (SELECT unnest(positions) EXCEPT SELECT unnest(moved))
    ON CONFLICT (task_device_id) DO UPDATE SET result = excluded.result;
  END IF;
  IF progressed <> '{}' THEN
    UPDATE task_devices d SET progress = p.progress::json
    FROM unnest(progressed, progresses) p (position, progress)
    WHERE d.id = p.position AND p.position NOT IN (SELECT unnest(positions) EXCEPT SELECT unnest(moved));
  END IF;
  IF task.conflict_group <> 'none' AND ended IS NOT NULL THEN
    PERFORM metercast_forget(ended);
  END IF;
  PERFORM metercast_count(lease_bucket, by_status[1], -cardinality(moved), by_status[2], by_status[3], by_status[4]);
END $$;

-- Takes a bucket: see store.attempts.AttemptStore.lease_bucket. No row where it can't be had.
CREATE FUNCTION metercast_lease(bucket bigint, lease_by varchar, until timestamptz, at timestamptz) RETURNS TABLE (
  task_id varchar, command_type varchar, conflict_group varchar, command_params text, status varchar,
  priority integer, scheduled_at timestamptz, expires_at timestamptz, retry text, epoch integer,
  positions bigint[], device_ids varchar[], statuses varchar[], tries integer[], used integer[], failures integer[],
  verify_first boolean[], waits float8[], channels varchar[], max_sessions integer[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
  held record;
BEGIN
  UPDATE task_buckets b SET lease_owner = lease_by, lease_epoch = b.lease_epoch + 1, lease_until = until
  WHERE b.bucket_id = bucket AND (b.lease_until IS NULL OR b.lease_until <= at) AND b.pending + b.sent > 0
    AND EXISTS (SELECT FROM tasks t WHERE t.task_id = b.task_id AND t.unsealed_until IS NULL
      AND (b.sent > 0 OR t.status = 'IN_PROGRESS'))
  RETURNING b.task_id, b.lease_epoch, b.first_id, b.last_id INTO held;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  RETURN QUERY
  SELECT t.task_id, t.command_type, t.conflict_group, t.command_params::text, t.status, t.priority, t.scheduled_at,
    t.expires_at, t.retry::text, held.lease_epoch, open.*
  FROM tasks t, (
    SELECT array_agg(d.id), array_agg(d.device_id), array_agg(d.command_status), array_agg(d.tries), array_agg(d.used),
      array_agg(d.association_failures), array_agg(d.verify_first),
      array_agg(coalesce(greatest(extract(epoch FROM d.next_attempt_at - at), 0), 0)::float8),
      array_agg(m.channel), array_agg(coalesce(m.max_sessions, 1))
    FROM (
      SELECT * FROM task_devices each WHERE each.id BETWEEN held.first_id AND held.last_id
        AND each.command_status IN ('PENDING', 'SENT') ORDER BY each.id) d
    LEFT JOIN devices m ON m.device_id = d.device_id
  ) open
  WHERE t.task_id = held.task_id;
END $$;

-- A contiguous range of ids for a task's devices; its first.
CREATE FUNCTION metercast_ids(count bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  sequence regclass := pg_get_serial_sequence('task_devices', 'id');
  first bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(1296257363, 1);
  first := nextval(sequence);
  IF count > 1 THEN
    PERFORM setval(sequence, first + count - 1);
  END IF;
  RETURN first;
END $$;
