-- Appends a batch exactly as it stands in another copy of this log: the same positions, time and month, so that its
-- link is the same too. For `ringledger import`; everything new comes through ledger.append.
--
-- Safe to repeat: a batch that is there already is left out. Raises data_exception when it does not follow on the head,
-- or does not have the link that is given for it.
CREATE FUNCTION ledger.restore(
    p_first      bigint,    -- position of the first event
    p_appended   bigint,    -- microseconds since the epoch
    p_hash       bytea,     -- the link that must come of it
    p_pbx        text,      -- from here on as in ledger.append, p_ordinal being its p_first
    p_connection bigint,
    p_ordinal    bigint,
    p_sources    text[],
    p_names      text[],
    p_kinds      int[],
    p_occurred   bigint[],
    p_recorded   bigint[],
    p_ends       int[],
    p_raws       bytea,
    p_leaves     bytea,
    p_salts      bytea
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    n        bigint := cardinality(p_ends);
    ending   bigint := p_first + n - 1;
    done     bigint;
    h        head%ROWTYPE;
    sealed   timestamptz := to_timestamp(0) + p_appended * interval '1 microsecond';
    opened   date := date_trunc('month', sealed AT TIME ZONE 'UTC');
    earliest timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(7310001);
    SELECT * INTO h FROM head;
    IF EXISTS (SELECT FROM batch AS b WHERE b.first = p_first AND b.last = ending AND b.hash = p_hash) THEN
        RETURN h.position;
    END IF;
    IF p_first <> h.position + 1 OR (h.position > 0 AND sealed < h.appended) THEN
        RAISE EXCEPTION 'restore of %/%: position % does not follow on %', p_pbx, p_connection, p_first, h.position
            USING ERRCODE = 'data_exception';
    END IF;
    SELECT last_ordinal INTO done FROM connection WHERE pbx = p_pbx AND connection.connection = p_connection;
    IF p_ordinal <> done + 1 THEN
        RAISE EXCEPTION 'restore of %/%: ordinal % follows %', p_pbx, p_connection, p_ordinal, done
            USING ERRCODE = 'data_exception';
    END IF;
    SELECT to_timestamp(0) + min(r) * interval '1 microsecond' INTO earliest FROM unnest(p_recorded) AS r;
    IF octet_length(p_leaves) <> n * 32 OR octet_length(p_salts) <> n * 16
        OR p_hash <> link(h.hash, p_first, ending, p_connection, p_ordinal, sealed, earliest, p_pbx, p_leaves)
    THEN
        RAISE EXCEPTION 'restore of %/%: the link of positions % to % is another', p_pbx, p_connection, p_first, ending
            USING ERRCODE = 'data_exception';
    END IF;

    -- A database that is new has its own month open, which may be later than those of the log.
    IF to_regclass(format('event_%s', to_char(opened, 'YYYY_MM'))) IS NULL THEN
        PERFORM open_month(opened);
    END IF;
    INSERT INTO event (position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw)
    SELECT p_first + i - 1, p_connection, p_ordinal + i - 1, to_timestamp(0) + o * interval '1 microsecond',
           to_timestamp(0) + r * interval '1 microsecond', opened, p_pbx, p_sources[k], p_names[k],
           substr(p_raws, after + 1, upto - after)
    FROM (
        SELECT generate_series(1, n) AS i, unnest(p_kinds) AS k, unnest(p_occurred) AS o, unnest(p_recorded) AS r,
               unnest(0 || p_ends) AS after, unnest(p_ends) AS upto
    ) AS t
    WHERE i <= n;
    INSERT INTO batch (first, last, connection, ordinal, appended, earliest, month, pbx, hash, leaves, salts)
    VALUES (p_first, ending, p_connection, p_ordinal, sealed, earliest, opened, p_pbx, p_hash, p_leaves, p_salts);
    UPDATE head SET position = ending, hash = p_hash, appended = sealed, month = greatest(h.month, opened);
    INSERT INTO connection AS c (pbx, connection, last_ordinal, last_recorded)
    VALUES (p_pbx, p_connection, p_ordinal + n - 1, to_timestamp(0) + p_recorded[n] * interval '1 microsecond')
    ON CONFLICT (pbx, connection) DO UPDATE
        SET last_ordinal = excluded.last_ordinal, last_recorded = excluded.last_recorded;
    INSERT INTO name AS m (pbx, source, name, count, last)
    SELECT p_pbx, p_sources[k], p_names[k], count(*), p_first + max(i) - 1
    FROM (SELECT generate_series(1, n) AS i, unnest(p_kinds) AS k) AS t
    GROUP BY k
    ON CONFLICT (pbx, source, name) DO UPDATE SET count = m.count + excluded.count, last = excluded.last;
    PERFORM pg_notify('ledger', ending::text);
    RETURN ending;
END
$$;
