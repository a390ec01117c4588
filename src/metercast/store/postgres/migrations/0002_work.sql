-- The hot path: one round trip a batch. Each statement of a function sees what was committed before it began, so what
-- follows a row lock sees what its last holder did. Order of locks: the own bucket, meters by key, open commands by
-- id; buckets of others only where nobody has them.
--
-- Plans are kept, and must not depend on how large a table was when they were made. So every table is looked up by
-- `= ANY` of the batch and then hashed, or row by row in a LATERAL whose OFFSET 0 keeps it from being joined otherwise.

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
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_memoize = off
AS $$
BEGIN
  PERFORM FROM open_commands o WHERE o.id = ANY (ids) ORDER BY o.id FOR UPDATE;
  DELETE FROM open_commands o WHERE o.id = ANY (ids);
END $$;

-- PENDING -> FAILED without an attempt, in a bucket that the caller has locked.
CREATE FUNCTION metercast_refuse(
  bucket bigint, at timestamptz, positions bigint[], error varchar, detail varchar, OUT refused varchar[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_memoize = off
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

-- Those of `positions`, of a task with these times, for which an older command of their group comes first: while it is
-- in a session or could begin now; where a newer one does not supersede it, also while it waits for its next attempt. A
-- due task counts before the scheduler has started it.
CREATE FUNCTION metercast_waits(
  positions bigint[], of_task varchar, scheduled timestamptz, created timestamptz, supersedes boolean, at timestamptz
) RETURNS bigint[] LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_memoize = off
AS $$
BEGIN
  RETURN (
    SELECT array_agg(DISTINCT mine.id) FROM open_commands mine, LATERAL (
      SELECT other.id, other.task_id, other.superseded FROM open_commands other
      WHERE other.device_id = mine.device_id AND other.conflict_group = mine.conflict_group AND other.id <> mine.id
      OFFSET 0
    ) other, LATERAL (
      SELECT t.status, t.scheduled_at FROM tasks t WHERE t.task_id = other.task_id AND t.unsealed_until IS NULL
        AND (t.scheduled_at, t.created_at, t.task_id) < (scheduled, created, of_task)
      OFFSET 0
    ) t, LATERAL (
      SELECT d.command_status, d.next_attempt_at FROM task_devices d WHERE d.id = other.id OFFSET 0
    ) d
    WHERE mine.id = ANY (positions)
      AND (d.command_status = 'SENT'
        OR ((t.status = 'IN_PROGRESS' OR (t.status = 'QUEUED' AND t.scheduled_at <= at)) AND NOT other.superseded
          AND (NOT supersedes OR d.next_attempt_at IS NULL OR d.next_attempt_at <= at))));
END $$;

-- `positions` have begun: what is older in their group is void, and its buckets are due to say so. A bucket that
-- someone is busy with finds out by itself.
CREATE FUNCTION metercast_supersede(
  positions bigint[], of_task varchar, scheduled timestamptz, created timestamptz, at timestamptz
) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_memoize = off
AS $$
DECLARE
  older bigint[];
  buckets bigint[];
BEGIN
  SELECT array_agg(other.id) INTO older FROM open_commands mine, LATERAL (
    SELECT other.id, other.task_id FROM open_commands other
    WHERE other.device_id = mine.device_id AND other.conflict_group = mine.conflict_group AND other.id <> mine.id
      AND NOT other.superseded
    OFFSET 0
  ) other, LATERAL (
    SELECT FROM tasks t WHERE t.task_id = other.task_id AND t.unsealed_until IS NULL
      AND (t.scheduled_at, t.created_at, t.task_id) < (scheduled, created, of_task)
    OFFSET 0
  ) t
  WHERE mine.id = ANY (positions);
  IF older IS NULL THEN
    RETURN;
  END IF;
  PERFORM FROM open_commands o WHERE o.id = ANY (older) ORDER BY o.id FOR UPDATE;
  UPDATE open_commands o SET superseded = true WHERE o.id = ANY (older);
  SELECT array_agg(DISTINCT b.bucket_id) INTO buckets FROM task_devices d, LATERAL (
    SELECT each.bucket_id FROM task_buckets each WHERE each.task_id = d.task_id AND each.first_id <= d.id
    ORDER BY each.first_id DESC LIMIT 1
  ) b
  WHERE d.id = ANY (older);
  SELECT array_agg(f.bucket_id) INTO buckets FROM (
    SELECT b.bucket_id FROM task_buckets b WHERE b.bucket_id = ANY (buckets) FOR UPDATE SKIP LOCKED
  ) f;
  SELECT array_agg(d.id) INTO older FROM task_buckets b, LATERAL (
    SELECT each.id FROM unnest(older) each (id) WHERE each.id BETWEEN b.first_id AND b.last_id
  ) d
  WHERE b.bucket_id = ANY (buckets);
  UPDATE task_devices d SET next_attempt_at = NULL WHERE d.id = ANY (older) AND d.command_status = 'PENDING';
  UPDATE task_buckets b SET due_at = at WHERE b.bucket_id = ANY (buckets) AND b.due_at > at;
END $$;

-- Begins devices: see store.attempts.AttemptStore.begin_attempts. `keys` are the lock keys of `positions`, ascending;
-- `tried` their attempts so far. `task_status` is null where the lease is not the caller's, and OUTSIDE where
-- `lowest` or `highest` are of another bucket.
CREATE FUNCTION metercast_begin(
  lease_bucket bigint, lease_by varchar, lease_number integer, at timestamptz, lowest bigint, highest bigint,
  keys bigint[], positions bigint[], device_ids varchar[], tried integer[], superseding varchar[],
  superseded_detail varchar,
  OUT task_status varchar, OUT begun bigint[], OUT numbers integer[], OUT documents bytea[], OUT secrets bytea[],
  OUT progresses text[], OUT locked bigint[], OUT waits bigint[], OUT ended bigint[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_nestloop = off SET enable_mergejoin = off
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
  held record;
  task record;
  void bigint[];
  taken bigint[];
  taken_keys bigint[];
  holders bigint[];
  epochs integer[];
  held_by bigint[];
  busy bigint[];
  busy_keys bigint[];
  ours bigint[];
  made bigint[];
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
  SELECT t.status, t.conflict_group, t.expires_at, t.scheduled_at, t.created_at INTO task FROM tasks t
  WHERE t.task_id = held.task_id;
  task_status := task.status;
  IF task.status <> 'IN_PROGRESS' THEN
    RETURN;
  END IF;
  IF task.expires_at <= at THEN
    ended := positions;
    RETURN;
  END IF;
  IF task.conflict_group <> 'none' THEN
    -- A task that is sealed now comes before all this or after it: see store/postgres/creating.py.
    PERFORM pg_advisory_xact_lock_shared(1296257363, 2);
  END IF;

  -- Every lock is taken, which waits for whoever is taking it; what it named before says whether it was free.
  WITH moved AS (
    UPDATE meter_locks l SET bucket_id = lease_bucket, epoch = lease_number, position = k.position,
      last_bucket_id = l.bucket_id, last_epoch = l.epoch, last_position = l.position
    FROM unnest(keys, positions) k (key, position)
    WHERE l.lock_key = k.key AND l.lock_key = ANY (keys)
    RETURNING l.lock_key, k.position, l.last_bucket_id, l.last_epoch, l.last_position
  )
  SELECT array_agg(m.position), array_agg(m.lock_key), array_agg(m.last_bucket_id), array_agg(m.last_epoch),
    array_agg(m.last_position)
  INTO taken, taken_keys, holders, epochs, held_by FROM moved m;
  -- It was not where the lease that it named lives, and its device is SENT. Most leases are over, and what they were for
  -- may be old and far away.
  IF EXISTS (
    SELECT FROM task_buckets b WHERE b.bucket_id = ANY (ARRAY(SELECT DISTINCT unnest(holders))) AND b.lease_until > at
  ) THEN
    SELECT array_agg(d.id) INTO busy FROM task_devices d WHERE d.id = ANY (held_by) AND d.command_status = 'SENT';
    IF busy IS NOT NULL THEN
      SELECT array_agg(t.position), array_agg(t.key), array_agg(t.position) FILTER (
        WHERE t.bucket_id = lease_bucket AND t.epoch = lease_number AND t.last_position = t.position)
      INTO busy, busy_keys, ours
      FROM unnest(taken, taken_keys, holders, epochs, held_by) t (position, key, bucket_id, epoch, last_position)
      JOIN task_buckets b ON b.bucket_id = t.bucket_id AND b.lease_epoch = t.epoch
      WHERE b.bucket_id = ANY (ARRAY(SELECT DISTINCT unnest(holders))) AND b.lease_until > at
        AND t.last_position IN (SELECT unnest(busy));
      UPDATE meter_locks l SET bucket_id = l.last_bucket_id, epoch = l.last_epoch, position = l.last_position
      WHERE l.lock_key = ANY (busy_keys);
    END IF;
  END IF;
  IF coalesce(cardinality(taken), 0) < cardinality(keys) THEN
    WITH moved AS (
      INSERT INTO meter_locks AS l (lock_key, bucket_id, epoch, position)
      SELECT k.key, lease_bucket, lease_number, k.position FROM unnest(keys, positions) k (key, position)
      WHERE k.position NOT IN (SELECT unnest(taken))
      ON CONFLICT DO NOTHING RETURNING l.position
    ) SELECT array_agg(m.position) INTO made FROM moved m;
    taken := taken || made;
  END IF;

  IF task.conflict_group <> 'none' THEN
    SELECT array_agg(o.id) INTO void FROM open_commands o WHERE o.id = ANY (positions) AND o.superseded;
    IF void IS NOT NULL THEN
      PERFORM metercast_refuse(lease_bucket, at, void, 'Superseded', superseded_detail);
    END IF;
    waits := metercast_waits(positions, held.task_id, task.scheduled_at, task.created_at,
      task.conflict_group = ANY (superseding), at);
  END IF;

  IF busy IS NOT NULL OR waits IS NOT NULL THEN
    SELECT array_agg(t) INTO taken FROM unnest(taken) t
    WHERE t NOT IN (SELECT unnest(busy)) AND t NOT IN (SELECT unnest(waits));
  END IF;
  WITH moved AS (
    UPDATE task_devices d SET command_status = 'SENT', tries = d.tries + 1, error_message = NULL, error_detail = NULL,
      next_attempt_at = NULL, sent_at = at, last_updated = at
    FROM devices m
    WHERE d.id = ANY (taken) AND d.command_status = 'PENDING' AND m.device_id = d.device_id
      AND m.device_id = ANY (device_ids)
    RETURNING d.id, d.tries, d.progress, m.document, m.sealed
  )
  SELECT array_agg(m.id), array_agg(m.tries), array_agg(m.document), array_agg(m.sealed), array_agg(m.progress::text)
  INTO begun, numbers, documents, secrets, progresses FROM moved m;
  IF begun IS NOT NULL THEN
    PERFORM metercast_count(lease_bucket, -cardinality(begun), cardinality(begun), 0, 0, 0);
    IF task.conflict_group = ANY (superseding) THEN
      PERFORM metercast_supersede(begun, held.task_id, task.scheduled_at, task.created_at, at);
    END IF;
    IF cardinality(begun) = cardinality(positions) THEN
      RETURN;
    END IF;
  END IF;

  -- The others: in a session of another command, begun by an earlier call of the same whose answer was lost, or ended.
  SELECT array_agg(o.position) FILTER (WHERE o.document IS NOT NULL AND o.status = 'PENDING'),
    array_agg(o.position) FILTER (WHERE o.document IS NULL OR NOT (o.status = 'PENDING' OR o.again)),
    begun || array_agg(o.position) FILTER (WHERE o.again), numbers || array_agg(o.tries) FILTER (WHERE o.again),
    documents || array_agg(o.document) FILTER (WHERE o.again), secrets || array_agg(o.sealed) FILTER (WHERE o.again),
    progresses || array_agg(o.progress) FILTER (WHERE o.again),
    array_agg(o.key) FILTER (WHERE o.status = 'SENT' AND o.position NOT IN (SELECT unnest(busy))),
    array_agg(o.position) FILTER (WHERE o.status = 'SENT' AND o.position NOT IN (SELECT unnest(busy)))
  INTO locked, ended, begun, numbers, documents, secrets, progresses, busy_keys, taken
  FROM (
    SELECT k.key, k.position, d.command_status AS status, d.tries, d.progress::text AS progress, m.document, m.sealed,
      m.document IS NOT NULL AND d.command_status = 'SENT' AND d.tries = k.tries + 1
        AND k.position IN (SELECT unnest(ours)) AS again
    FROM unnest(keys, positions, device_ids, tried) k (key, position, device_id, tries)
    JOIN task_devices d ON d.id = k.position
    LEFT JOIN devices m ON m.device_id = k.device_id AND m.device_id = ANY (device_ids)
    WHERE d.id = ANY (positions)
      AND k.position NOT IN (SELECT unnest(begun)) AND k.position NOT IN (SELECT unnest(waits))
  ) o;
  IF busy_keys IS NOT NULL THEN  -- SENT under an earlier lease, and not begun now: no lock of ours
    UPDATE meter_locks l SET bucket_id = l.last_bucket_id, epoch = l.last_epoch, position = l.last_position
    WHERE l.lock_key = ANY (busy_keys) AND l.position = ANY (taken) AND l.last_bucket_id IS NOT NULL;
  END IF;
END $$;

-- Records results: see store.attempts.AttemptStore.record_results. Those that differ in nothing but their device are a
-- group: `ends` says where in `positions` each group ends, and the arrays after it hold one value for each group.
-- `task_status` as in metercast_begin. Nothing is written where the task is cancelled and the results are not those of
-- such a task (`cancelled`). `moved`: those of `positions` that were SENT in the attempt that they name.
CREATE FUNCTION metercast_record(
  lease_bucket bigint, lease_by varchar, lease_number integer, at timestamptz, lowest bigint, highest bigint,
  cancelled boolean, positions bigint[], ends integer[], tried integer[], statuses varchar[], errors varchar[],
  details varchar[], hows varchar[], useds integer[], failures integer[], verifies boolean[], nexts timestamptz[],
  uncounted boolean[], valued bigint[], results text[], progressed bigint[], progress_texts text[],
  OUT task_status varchar, OUT moved bigint[], OUT of_task varchar
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_memoize = off
AS $$
DECLARE
  held record;
  task record;
  begins integer := 1;
  slice bigint[];
  changed integer;
  part bigint[];
  ended bigint[] := '{}';
  pending integer := 0;
  success integer := 0;
  failed integer := 0;
  dropped integer := 0;
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
  FOR g IN 1 .. cardinality(ends) LOOP
    slice := positions[begins:ends[g]];
    UPDATE task_devices d SET command_status = statuses[g], error_message = errors[g], error_detail = details[g],
      how = hows[g], used = useds[g], association_failures = failures[g], verify_first = verifies[g],
      next_attempt_at = nexts[g], tries = d.tries - uncounted[g]::integer, last_updated = at
    WHERE d.id = ANY (slice) AND d.command_status = 'SENT' AND d.tries = tried[g];
    GET DIAGNOSTICS changed = ROW_COUNT;
    begins := ends[g] + 1;
    CONTINUE WHEN changed = 0;
    part := slice;
    IF changed < cardinality(slice) THEN  -- those that this transaction has written, and in this group
      SELECT array_agg(d.id) INTO part FROM task_devices d
      WHERE d.id = ANY (slice) AND d.xmin = pg_current_xact_id()::xid AND d.id <> ALL (coalesce(moved, '{}'));
    END IF;
    moved := moved || part;
    IF errors[g] IS NOT NULL THEN
      INSERT INTO task_device_attempts (task_device_id, attempt, started_at, ended_at, error_message, error_detail)
      SELECT d.id, tried[g], d.sent_at, at, errors[g], details[g] FROM task_devices d WHERE d.id = ANY (part)
      ON CONFLICT (task_device_id, attempt, late) DO UPDATE SET started_at = excluded.started_at,
        ended_at = excluded.ended_at, error_message = excluded.error_message, error_detail = excluded.error_detail;
    END IF;
    CASE statuses[g]
      WHEN 'PENDING' THEN pending := pending + cardinality(part);
      WHEN 'SUCCESS' THEN success := success + cardinality(part);
      WHEN 'FAILED' THEN failed := failed + cardinality(part);
      WHEN 'CANCELLED' THEN dropped := dropped + cardinality(part);
    END CASE;
    IF statuses[g] <> 'PENDING' AND task.conflict_group <> 'none' THEN
      ended := ended || part;
    END IF;
  END LOOP;
  IF moved IS NULL THEN
    RETURN;
  END IF;
  IF valued <> '{}' THEN
    INSERT INTO task_device_results (task_device_id, result)
    SELECT v.position, v.result::json FROM unnest(valued, results) v (position, result)
    WHERE v.position IN (SELECT unnest(moved))
    ON CONFLICT (task_device_id) DO UPDATE SET result = excluded.result;
  END IF;
  FOR g IN 1 .. cardinality(progressed) LOOP
    UPDATE task_devices d SET progress = progress_texts[g]::json
    WHERE d.id = progressed[g] AND d.id = ANY (moved);
  END LOOP;
  IF ended <> '{}' THEN
    PERFORM metercast_forget(ended);
  END IF;
  PERFORM metercast_count(lease_bucket, pending, -cardinality(moved), success, failed, dropped);
END $$;

-- Takes a bucket: see store.attempts.AttemptStore.lease_bucket. No row where it can't be had.
CREATE FUNCTION metercast_lease(bucket bigint, lease_by varchar, until timestamptz, at timestamptz) RETURNS TABLE (
  task_id varchar, command_type varchar, conflict_group varchar, command_params text, status varchar,
  priority integer, scheduled_at timestamptz, expires_at timestamptz, retry text, epoch integer,
  positions bigint[], device_ids varchar[], statuses varchar[], tries integer[], used integer[], failures integer[],
  verify_first boolean[], waits float8[], channels varchar[], max_sessions integer[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_memoize = off
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
    LEFT JOIN LATERAL (
      SELECT m.channel, m.max_sessions FROM devices m WHERE m.device_id = d.device_id OFFSET 0
    ) m ON true
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
