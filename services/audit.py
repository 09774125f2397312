"""The whole of ``ringledger verify``: the chain over the log, but for what events of the log say was redacted."""

from collections.abc import Iterable

from services import redactions
from services.batches import connect
from services.damage import DamageError
from services.redactions import Redactions
from services.verify import NO_LEDGER, NoLedgerError, Verified, verify


async def audit(url: str, marks: Iterable[int] = ()) -> Verified:
    """Verify the log as `verify` does; a redaction may go on too, and ``redactions`` of the result tells of all.

    Raises what `verify` raises, and RedactionError for an event that says what cannot be.
    """
    marks = frozenset(marks)
    said = await _said(url)
    while True:
        try:
            verified = await verify(url, marks, redacted=said.leaves)
        except DamageError:
            before, said = said, await _said(url)
            if said.leaves == before.leaves:
                raise
            # It was redacted while it was being read.
        else:
            verified.redactions = said.summaries
            return verified


async def _said(url: str) -> Redactions:
    connection = await connect(url, "ringledger verify")
    try:
        return await redactions.read(connection)
    except NO_LEDGER:
        raise NoLedgerError from None
    finally:
        await connection.close()
