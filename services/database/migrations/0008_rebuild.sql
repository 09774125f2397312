-- Read models are folded anew when somebody asks for it, beside the tables that are served.

CREATE TABLE ledger.rebuild (
    number   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model    text        NOT NULL,
    upto     bigint,                              -- the last event to fold; NULL: as far as the log goes
    asked    timestamptz NOT NULL DEFAULT now(),
    ended    timestamptz,                         -- NULL as long as it is wanted
    position bigint,                              -- where the new table stood when it was served
    error    text                                 -- why it never was
);
CREATE UNIQUE INDEX rebuild_wanted ON ledger.rebuild (model) WHERE ended IS NULL;

-- How many tables have been served before this one: what was read of them is not what is read now.
ALTER TABLE ledger.checkpoint ADD COLUMN swaps int NOT NULL DEFAULT 0;

-- What the new table passed over is not to be found before it is served, and what only the old one did not after.
ALTER TABLE ledger.unfit
    ADD COLUMN place text NOT NULL DEFAULT 'model' CHECK (place IN ('model', 'rebuild')),
    DROP CONSTRAINT unfit_pkey,
    ADD PRIMARY KEY (model, place, position);
