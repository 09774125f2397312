"""Read models: pure folds of the log. The one list of them is `ALL`."""

from projections.call_records import CALL_RECORDS
from projections.channels import CHANNELS
from projections.gaps import GAPS
from projections.links import LINKS
from projections.samples import SAMPLES
from projections.statistics import STATISTICS

ALL = (CALL_RECORDS, CHANNELS, GAPS, LINKS, SAMPLES, STATISTICS)
