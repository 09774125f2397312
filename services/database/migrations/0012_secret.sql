-- Secret values of configuration files between the request that brings them and the commander that writes them into
-- the PBX (services/asterisk/config/secrets.py). Not in the log, not in any read model, not in the write-ahead log.
CREATE UNLOGGED TABLE ledger.secret (
    id    text        PRIMARY KEY,
    value text        NOT NULL,
    made  timestamptz NOT NULL DEFAULT now()
);
