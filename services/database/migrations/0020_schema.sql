-- The schema of the log and of everything beside it. Read models have tables in the schemas model and rebuild, which
-- the projector creates (services/projector/table.py).
--
-- This file is applied once to each database. In an older database, after upgrade_to_0020.sql, it adds what is missing
-- and replaces all functions.

CREATE SCHEMA IF NOT EXISTS ledger;
CREATE SCHEMA IF NOT EXISTS model;
CREATE SCHEMA IF NOT EXISTS rebuild;
CREATE SCHEMA IF NOT EXISTS archived;

-- The event log, partitioned by month. Only ledger.append and ledger.restore insert, only ledger.redact updates.
CREATE TABLE IF NOT EXISTS ledger.event (
    position    bigint      NOT NULL,     -- dense, from 1; position order is commit order
    connection  bigint      NOT NULL,     -- a writer's run (a link to a PBX, an API process), see ledger.connection
    ordinal     bigint      NOT NULL,     -- dense within (pbx, connection), from 1
    occurred    timestamptz,              -- the PBX's clock, where the event has a time
    recorded    timestamptz NOT NULL,     -- the writer's clock, when it read the bytes
    month       date        NOT NULL,     -- the month of the append, UTC, by PostgreSQL's clock
    pbx         text        NOT NULL,
    source      text        NOT NULL CHECK (source IN ('ami', 'ari', 'cdr_csv', 'cel_csv', 'queue_log', 'ringledger')),
    name        text        NOT NULL,
    raw         bytea       NOT NULL      -- exactly as received, secrets masked in place
) PARTITION BY RANGE (month);
-- Ranges of 4 MB: autovacuum remembers 256 full ranges, and runs every 10 seconds.
CREATE INDEX IF NOT EXISTS event_recorded ON ledger.event
    USING brin (recorded) WITH (pages_per_range = 512, autosummarize = on);
-- Own events are few: this index finds the last snapshot or link of a PBX without a scan of the log.
CREATE INDEX IF NOT EXISTS event_ours ON ledger.event (pbx, name, position) WHERE source = 'ringledger';

-- One append: its events, and the link of the hash chain that seals them (services/log/chain.py).
CREATE TABLE IF NOT EXISTS ledger.batch (
    first      bigint      NOT NULL,      -- position of the first event
    last       bigint      NOT NULL,
    connection bigint      NOT NULL,
    ordinal    bigint      NOT NULL,      -- ordinal of the first event
    appended   timestamptz NOT NULL,      -- PostgreSQL's clock, never before the previous batch
    earliest   timestamptz NOT NULL,      -- the smallest time of recording in the batch
    month      date        NOT NULL,
    pbx        text        NOT NULL,
    hash       bytea       NOT NULL,      -- hash of the previous batch's hash, the columns above and the leaves
    leaves     bytea       NOT NULL,      -- the SHA-256 of each event, in order
    salts      bytea       NOT NULL       -- 16 random bytes for each event, with which its leaf begins
) PARTITION BY RANGE (month);
-- Hashes and salts do not compress.
ALTER TABLE ledger.batch ALTER COLUMN leaves SET STORAGE EXTERNAL, ALTER COLUMN salts SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS batch_appended ON ledger.batch (appended);
-- Batches that waited in a spool: this index finds them without a scan of everything after them.
CREATE INDEX IF NOT EXISTS batch_late ON ledger.batch (earliest) WHERE appended - earliest > interval '10 seconds';

-- The events, each with the time of its append, for queries of few events: each costs a search of an index.
CREATE OR REPLACE VIEW ledger.event_appended AS
SELECT e.position, e.connection, e.ordinal, e.occurred, e.recorded, b.appended, e.month, e.pbx, e.source, e.name, e.raw
FROM ledger.event e
CROSS JOIN LATERAL (
    SELECT appended FROM ledger.batch WHERE month = e.month AND first <= e.position ORDER BY first DESC LIMIT 1
) b;

-- The end of the log, one row.
CREATE TABLE IF NOT EXISTS ledger.head (
    position bigint      NOT NULL,
    hash     bytea       NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),  -- of the last batch
    appended timestamptz NOT NULL DEFAULT '-infinity',
    month    date        NOT NULL DEFAULT '-infinity'                       -- the newest open month
) WITH (fillfactor = 10);

