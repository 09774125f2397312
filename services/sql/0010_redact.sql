-- Erasing a person: the only other way to touch the log. What stood there leaves its hash, and an event says so.

-- Models that have folded what no longer stands in the log, from position "first" on; who redacts has them built anew.
CREATE TABLE ledger.stale (
    model text   PRIMARY KEY,
    first bigint NOT NULL
);

-- The hash of one event, as services/chain.py tells.
CREATE FUNCTION ledger.leaf(occurred timestamptz, recorded timestamptz, source text, name text, raw bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(
    convert_to(coalesce(ledger.microseconds(occurred)::text, ''), 'UTF8') || '\x00'
    || convert_to(ledger.microseconds(recorded)::text, 'UTF8') || '\x00'
    || convert_to(source, 'UTF8') || '\x00' || convert_to(name, 'UTF8') || '\x00' || raw
);

-- Gives events of one PBX other bytes, appends the event Redacted (schemas/log.py) that says which, and returns its
-- position. Both or neither: nobody can have the one without the other.
--
-- The leaves are those of what the caller read. Raises serialization_failure when something else stands there by now.
-- The sealed leaves in ledger.batch stay what they were, and so does the chain over them.
CREATE FUNCTION ledger.redact(
    p_pbx       text,
    p_kind      text,      -- what was redacted: number or text
    p_token     text,      -- what stands in its place
    p_reason    text,
    p_actor     text,
    p_positions bigint[],
    p_leaves    bytea[],   -- of the events as they are
    p_raws      bytea[],   -- their new bytes
    p_models    text[]     -- the models that take such events
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = ledger, pg_temp
AS $$
DECLARE
    writer  CONSTANT bigint := -1;  -- one for all redactions of a PBX; others are nanoseconds since the epoch
    changes json;
    changed bigint;
    said    bytea;
    now_at  timestamptz;
    done    bigint;
BEGIN
    WITH redacted AS (
        UPDATE event e SET raw = g.raw
        FROM unnest(p_positions, p_leaves, p_raws) AS g (position, leaf, raw)
        WHERE e.position = g.position AND e.pbx = p_pbx AND leaf(e.occurred, e.recorded, e.source, e.name, e.raw) = g.leaf
        RETURNING e.position, g.leaf AS was, leaf(e.occurred, e.recorded, e.source, e.name, e.raw) AS is
    )
    SELECT count(*), json_agg(json_build_array(position, encode(was, 'hex'), encode("is", 'hex')) ORDER BY position)
    INTO changed, changes FROM redacted;
    IF changed = 0 OR changed <> cardinality(p_positions) THEN
        RAISE EXCEPTION 'redact %: % of % events are what was read', p_pbx, changed, cardinality(p_positions)
            USING ERRCODE = 'serialization_failure';
    END IF;

    INSERT INTO stale AS s (model, first)
    SELECT m, (SELECT min(p) FROM unnest(p_positions) AS p) FROM unnest(p_models) AS m
    ON CONFLICT (model) DO UPDATE SET first = least(s.first, excluded.first);

    PERFORM pg_advisory_xact_lock(7310001);  -- that of append, from here to the end
    SELECT last_ordinal INTO done FROM connection WHERE pbx = p_pbx AND connection.connection = writer;
    now_at := clock();
    said := convert_to(json_build_object('type', 'Redacted', 'kind', p_kind, 'token', p_token, 'reason', p_reason,
                                         'actor', p_actor, 'changes', changes)::text, 'UTF8');
    RETURN append(
        p_pbx, writer, coalesce(done, 0) + 1, ARRAY['ringledger'], ARRAY['Redacted'], ARRAY[1],
        ARRAY[microseconds(now_at)], ARRAY[microseconds(now_at)], ARRAY[octet_length(said)], said,
        leaf(now_at, now_at, 'ringledger', 'Redacted', said)
    );
END
$$;
