"""Read models of calls, channels, parking, call records, and their statistics."""

from projections.calls.call_records import CALL_RECORDS
from projections.calls.calls import CALLS
from projections.calls.channels import CHANNELS
from projections.calls.parked_calls import PARKED_CALLS
from projections.calls.parking_lots import PARKING_LOTS
from projections.calls.samples import SAMPLES
from projections.calls.statistics import STATISTICS

MODELS = (
    CALL_RECORDS,
    CALLS,
    CHANNELS,
    PARKED_CALLS,
    PARKING_LOTS,
    SAMPLES,
    STATISTICS,
)
