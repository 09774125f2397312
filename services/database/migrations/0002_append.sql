-- Appends a batch and returns the position of its last event. The only way to write the log.
--
-- One advisory lock for all writers: positions are assigned and committed in the same order, so a reader that asks
-- for "greater than my position" can never pass over an event that commits later.
--
-- Safe to repeat: events that this connection has appended already are left out. Raises when ordinals are missing.
CREATE FUNCTION ledger.append(
    p_pbx        text,
    p_connection bigint,
    p_first      bigint,              -- ordinal of the first event
    p_sources    text[],
    p_names      text[],
    p_occurred   double precision[],  -- seconds since the epoch, NULL where unknown
    p_recorded   double precision[],
    p_raws       bytea[]
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    n    bigint := cardinality(p_raws);
    last bigint := p_first + n - 1;
    done bigint;
    base bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7310001);
    SELECT last_ordinal INTO done FROM connection WHERE pbx = p_pbx AND connection.connection = p_connection;
    done := coalesce(done, 0);
    IF p_first > done + 1 THEN
        RAISE EXCEPTION 'append to %/%: ordinal % follows %, events are missing', p_pbx, p_connection, p_first, done
            USING ERRCODE = 'data_exception';
    END IF;
    IF n = 0 OR last <= done THEN
        SELECT position INTO base FROM head;
        RETURN base;
    END IF;

    UPDATE head SET position = position + (last - done) RETURNING position - (last - done) INTO base;
    INSERT INTO event (position, connection, ordinal, occurred, recorded, pbx, source, name, raw)
    SELECT base + p_first + i - 1 - done, p_connection, p_first + i - 1,
           to_timestamp(o), to_timestamp(r), p_pbx, s, e, b
    FROM (  -- in the select list these run side by side; in FROM each would be stored whole first
        SELECT generate_series(1, n) AS i, unnest(p_sources) AS s, unnest(p_names) AS e, unnest(p_occurred) AS o,
               unnest(p_recorded) AS r, unnest(p_raws) AS b
    ) AS t
    WHERE p_first + i - 1 > done;

    INSERT INTO connection VALUES (p_pbx, p_connection, last, to_timestamp(p_recorded[n]))
    ON CONFLICT (pbx, connection) DO UPDATE
        SET last_ordinal = excluded.last_ordinal, last_recorded = excluded.last_recorded;
    PERFORM pg_notify('ledger', (base + last - done)::text);
    RETURN base + last - done;
END
$$;