-- The last ordinal of each writer: makes (pbx, connection, ordinal) unique without an index over all events.
CREATE TABLE IF NOT EXISTS ledger.connection (
    pbx           text        NOT NULL,
    connection    bigint      NOT NULL,
    last_ordinal  bigint      NOT NULL,
    last_recorded timestamptz NOT NULL,
    fenced        timestamptz,            -- when another writer took over; that one has every later event too
    PRIMARY KEY (pbx, connection)
) WITH (fillfactor = 50);

-- The number of events of each name, whether or not a model handles them.
CREATE TABLE IF NOT EXISTS ledger.name (
    pbx    text   NOT NULL,
    source text   NOT NULL,
    name   text   NOT NULL,
    count  bigint NOT NULL,
    last   bigint NOT NULL,               -- position of the newest event
    PRIMARY KEY (pbx, source, name)
) WITH (fillfactor = 50);

-- The position of each read model. "place" is the schema of its table: model (served) or rebuild.
CREATE TABLE IF NOT EXISTS ledger.checkpoint (
    model    text   NOT NULL,
    place    text   NOT NULL CHECK (place IN ('model', 'rebuild')),
    version  int    NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    changed  bigint NOT NULL DEFAULT 0,   -- the last event that changed a row
    at       timestamptz,                 -- when the event at position was recorded
    state    jsonb  NOT NULL DEFAULT '{}',
    error    text,                        -- why the model stopped; NULL while it runs
    swaps    int    NOT NULL DEFAULT 0,   -- number of tables that were served before this one
    mark     int    NOT NULL DEFAULT 0,   -- random, see ledger.mark_change
    PRIMARY KEY (model, place)
) WITH (fillfactor = 50);

-- Events whose values do not match Asterisk's documentation; the model skipped them.
CREATE TABLE IF NOT EXISTS ledger.unfit (
    model    text   NOT NULL,
    position bigint NOT NULL,
    name     text   NOT NULL,
    error    text   NOT NULL,
    place    text   NOT NULL DEFAULT 'model' CHECK (place IN ('model', 'rebuild')),
    PRIMARY KEY (model, place, position)
);

-- Models that have folded events which were redacted later, from position "first" on; redact rebuilds them.
CREATE TABLE IF NOT EXISTS ledger.stale (
    model text   PRIMARY KEY,
    first bigint NOT NULL
);

-- Requests to rebuild a read model beside its served table.
CREATE TABLE IF NOT EXISTS ledger.rebuild (
    number   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model    text        NOT NULL,
    upto     bigint,                              -- the last event to fold; NULL: as far as the log goes
    asked    timestamptz NOT NULL DEFAULT now(),
    ended    timestamptz,                         -- NULL while the request is open
    position bigint,                              -- position of the new table when it was served
    error    text                                 -- why it was not served
);
CREATE UNIQUE INDEX IF NOT EXISTS rebuild_wanted ON ledger.rebuild (model) WHERE ended IS NULL;

-- Saved states of read models: a fold for `as_of` starts there and not at the first event.
CREATE TABLE IF NOT EXISTS ledger.saved (
    model    text        NOT NULL,
    version  int         NOT NULL,
    position bigint      NOT NULL,
    latest   timestamptz NOT NULL,                -- the greatest time of recording of all events until position
    changed  bigint      NOT NULL,                -- the last event that changed a row
    state    jsonb       NOT NULL,                -- the model's state besides its rows
    whole    boolean     NOT NULL,                -- saved_rows has its rows; if not, no fold can start here
    kept     boolean     NOT NULL DEFAULT false,  -- pinned: never thinned out
    PRIMARY KEY (model, version, position)
);
CREATE INDEX IF NOT EXISTS saved_position ON ledger.saved (position);
CREATE INDEX IF NOT EXISTS saved_changed ON ledger.saved (model, version, changed);

