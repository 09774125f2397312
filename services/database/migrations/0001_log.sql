-- The event log. Only ledger.append writes here.
CREATE SCHEMA ledger;

CREATE TABLE ledger.event (
    position    bigint      PRIMARY KEY,  -- dense, from 1; position order is commit order
    connection  bigint      NOT NULL,     -- one writer's run (a link to a PBX, an API process), see ledger.connection
    ordinal     bigint      NOT NULL,     -- dense within (pbx, connection), from 1
    occurred    timestamptz,              -- the PBX's clock, where it said so
    recorded    timestamptz NOT NULL,     -- the writer's clock, when the bytes were read
    pbx         text        NOT NULL,
    source      text        NOT NULL CHECK (source IN ('ami', 'ari', 'ringledger')),
    name        text        NOT NULL,
    raw         bytea       NOT NULL      -- exactly as received, secrets masked in place
);
-- Compressing 450 bytes that arrive 36,000 times a second costs more than it saves.
ALTER TABLE ledger.event ALTER COLUMN raw SET STORAGE EXTERNAL;
-- Ranges of 4 MB: autovacuum remembers 256 that are full, and comes every 10 seconds.
CREATE INDEX event_recorded ON ledger.event USING brin (recorded) WITH (pages_per_range = 512, autosummarize = on);
-- Nothing is ever updated or deleted here, so there is little to vacuum, and not while a loaded PBX speaks.
ALTER TABLE ledger.event SET (
    autovacuum_vacuum_insert_threshold = 10000000,
    autovacuum_analyze_threshold       = 1000000
);

-- Where the log ends.
CREATE TABLE ledger.head (position bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO ledger.head VALUES (0);

-- What each writer has appended: makes (pbx, connection, ordinal) unique without an index over every event.
CREATE TABLE ledger.connection (
    pbx           text        NOT NULL,
    connection    bigint      NOT NULL,
    last_ordinal  bigint      NOT NULL,
    last_recorded timestamptz NOT NULL,
    PRIMARY KEY (pbx, connection)
) WITH (fillfactor = 50);

-- How far each read model has folded. "place" is the schema its table stands in: model (served) or rebuild.
CREATE TABLE ledger.checkpoint (
    model    text   NOT NULL,
    place    text   NOT NULL CHECK (place IN ('model', 'rebuild')),
    version  int    NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    changed  bigint NOT NULL DEFAULT 0,   -- the last event that changed a row
    at       timestamptz,                 -- when the event at position was recorded
    state    jsonb  NOT NULL DEFAULT '{}',
    error    text,                        -- why the model stopped; NULL while it runs
    PRIMARY KEY (model, place)
) WITH (fillfactor = 50);

-- Events whose values do not fit what Asterisk documents: a model passed over them, and nobody need guess which.
CREATE TABLE ledger.unfit (
    model    text   NOT NULL,
    position bigint NOT NULL,
    name     text   NOT NULL,
    error    text   NOT NULL,
    PRIMARY KEY (model, position)
);

CREATE SCHEMA model;
CREATE SCHEMA rebuild;
