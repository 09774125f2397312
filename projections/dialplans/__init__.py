"""Read models of async dialplans and their runs."""

from projections.dialplans.adpmas import ADPMAS
from projections.dialplans.adps import ADPS
from projections.dialplans.agi_runs import AGI_RUNS

MODELS = (
    ADPMAS,
    ADPS,
    AGI_RUNS,
)
