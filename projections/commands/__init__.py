"""Read models of requests and acts: what users asked for, and its outcome."""

from projections.commands.acts import ACTS
from projections.commands.requests import REQUESTS

MODELS = (
    ACTS,
    REQUESTS,
)