-- The rows after the event at "changed", shared by all states until the next change. They are split into parts, because
-- a value has at most 1 GB; an empty table has no part.
CREATE TABLE IF NOT EXISTS ledger.saved_rows (
    model   text   NOT NULL,
    version int    NOT NULL,
    changed bigint NOT NULL,
    part    int    NOT NULL,
    rows    json   NOT NULL,
    PRIMARY KEY (model, version, changed, part)
);

-- The lease of each listener: one holder for each PBX and kind renews it every second, other listeners stand by.
CREATE TABLE IF NOT EXISTS ledger.listener (
    pbx      text        NOT NULL,
    kind     text        NOT NULL CHECK (kind IN ('ami', 'ari')),
    holder   bigint      NOT NULL,               -- the writer (ledger.connection) of its term, 0 without a holder
    host     text        NOT NULL,               -- machine and process
    renewals bigint      NOT NULL DEFAULT 1,
    renewed  timestamptz NOT NULL DEFAULT now(),
    status   jsonb       NOT NULL DEFAULT '{}',  -- schemas/listener.py
    PRIMARY KEY (pbx, kind)
) WITH (fillfactor = 50);

-- The state of each commander's AMI session, for /readyz and `ringledger status`.
CREATE TABLE IF NOT EXISTS ledger.commander (
    pbx     text        PRIMARY KEY,
    updated timestamptz NOT NULL DEFAULT now(),
    link    text        NOT NULL CHECK (link IN ('up', 'down')),
    trouble text        NOT NULL                 -- empty unless the operator has to change something
) WITH (fillfactor = 50);

-- Months that were moved from the log to files. With the events Archived, these rows define the start of the log.
CREATE TABLE IF NOT EXISTS ledger.archive (
    month    date        PRIMARY KEY,
    first    bigint      NOT NULL,      -- its first and last position
    last     bigint      NOT NULL UNIQUE,
    previous bytea       NOT NULL,      -- the link before its first batch
    hash     bytea       NOT NULL,      -- the link of its last batch, which the log continues
    begun    timestamptz NOT NULL,      -- when its first batch was appended
    ended    timestamptz NOT NULL,      -- when its last batch was appended
    latest   timestamptz NOT NULL,      -- the greatest time of recording in this and all earlier months
    events   bigint      NOT NULL,
    file     text        NOT NULL,      -- path of the file when it was written
    sha256   bytea       NOT NULL,      -- of the file
    counts   jsonb       NOT NULL,      -- number of events: [pbx, source, name, count]
    archived timestamptz NOT NULL
);

-- Facts about each PBX from own events that may be archived; listeners and imports read them.
CREATE TABLE IF NOT EXISTS ledger.past (
    pbx          text        PRIMARY KEY,
    since        timestamptz,           -- time of the first event Connected
    connected    bigint,                -- position of the last event Connected, and its writer
    connection   bigint,
    disconnected bigint,                -- position of the last event Disconnected
    epoch        bigint,                -- of the last snapshot
    imported     boolean     NOT NULL   -- the log has lines of its own files
);

-- Secret values of configuration files between the API's request and the commander that writes them into the PBX
-- (services/database/secret_store.py). They are in no log, no read model and no write-ahead log.
CREATE UNLOGGED TABLE IF NOT EXISTS ledger.secret (
    id    text        PRIMARY KEY,
    value text        NOT NULL,
    made  timestamptz NOT NULL DEFAULT now()
);

-- Places from which users have logged in (services/accounts/places.py): wrong passwords from elsewhere do not slow down
-- a login from there. A place is a hash of the user and the client's address. It is not in the log, because it expires.
CREATE TABLE IF NOT EXISTS ledger.login_place (
    user_uuid text        NOT NULL,
    place     text        NOT NULL,
    used      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_uuid, place)
);

-- PostgreSQL's clock, which decides about months. Tests replace it.
CREATE OR REPLACE FUNCTION ledger.clock() RETURNS timestamptz
LANGUAGE sql VOLATILE
RETURN clock_timestamp();

