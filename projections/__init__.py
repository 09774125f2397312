"""Read models: pure folds of the log. The one list of them is `ALL`."""

from projections.channels import CHANNELS
from projections.tokens import TOKENS
from projections.users import USERS

ALL = (CHANNELS, TOKENS, USERS)
