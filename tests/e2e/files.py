"""Asterisk's own files of the calls of a test: queue_log, and the csv of CEL."""

from tests.e2e.asterisk import Asterisk

QUEUE_LOG = "/var/log/asterisk/queue_log"
CEL = "/var/log/asterisk/cel-custom/Master.csv"


async def queue_log(asterisk: Asterisk) -> str:
    """Return queue_log as it is now; Asterisk writes each line at once."""
    return await asterisk.read(QUEUE_LOG)


async def cel_csv(asterisk: Asterisk) -> str:
    """Return the CEL csv as it is now; Asterisk writes each line when it sends the event CEL."""
    return await asterisk.read(CEL)
