"""Asterisk's own call records, Master.csv, and what follows from them."""

import csv
from collections import Counter, defaultdict
from datetime import UTC, datetime

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.support.polling import present

FILE = "/var/log/asterisk/cdr-csv/Master.csv"

Record = tuple[object, ...]

COLUMNS = (
    *("account_code", "source", "destination", "destination_context", "caller_id", "channel", "destination_channel"),
    *("last_application", "last_data", "start", "answer", "end", "duration", "billable_seconds", "disposition"),
    *("ama_flags", "unique_id", "user_field"),
)

OURS = """
SELECT account_code, source, destination, destination_context, caller_id, channel, destination_channel,
       last_application, last_data, start_time, answer_time, end_time, duration, billable_seconds, disposition,
       ama_flags, unique_id, user_field
FROM call_records ORDER BY position
"""

STATISTICS = """
SELECT scope || ' ' || name AS who, calls, answered, no_answer, busy, failed, congestion, talk_seconds, longest_seconds
FROM statistics WHERE scope IN ('pbx', 'endpoint') AND period = $1
"""


async def written(asterisk: Asterisk) -> list[Record]:
    """Return Master.csv, whose times are UTC (cdr.conf: usegmtime)."""
    text = await asterisk.read(FILE)
    return [
        tuple(
            (datetime.fromisoformat(value).replace(tzinfo=UTC) if value else None)
            if column in {"start", "answer", "end"}
            else int(value)
            if column in {"duration", "billable_seconds"}
            else value
            for column, value in zip(COLUMNS, row, strict=True)
        )
        for row in csv.reader(text.splitlines())
    ]


async def records_agree(ledger: Ledger, asterisk: Asterisk, before: int, expected: int) -> list[Record]:
    """Fail unless our records are Master.csv's after the first ``before``, at least ``expected``; return them."""

    async def there() -> list[Record] | None:
        try:
            rows = (await written(asterisk))[before:]
        except ValueError:  # Asterisk is in the middle of a row
            return None
        return rows if len(rows) >= expected else None

    theirs = await present(there, f"Master.csv has {expected} rows more")
    await ledger.caught_up(asterisk)
    ours = [tuple(row) for row in await ledger.rows(OURS)]
    missing, extra = Counter(theirs) - Counter(ours), Counter(ours) - Counter(theirs)
    lines = [f"  only in Master.csv: {row}" for row in missing] + [f"  only ours: {row}" for row in extra]
    assert not lines, "call records differ:\n" + "\n".join(lines)
    return theirs


def counted(records: list[Record], day: str) -> dict[str, list[int]]:
    """Count as `STATISTICS` does, from Master.csv alone; a record belongs to the UTC day of its start."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0] * 8)
    words = ("ANSWERED", "NO ANSWER", "BUSY", "FAILED", "CONGESTION")
    for record in records:
        row = dict(zip(COLUMNS, record, strict=True))
        if not str(row["start"]).startswith(day):
            continue
        ends = {str(row[name]).rpartition("-")[0] for name in ("channel", "destination_channel")}
        for who in {"pbx pbx", *(f"endpoint {end}" for end in ends if end and not end.startswith("Local/"))}:
            seconds = row["billable_seconds"]
            assert isinstance(seconds, int)
            sums[who][0] += 1
            sums[who][1 + words.index(str(row["disposition"]))] += 1
            sums[who][6] += seconds
            sums[who][7] = max(sums[who][7], seconds)
    return sums