-- Whole microseconds since the epoch, so no rounding occurs.
CREATE OR REPLACE FUNCTION ledger.microseconds(at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (extract(epoch FROM at) * 1000000)::bigint;

-- The link of a batch to the previous one (services/log/chain.py).
CREATE OR REPLACE FUNCTION ledger.link(
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

-- The hash of one event (services/log/chain.py).
CREATE OR REPLACE FUNCTION ledger.leaf(
    salt bytea, occurred timestamptz, recorded timestamptz, source text, name text, raw bytea
) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(
    salt || convert_to(coalesce(ledger.microseconds(occurred)::text, ''), 'UTF8') || '\x00'
    || convert_to(ledger.microseconds(recorded)::text, 'UTF8') || '\x00'
    || convert_to(source, 'UTF8') || '\x00' || convert_to(name, 'UTF8') || '\x00' || raw
);

-- The salt of one event, from its batch.
CREATE OR REPLACE FUNCTION ledger.salt(p_position bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT substr(b.salts, (p_position - b.first)::int * 16 + 1, 16)
    FROM ledger.batch b WHERE b.first <= p_position ORDER BY b.first DESC LIMIT 1;
END;

-- Creates the partitions of a month. They are attached, not created in place, which waits for no reader.
CREATE OR REPLACE FUNCTION ledger.open_month(month date) RETURNS void
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    suffix text := to_char(month, 'YYYY_MM');
    bounds text := format('FOR VALUES FROM (%L) TO (%L)', month, month + interval '1 month');
BEGIN
    EXECUTE format('CREATE TABLE event_%s (LIKE event INCLUDING CONSTRAINTS, PRIMARY KEY (position))', suffix);
    -- Compression of 450 bytes that arrive 36,000 times a second costs more than it saves.
    EXECUTE format('ALTER TABLE event_%s ALTER COLUMN raw SET STORAGE EXTERNAL', suffix);
    -- Rows are rarely updated or deleted, so vacuum has little to do, and must not run while a loaded PBX sends.
    EXECUTE format('ALTER TABLE event_%s SET (autovacuum_vacuum_insert_threshold = 10000000,'
                   ' autovacuum_analyze_threshold = 1000000)', suffix);
    EXECUTE format('ALTER TABLE event ATTACH PARTITION event_%s %s', suffix, bounds);
    EXECUTE format('CREATE TABLE batch_%s (LIKE batch INCLUDING STORAGE, PRIMARY KEY (first))', suffix);
    EXECUTE format('ALTER TABLE batch ATTACH PARTITION batch_%s %s', suffix, bounds);
END
$$;

-- Appends a batch and returns the position of its last event. The only way to append new events.
--
-- One advisory lock for all writers: positions are assigned and committed in the same order. A reader that selects
-- positions greater than its own never skips an event that commits later.
--
-- Safe to repeat: events that this connection has appended already are left out. Raises data_exception if ordinals are
-- missing, and lock_not_available if the writer is fenced and the batch has events that it recorded later.
CREATE OR REPLACE FUNCTION ledger.append(
    p_pbx        text,
    p_connection bigint,
    p_first      bigint,    -- ordinal of the first event
    p_sources    text[],    -- the kinds of events in this batch: their sources and
    p_names      text[],    -- their names
    p_kinds      int[],     -- which kind (from 1) each event is
    p_occurred   bigint[],  -- microseconds since the epoch, NULL where unknown
    p_recorded   bigint[],
    p_ends       int[],     -- the end of each event in p_raws
    p_raws       bytea,     -- their bytes, joined: an array takes three times as long to send
    p_leaves     bytea,     -- their SHA-256s, joined
    p_salts      bytea      -- their salts, joined
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
    FROM (  -- in the select list these run side by side; in FROM each one would be stored first
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

-- Appends a batch of another copy of this log, with the same positions, time and month, so its link is the same too.
-- For `ringledger import`; all new events come through ledger.append.
--
-- Safe to repeat: a batch that the log has already is left out. Raises data_exception if the batch does not follow the
-- head, or does not have the expected link.
CREATE OR REPLACE FUNCTION ledger.restore(
    p_first      bigint,    -- position of the first event
    p_appended   bigint,    -- microseconds since the epoch
    p_hash       bytea,     -- the expected link
    p_pbx        text,      -- from here on as in ledger.append; p_ordinal is its p_first
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

    -- A new database has the current month open, which may be later than the months of the log.
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

-- Replaces the bytes and salts of events of one PBX, appends the event Redacted (schemas/log.py), and returns its
-- position: all or nothing. It is the only other way to change the log.
--
-- Raises serialization_failure if an event is no longer what the caller read, by its leaf. The sealed leaves in
-- ledger.batch and the chain over them stay the same. A leaf cannot confirm a guess without its old salt. The new salts
-- are random: the next redaction may replace what is left, and its leaf is in an event from the first redaction on.
CREATE OR REPLACE FUNCTION ledger.redact(
    p_pbx       text,
    p_kind      text,      -- kind of the redacted value: number or text
    p_token     text,      -- the replacement
    p_reason    text,
    p_actor     text,
    p_positions bigint[],
    p_leaves    bytea[],   -- of the events as the caller read them
    p_raws      bytea[],   -- their new bytes
    p_models    text[]     -- the models that handle such events
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    writer  CONSTANT bigint := -1;  -- one for all redactions of a PBX; others are nanoseconds since the epoch
    changes json;
    changed bigint;
    fresh   bytea[] := ARRAY(SELECT uuid_send(gen_random_uuid()) FROM unnest(p_positions));
    sealed  record;
    joined  bytea;
    said    bytea;
    salt_of bytea := uuid_send(gen_random_uuid());
    now_at  timestamptz;
    done    bigint;
BEGIN
    WITH redacted AS (
        UPDATE event e SET raw = g.raw
        FROM unnest(p_positions, p_leaves, p_raws, fresh) AS g (position, leaf, raw, salt)
        WHERE e.position = g.position AND e.pbx = p_pbx
          AND leaf(salt(e.position), e.occurred, e.recorded, e.source, e.name, e.raw) = g.leaf
        RETURNING e.position, g.leaf AS was, leaf(g.salt, e.occurred, e.recorded, e.source, e.name, e.raw) AS is
    )
    SELECT count(*), json_agg(json_build_array(position, encode(was, 'hex'), encode("is", 'hex')) ORDER BY position)
    INTO changed, changes FROM redacted;
    IF changed = 0 OR changed <> cardinality(p_positions) THEN
        RAISE EXCEPTION 'redact %: % of % events are what was read', p_pbx, changed, cardinality(p_positions)
            USING ERRCODE = 'serialization_failure';
    END IF;

    FOR sealed IN
        SELECT b.first, array_agg(g.salt) AS salts, array_agg((g.position - b.first)::int * 16 + 1) AS places
        FROM unnest(p_positions, fresh) AS g (position, salt)
        CROSS JOIN LATERAL (SELECT first FROM batch WHERE first <= g.position ORDER BY first DESC LIMIT 1) AS b
        GROUP BY b.first ORDER BY b.first
    LOOP
        SELECT b.salts INTO joined FROM batch AS b WHERE b.first = sealed.first FOR UPDATE;
        FOR i IN 1 .. cardinality(sealed.salts) LOOP
            joined := overlay(joined PLACING sealed.salts[i] FROM sealed.places[i]);
        END LOOP;
        UPDATE batch AS b SET salts = joined WHERE b.first = sealed.first;
    END LOOP;

    INSERT INTO stale AS s (model, first)
    SELECT m, (SELECT min(p) FROM unnest(p_positions) AS p) FROM unnest(p_models) AS m
    ON CONFLICT (model) DO UPDATE SET first = least(s.first, excluded.first);

    PERFORM pg_advisory_xact_lock(7310001);  -- the lock of ledger.append
    SELECT last_ordinal INTO done FROM connection WHERE pbx = p_pbx AND connection.connection = writer;
    now_at := clock();
    said := convert_to(json_build_object('type', 'Redacted', 'position', (SELECT h.position + 1 FROM head AS h),
                                         'kind', p_kind, 'token', p_token, 'reason', p_reason, 'actor', p_actor,
                                         'changes', changes)::text, 'UTF8');
    RETURN append(
        p_pbx, writer, coalesce(done, 0) + 1, ARRAY['ringledger'], ARRAY['Redacted'], ARRAY[1],
        ARRAY[microseconds(now_at)], ARRAY[microseconds(now_at)], ARRAY[octet_length(said)], said,
        leaf(salt_of, now_at, now_at, 'ringledger', 'Redacted', said), salt_of
    );
END
$$;

-- Moves a month's partitions out of the log, records its file, and appends the event Archived (schemas/log.py): all or
-- nothing.
--
-- The caller holds the locks, because this must not wait: the log's lock, ledger.event and ledger.batch exclusively.
-- Raises object_not_in_prerequisite_state if the month is not what the caller exported, or not the start of the log.
CREATE OR REPLACE FUNCTION ledger.detach(
    p_month    date,
    p_first    bigint,
    p_last     bigint,
    p_previous bytea,
    p_hash     bytea,
    p_latest   timestamptz,
    p_file     text,
    p_name     text,       -- of the file, without its folder
    p_sha256   bytea,
    p_counts   jsonb
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    writer CONSTANT bigint := -2;  -- one for all archives; -1 is that of redactions
    suffix text := to_char(p_month, 'YYYY_MM');
    now_at timestamptz := clock();
    edge   archive%ROWTYPE;
    one    batch%ROWTYPE;
    other  batch%ROWTYPE;
    said   bytea;
    salt   bytea := uuid_send(gen_random_uuid());
    done   bigint;
BEGIN
    SELECT * INTO edge FROM archive ORDER BY last DESC LIMIT 1;
    SELECT * INTO one FROM batch WHERE month = p_month ORDER BY first LIMIT 1;
    SELECT * INTO other FROM batch WHERE month = p_month ORDER BY first DESC LIMIT 1;
    IF (coalesce(edge.last, 0) + 1, coalesce(edge.hash, decode(repeat('00', 32), 'hex')), one.first, other.last, other.hash)
        IS DISTINCT FROM (p_first, p_previous, p_first, p_last, p_hash)
        OR p_month >= date_trunc('month', now_at AT TIME ZONE 'UTC')
    THEN
        RAISE EXCEPTION 'detach %: the log does not begin with positions % to % of that month', suffix, p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO archive (month, first, last, previous, hash, begun, ended, latest, events, file, sha256, counts, archived)
    VALUES (p_month, p_first, p_last, p_previous, p_hash, one.appended, other.appended, p_latest, p_last - p_first + 1,
            p_file, p_sha256, p_counts, now_at);

    INSERT INTO past AS p (pbx, since, connected, connection, disconnected, epoch, imported)
    SELECT w.pbx,
           (SELECT min(coalesce(occurred, recorded)) FROM event e
            WHERE month = p_month AND source = 'ringledger' AND e.pbx = w.pbx AND name = 'Connected'),
           link.position, link.connection,
           (SELECT max(position) FROM event e
            WHERE month = p_month AND source = 'ringledger' AND e.pbx = w.pbx AND name = 'Disconnected'),
           (SELECT (convert_from(raw, 'UTF8')::jsonb ->> 'epoch')::bigint FROM event e
            WHERE month = p_month AND source = 'ringledger' AND e.pbx = w.pbx AND name = 'SnapshotStarted'
            ORDER BY position DESC LIMIT 1),
           EXISTS (SELECT FROM event e
                   WHERE month = p_month AND source = 'ringledger' AND e.pbx = w.pbx AND name = 'Imported')
    FROM (SELECT c.pbx FROM connection c WHERE c.pbx <> '' GROUP BY c.pbx) AS w
    LEFT JOIN LATERAL (
        SELECT position, e.connection FROM event e
        WHERE month = p_month AND source = 'ringledger' AND e.pbx = w.pbx AND name = 'Connected'
        ORDER BY position DESC LIMIT 1
    ) AS link ON true
    ON CONFLICT (pbx) DO UPDATE
        SET since        = coalesce(p.since, excluded.since),
            connected    = coalesce(excluded.connected, p.connected),
            connection   = coalesce(excluded.connection, p.connection),
            disconnected = coalesce(excluded.disconnected, p.disconnected),
            epoch        = coalesce(excluded.epoch, p.epoch),
            imported     = p.imported OR excluded.imported;

    EXECUTE format('ALTER TABLE event DETACH PARTITION event_%s', suffix);
    EXECUTE format('ALTER TABLE event_%s SET SCHEMA archived', suffix);
    EXECUTE format('ALTER TABLE batch DETACH PARTITION batch_%s', suffix);
    EXECUTE format('ALTER TABLE batch_%s SET SCHEMA archived', suffix);

    SELECT last_ordinal INTO done FROM connection WHERE pbx = '' AND connection.connection = writer;
    said := convert_to(json_build_object(
        'type', 'Archived', 'position', (SELECT h.position + 1 FROM head AS h), 'month', to_char(p_month, 'YYYY-MM'),
        'first', p_first, 'last', p_last, 'previous', encode(p_previous, 'hex'), 'hash', encode(p_hash, 'hex'),
        'file', p_name, 'sha256', encode(p_sha256, 'hex'))::text, 'UTF8');
    RETURN append(
        '', writer, coalesce(done, 0) + 1, ARRAY['ringledger'], ARRAY['Archived'], ARRAY[1],
        ARRAY[microseconds(now_at)], ARRAY[microseconds(now_at)], ARRAY[octet_length(said)], said,
        leaf(salt, now_at, now_at, 'ringledger', 'Archived', said), salt
    );
END
$$;

-- Drops the partitions of archived months in schema archived; returns the months.
CREATE OR REPLACE FUNCTION ledger.drop_archived(p_before date) RETURNS SETOF date
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    gone   date;
    suffix text;
BEGIN
    FOR gone IN SELECT a.month FROM archive a WHERE a.month < p_before ORDER BY a.month LOOP
        suffix := to_char(gone, 'YYYY_MM');
        IF to_regclass(format('archived.event_%s', suffix)) IS NOT NULL
            OR to_regclass(format('archived.batch_%s', suffix)) IS NOT NULL
        THEN
            EXECUTE format('DROP TABLE IF EXISTS archived.event_%s, archived.batch_%s', suffix, suffix);
            RETURN NEXT gone;
        END IF;
    END LOOP;
END
$$;

-- Returns whether the log still has a head that was read before, with that position and hash. PostgreSQL may come back
-- with older data (a restored backup, a replica that was behind) and assign positions again. An archived position
-- counts as unchanged: verify checks its links.
CREATE OR REPLACE FUNCTION ledger.continues(p_position bigint, p_hash bytea) RETURNS boolean
LANGUAGE sql STABLE
RETURN p_position = 0
    OR EXISTS (SELECT FROM ledger.head h WHERE h.position = p_position AND h.hash = p_hash)
    OR p_position <= (SELECT coalesce(max(a.last), 0) FROM ledger.archive a)
    OR coalesce((SELECT b.last = p_position AND b.hash = p_hash FROM ledger.batch b
                 WHERE b.first <= p_position ORDER BY b.first DESC LIMIT 1), false);

-- Gives each change of a model's rows another number. It distinguishes two states of a model that changed at the same
-- position in two logs with different histories.
CREATE OR REPLACE FUNCTION ledger.mark_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.mark := floor(random() * 2147483647)::int;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER checkpoint_inserted BEFORE INSERT ON ledger.checkpoint
    FOR EACH ROW EXECUTE FUNCTION ledger.mark_change();
CREATE OR REPLACE TRIGGER checkpoint_changed BEFORE UPDATE ON ledger.checkpoint
    FOR EACH ROW WHEN ((OLD.place, OLD.version, OLD.changed, OLD.swaps) IS DISTINCT FROM
                       (NEW.place, NEW.version, NEW.changed, NEW.swaps))
    EXECUTE FUNCTION ledger.mark_change();

-- The start of a new log: position 0, with the current month open.
INSERT INTO ledger.head (position) SELECT 0 WHERE NOT EXISTS (SELECT FROM ledger.head);
SELECT ledger.open_month(month)
FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date AS month) AS m
WHERE EXISTS (SELECT FROM ledger.head WHERE month = '-infinity');
UPDATE ledger.head SET appended = now(), month = date_trunc('month', now() AT TIME ZONE 'UTC')
WHERE month = '-infinity';
