-- The log is partitioned by month, and every append is chained to the one before.

DROP INDEX ledger.event_recorded, ledger.event_ours;
ALTER TABLE ledger.event RENAME TO event_unpartitioned;
ALTER TABLE ledger.event_unpartitioned RENAME CONSTRAINT event_pkey TO event_unpartitioned_pkey;

CREATE TABLE ledger.event (
    position    bigint      NOT NULL,     -- dense, from 1; position order is commit order
    connection  bigint      NOT NULL,     -- one writer's run (a link to a PBX, an API process), see ledger.connection
    ordinal     bigint      NOT NULL,     -- dense within (pbx, connection)
    occurred    timestamptz,              -- the PBX's clock, where it said so
    recorded    timestamptz NOT NULL,     -- the writer's clock, when the bytes were read
    month       date        NOT NULL,     -- that of the append, by PostgreSQL's clock, UTC
    pbx         text        NOT NULL,
    source      text        NOT NULL CHECK (source IN ('ami', 'ari', 'cdr_csv', 'cel_csv', 'queue_log', 'ringledger')),
    name        text        NOT NULL,
    raw         bytea       NOT NULL      -- exactly as received, secrets masked in place
) PARTITION BY RANGE (month);
CREATE INDEX event_recorded ON ledger.event USING brin (recorded) WITH (pages_per_range = 512, autosummarize = on);
CREATE INDEX event_ours ON ledger.event (pbx, name, position) WHERE source = 'ringledger';

-- One append: which events it brought, and the link of the chain that seals them. What is hashed how is told in
-- services/log/chain.py, which computes it anew.
CREATE TABLE ledger.batch (
    first      bigint      NOT NULL,      -- position of its first event
    last       bigint      NOT NULL,
    connection bigint      NOT NULL,
    ordinal    bigint      NOT NULL,      -- of its first event
    appended   timestamptz NOT NULL,      -- PostgreSQL's clock, never before that of the batch before
    earliest   timestamptz NOT NULL,      -- the smallest time of recording in it
    month      date        NOT NULL,
    pbx        text        NOT NULL,
    hash       bytea       NOT NULL,      -- of the previous batch's hash, of the columns above and of the leaves
    leaves     bytea       NOT NULL,      -- the SHA-256 of each event, in order
    salts      bytea       NOT NULL       -- 16 random bytes of each event, which its leaf begins with
) PARTITION BY RANGE (month);
ALTER TABLE ledger.batch ALTER COLUMN leaves SET STORAGE EXTERNAL, ALTER COLUMN salts SET STORAGE EXTERNAL;  -- noise
CREATE INDEX batch_appended ON ledger.batch (appended);
-- Those that waited in a spool: found without reading all that came after.
CREATE INDEX batch_late ON ledger.batch (earliest) WHERE appended - earliest > interval '10 seconds';

-- How often each event came, whether or not a model cares.
CREATE TABLE ledger.name (
    pbx    text   NOT NULL,
    source text   NOT NULL,
    name   text   NOT NULL,
    count  bigint NOT NULL,
    last   bigint NOT NULL,               -- position of the newest
    PRIMARY KEY (pbx, source, name)
) WITH (fillfactor = 50);

ALTER TABLE ledger.head
    ADD COLUMN hash     bytea       NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),  -- of the last batch
    ADD COLUMN appended timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN month    date        NOT NULL DEFAULT '-infinity';                      -- the newest that is open

-- Set when another writer has taken this one's place: what it recorded later was heard by the other one too.
ALTER TABLE ledger.connection ADD COLUMN fenced timestamptz;

-- PostgreSQL's clock, by which months turn. Tests put another in its place.
CREATE FUNCTION ledger.clock() RETURNS timestamptz
LANGUAGE sql VOLATILE
RETURN clock_timestamp();

