"""Read models: pure folds of the log. The one list of them is `ALL`."""

from projections.channels import CHANNELS

ALL = (CHANNELS,)
