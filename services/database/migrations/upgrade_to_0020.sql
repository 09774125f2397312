-- Prepares a database of commit 9b8a372 (migrations 0001 to 0012) or later for 0020_schema.sql, which creates missing
-- tables but does not alter existing ones.

ALTER TABLE ledger.checkpoint ADD COLUMN IF NOT EXISTS mark int NOT NULL DEFAULT 0;

-- The name dates from a time when another table had this constraint too.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_constraint
               WHERE conrelid = 'ledger.event'::regclass AND conname = 'event_source_check1') THEN
        ALTER TABLE ledger.event RENAME CONSTRAINT event_source_check1 TO event_source_check;
    END IF;
END
$$;
