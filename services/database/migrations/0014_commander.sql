-- Whether each commander has its AMI session, and why not: what /readyz and `ringledger status` show of it.
CREATE TABLE ledger.commander (
    pbx     text        PRIMARY KEY,
    updated timestamptz NOT NULL DEFAULT now(),
    link    text        NOT NULL CHECK (link IN ('up', 'down')),
    trouble text        NOT NULL                 -- empty where nothing has to be changed
) WITH (fillfactor = 50);
