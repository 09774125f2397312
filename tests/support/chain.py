"""The batches and events of a log as the chain hashes them."""

BATCHES = """
SELECT first, last, connection, ordinal, ledger.microseconds(appended) AS appended,
       ledger.microseconds(earliest) AS earliest, pbx, hash, leaves, salts
FROM ledger.batch ORDER BY first
"""
EVENTS = """
SELECT ledger.microseconds(occurred), ledger.microseconds(recorded), source, name, raw
FROM ledger.event WHERE position >= $1 AND position <= $2 ORDER BY position
"""
