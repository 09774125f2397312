-- Months that have left the log for files. What stands here, and the events Archived, say where the log begins.
CREATE SCHEMA archived;

CREATE TABLE ledger.archive (
    month    date        PRIMARY KEY,
    first    bigint      NOT NULL,      -- its positions
    last     bigint      NOT NULL UNIQUE,
    previous bytea       NOT NULL,      -- the link before its first batch
    hash     bytea       NOT NULL,      -- that of its last one, on which the log goes on
    begun    timestamptz NOT NULL,      -- when its first batch was appended
    ended    timestamptz NOT NULL,      -- and its last one
    latest   timestamptz NOT NULL,      -- the greatest time of recording of all events that were archived with it or before
    events   bigint      NOT NULL,
    file     text        NOT NULL,      -- where it was written
    sha256   bytea       NOT NULL,      -- of the file
    counts   jsonb       NOT NULL,      -- how often each event came: [pbx, source, name, count]
    archived timestamptz NOT NULL
);

-- What a listener, or who imports, asks of events of ours that may be archived.
CREATE TABLE ledger.past (
    pbx          text        PRIMARY KEY,
    since        timestamptz,           -- when it was first heard
    connected    bigint,                -- position of the last event Connected, and whose it is
    connection   bigint,
    disconnected bigint,
    epoch        bigint,                -- of the last snapshot
    imported     boolean     NOT NULL   -- lines of its own files have been imported
);

-- Takes a month out of the log, writes down where it is now, and appends the event Archived (schemas/log.py): all or nothing.
--
-- The caller holds the locks, for this should wait for nobody: the log's lock, ledger.event and ledger.batch alone.
-- Raises object_not_in_prerequisite_state when the month is not what the caller has exported, or not the log's beginning.
CREATE FUNCTION ledger.detach(
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

-- Drops what archived months have left in schema archived; returns them.
CREATE FUNCTION ledger.drop_archived(p_before date) RETURNS SETOF date
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
