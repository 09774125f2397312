-- Places where users have logged in (services/accounts/places.py), so that guesses from elsewhere do not slow a user there. A place is
-- a hash of the user and the client's address. It is not in the log, because it is deleted in time.
CREATE TABLE ledger.login_place (
    user_uuid text        NOT NULL,
    place     text        NOT NULL,
    used      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_uuid, place)
);
