-- Erasing a person: the only other way to touch the log. What stood there leaves its hash, which tells nothing without
-- the salt that it was made with, and an event says so.

-- Models that have folded what no longer stands in the log, from position "first" on; who redacts has them built anew.
CREATE TABLE ledger.stale (
    model text   PRIMARY KEY,
    first bigint NOT NULL
);

-- The hash of one event, as services/log/chain.py tells.
CREATE FUNCTION ledger.leaf(
    salt bytea, occurred timestamptz, recorded timestamptz, source text, name text, raw bytea
) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(
    salt || convert_to(coalesce(ledger.microseconds(occurred)::text, ''), 'UTF8') || '\x00'
    || convert_to(ledger.microseconds(recorded)::text, 'UTF8') || '\x00'
    || convert_to(source, 'UTF8') || '\x00' || convert_to(name, 'UTF8') || '\x00' || raw
);

-- The salt of one event, out of its batch.
CREATE FUNCTION ledger.salt(p_position bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT substr(b.salts, (p_position - b.first)::int * 16 + 1, 16)
    FROM ledger.batch b WHERE b.first <= p_position ORDER BY b.first DESC LIMIT 1;
END;

-- Gives events of one PBX other bytes and other salts, appends the event Redacted (schemas/log.py) that says which, and returns its
-- position. Both or neither: nobody can have the one without the other.
--
-- The leaves are those of what the caller read. Raises serialization_failure when something else stands there by now.
-- The sealed leaves in ledger.batch stay what they were, and so does the chain over them. Salts are new ones, not zeros:
-- what is left after one redaction may be what the next one erases, and its leaf stands in an event from the first.
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

    PERFORM pg_advisory_xact_lock(7310001);  -- that of append, from here to the end
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
