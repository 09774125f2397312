-- 0014_commander.sql
-- Whether each commander has its AMI session, and why not: what /readyz and `ringledger status` show of it.
CREATE TABLE ledger.commander (
    pbx     text        PRIMARY KEY,
    updated timestamptz NOT NULL DEFAULT now(),
    link    text        NOT NULL CHECK (link IN ('up', 'down')),
    trouble text        NOT NULL                 -- empty where nothing has to be changed
) WITH (fillfactor = 50);
INSERT INTO ringledger_migration (name, text) VALUES ('0014_commander.sql', '');
-- 0015_continues.sql
-- PostgreSQL may come back with older data (a restored backup, a replica that was behind). Positions are then given
-- again to other events.

-- Returns whether the log still has the head that was read before, with that position and hash. An archived position
-- counts as the same: verify checks its links.
CREATE FUNCTION ledger.continues(p_position bigint, p_hash bytea) RETURNS boolean
LANGUAGE sql STABLE
RETURN p_position = 0
    OR EXISTS (SELECT FROM ledger.head h WHERE h.position = p_position AND h.hash = p_hash)
    OR p_position <= (SELECT coalesce(max(a.last), 0) FROM ledger.archive a)
    OR coalesce((SELECT b.last = p_position AND b.hash = p_hash FROM ledger.batch b
                 WHERE b.first <= p_position ORDER BY b.first DESC LIMIT 1), false);

-- Another number for each change of a model's rows: two states of a model that was changed at the same position, in two
-- logs that went different ways, are told apart by it.
ALTER TABLE ledger.checkpoint ADD COLUMN mark int NOT NULL DEFAULT 0;

CREATE FUNCTION ledger.mark_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.mark := floor(random() * 2147483647)::int;
    RETURN NEW;
END
$$;

CREATE TRIGGER checkpoint_inserted BEFORE INSERT ON ledger.checkpoint
    FOR EACH ROW EXECUTE FUNCTION ledger.mark_change();
CREATE TRIGGER checkpoint_changed BEFORE UPDATE ON ledger.checkpoint
    FOR EACH ROW WHEN ((OLD.place, OLD.version, OLD.changed, OLD.swaps) IS DISTINCT FROM
                       (NEW.place, NEW.version, NEW.changed, NEW.swaps))
    EXECUTE FUNCTION ledger.mark_change();
INSERT INTO ringledger_migration (name, text) VALUES ('0015_continues.sql', '');
-- 0019_login_place.sql
-- Places where users have logged in (api/places.py), so that guesses from elsewhere do not slow a user there. A place is
-- a hash of the user and the client's address. It is not in the log, because it is deleted in time.
CREATE TABLE ledger.login_place (
    user_uuid text        NOT NULL,
    place     text        NOT NULL,
    used      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_uuid, place)
);
INSERT INTO ringledger_migration (name, text) VALUES ('0019_login_place.sql', '');