-- Microseconds since the epoch: whole numbers, so that nobody rounds.
CREATE FUNCTION ledger.microseconds(at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (extract(epoch FROM at) * 1000000)::bigint;

CREATE FUNCTION ledger.link(
    previous bytea, first bigint, last bigint, connection bigint, ordinal bigint, appended timestamptz,
    earliest timestamptz, pbx text, leaves bytea
) RETURNS bytea
LANGUAGE sql IMMUTABLE
RETURN sha256(
    previous
    || convert_to(concat_ws(' ', first, last, connection, ordinal, ledger.microseconds(appended),
                            ledger.microseconds(earliest), octet_length(pbx), pbx), 'UTF8')
    || leaves
);

-- Makes the partitions of a month. They are attached, not created in place, for that waits for no reader.
CREATE FUNCTION ledger.open_month(month date) RETURNS void
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    suffix text := to_char(month, 'YYYY_MM');
    bounds text := format('FOR VALUES FROM (%L) TO (%L)', month, month + interval '1 month');
BEGIN
    EXECUTE format('CREATE TABLE event_%s (LIKE event INCLUDING CONSTRAINTS, PRIMARY KEY (position))', suffix);
    -- Compressing 450 bytes that arrive 36,000 times a second costs more than it saves.
    EXECUTE format('ALTER TABLE event_%s ALTER COLUMN raw SET STORAGE EXTERNAL', suffix);
    -- Nothing is updated or deleted here, so there is little to vacuum, and not while a loaded PBX speaks.
    EXECUTE format('ALTER TABLE event_%s SET (autovacuum_vacuum_insert_threshold = 10000000,'
                   ' autovacuum_analyze_threshold = 1000000)', suffix);
    EXECUTE format('ALTER TABLE event ATTACH PARTITION event_%s %s', suffix, bounds);
    EXECUTE format('CREATE TABLE batch_%s (LIKE batch INCLUDING STORAGE, PRIMARY KEY (first))', suffix);
    EXECUTE format('ALTER TABLE batch ATTACH PARTITION batch_%s %s', suffix, bounds);
END
$$;

-- What was appended before: all of it goes into the month of this migration, in batches of up to 4096.
DO $$
DECLARE
    month date := date_trunc('month', now() AT TIME ZONE 'UTC');
    chain bytea := decode(repeat('00', 32), 'hex');
    b     record;
BEGIN
    PERFORM ledger.open_month(month);
    INSERT INTO ledger.event (position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw)
    SELECT position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw
    FROM ledger.event_unpartitioned;
    FOR b IN
        SELECT min(position) AS first, max(position) AS last, pbx, connection, min(ordinal) AS ordinal,
               min(recorded) AS earliest, string_agg(salt, '' ORDER BY position) AS salts,
               string_agg(sha256(
                   salt || convert_to(coalesce(ledger.microseconds(occurred)::text, ''), 'UTF8') || '\x00'
                   || convert_to(ledger.microseconds(recorded)::text, 'UTF8') || '\x00'
                   || convert_to(source, 'UTF8') || '\x00' || convert_to(name, 'UTF8') || '\x00' || raw
               ), '' ORDER BY position) AS leaves
        FROM (SELECT *, uuid_send(gen_random_uuid()) AS salt FROM ledger.event OFFSET 0) AS e
        GROUP BY pbx, connection, position - ordinal, ordinal / 4096
        ORDER BY 1
    LOOP
        chain := ledger.link(chain, b.first, b.last, b.connection, b.ordinal, now(), b.earliest, b.pbx, b.leaves);
        INSERT INTO ledger.batch (first, last, connection, ordinal, appended, earliest, month, pbx, hash, leaves, salts)
        VALUES (b.first, b.last, b.connection, b.ordinal, now(), b.earliest, month, b.pbx, chain, b.leaves, b.salts);
    END LOOP;
    INSERT INTO ledger.name (pbx, source, name, count, last)
    SELECT pbx, source, name, count(*), max(position) FROM ledger.event GROUP BY 1, 2, 3;
    UPDATE ledger.head SET hash = chain, appended = now(), month = date_trunc('month', now() AT TIME ZONE 'UTC');
END
$$;
DROP TABLE ledger.event_unpartitioned;

-- Appends a batch and returns the position of its last event. The only way to write the log.
--
-- One advisory lock for all writers: positions are assigned and committed in the same order, so a reader that asks
-- for "greater than my position" can never pass over an event that commits later.
--
-- Safe to repeat: events that this connection has appended already are left out. Raises data_exception when ordinals
-- are missing, and lock_not_available when the writer has been fenced and the batch holds what it recorded later.
DROP FUNCTION ledger.append;
CREATE FUNCTION ledger.append(
    p_pbx        text,
    p_connection bigint,
    p_first      bigint,    -- ordinal of the first event
    p_sources    text[],    -- the kinds of event in this batch: their sources and
    p_names      text[],    -- their names
    p_kinds      int[],     -- which kind (from 1) each event is
    p_occurred   bigint[],  -- microseconds since the epoch, NULL where unknown
    p_recorded   bigint[],
    p_ends       int[],     -- where in p_raws each event ends
    p_raws       bytea,     -- their bytes, one after the other: an array of them takes three times as long to send
    p_leaves     bytea,     -- their SHA-256s, one after the other
    p_salts      bytea      -- and their salts
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    n        bigint := cardinality(p_ends);
    done     bigint;
    fence    timestamptz;
    skip     bigint;
    h        head%ROWTYPE;
    first    bigint;
    last     bigint;
    earliest timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(7310001);
    SELECT * INTO h FROM head;
    SELECT last_ordinal, fenced INTO done, fence FROM connection WHERE pbx = p_pbx AND connection.connection = p_connection;
    skip := coalesce(done, 0) - p_first + 1;
    IF skip < 0 THEN
        RAISE EXCEPTION 'append to %/%: ordinal % follows %, events are missing', p_pbx, p_connection, p_first, done
            USING ERRCODE = 'data_exception';
    END IF;
    IF skip >= n THEN
        RETURN h.position;
    END IF;
    IF octet_length(p_leaves) <> n * 32 OR octet_length(p_salts) <> n * 16 THEN
        RAISE EXCEPTION 'append to %/%: % bytes of leaves and % of salts for % events', p_pbx, p_connection,
                        octet_length(p_leaves), octet_length(p_salts), n
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF fence IS NOT NULL AND p_recorded[n] > microseconds(fence) THEN
        RAISE EXCEPTION 'append to %/%: another listener took over at %', p_pbx, p_connection, fence
            USING ERRCODE = 'lock_not_available', DETAIL = microseconds(fence)::text;
    END IF;

    first := h.position + 1;
    last := h.position + n - skip;
    p_leaves := substr(p_leaves, skip::int * 32 + 1);
    p_salts := substr(p_salts, skip::int * 16 + 1);
    h.appended := greatest(h.appended, clock());
    IF h.month < date_trunc('month', h.appended AT TIME ZONE 'UTC') THEN
        h.month := date_trunc('month', h.appended AT TIME ZONE 'UTC');
        PERFORM open_month(h.month);
    END IF;
    INSERT INTO event (position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw)
    SELECT h.position + i - skip, p_connection, p_first + i - 1, to_timestamp(0) + o * interval '1 microsecond',
           to_timestamp(0) + r * interval '1 microsecond', h.month, p_pbx, p_sources[k], p_names[k],
           substr(p_raws, after + 1, upto - after)
    FROM (  -- in the select list these run side by side; in FROM each would be stored whole first
        SELECT generate_series(1, n) AS i, unnest(p_kinds) AS k, unnest(p_occurred) AS o, unnest(p_recorded) AS r,
               unnest(0 || p_ends) AS after, unnest(p_ends) AS upto
    ) AS t
    WHERE i > skip;

    SELECT to_timestamp(0) + min(r) * interval '1 microsecond' INTO earliest FROM unnest(p_recorded[skip + 1:]) AS r;
    h.hash := link(h.hash, first, last, p_connection, p_first + skip, h.appended, earliest, p_pbx, p_leaves);
    INSERT INTO batch (first, last, connection, ordinal, appended, earliest, month, pbx, hash, leaves, salts)
    VALUES (first, last, p_connection, p_first + skip, h.appended, earliest, h.month, p_pbx, h.hash, p_leaves, p_salts);
    UPDATE head SET position = last, hash = h.hash, appended = h.appended, month = h.month;
    INSERT INTO connection AS c (pbx, connection, last_ordinal, last_recorded)
    VALUES (p_pbx, p_connection, p_first + n - 1, to_timestamp(0) + p_recorded[n] * interval '1 microsecond')
    ON CONFLICT (pbx, connection) DO UPDATE
        SET last_ordinal = excluded.last_ordinal, last_recorded = excluded.last_recorded;
    INSERT INTO name AS m (pbx, source, name, count, last)
    SELECT p_pbx, p_sources[k], p_names[k], count(*), h.position + max(i) - skip
    FROM (SELECT generate_series(1, n) AS i, unnest(p_kinds) AS k) AS t
    WHERE i > skip GROUP BY k
    ON CONFLICT (pbx, source, name) DO UPDATE SET count = m.count + excluded.count, last = excluded.last;
    PERFORM pg_notify('ledger', last::text);
    RETURN last;
END
$$;
