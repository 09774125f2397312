-- Who listens to a PBX: one holder a kind (AMI, ARI), which renews its lease every second; others stand by.
CREATE TABLE ledger.listener (
    pbx      text        NOT NULL,
    kind     text        NOT NULL CHECK (kind IN ('ami', 'ari')),
    holder   bigint      NOT NULL,               -- the writer (ledger.connection) of its term, 0 when nobody listens
    host     text        NOT NULL,               -- machine and process
    renewals bigint      NOT NULL DEFAULT 1,
    renewed  timestamptz NOT NULL DEFAULT now(),
    status   jsonb       NOT NULL DEFAULT '{}',  -- schemas/listener.py
    PRIMARY KEY (pbx, kind)
) WITH (fillfactor = 50);
