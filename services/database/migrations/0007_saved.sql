-- Saved states: what read models held at a position, so that `as_of` need not begin with the first event.
CREATE TABLE ledger.saved (
    model    text        NOT NULL,
    version  int         NOT NULL,
    position bigint      NOT NULL,
    latest   timestamptz NOT NULL,                -- the greatest time of recording of all events up to there
    changed  bigint      NOT NULL,                -- the last event that changed a row
    state    jsonb       NOT NULL,                -- what the model remembered besides its rows
    whole    boolean     NOT NULL,                -- saved_rows has its rows; if not, nothing can be folded on from here
    kept     boolean     NOT NULL DEFAULT false,  -- never thinned out
    PRIMARY KEY (model, version, position)
);
CREATE INDEX saved_position ON ledger.saved (position);
CREATE INDEX saved_changed ON ledger.saved (model, version, changed);

-- The rows as the event at "changed" left them, shared by all states up to the next change. In parts, for a value has
-- at most 1 GB; an empty table has none.
CREATE TABLE ledger.saved_rows (
    model   text   NOT NULL,
    version int    NOT NULL,
    changed bigint NOT NULL,
    part    int    NOT NULL,
    rows    json   NOT NULL,
    PRIMARY KEY (model, version, changed, part)
);
