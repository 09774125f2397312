"""Read models: pure folds of the log, one package per area; see docs/architecture/projections.md.

`ALL` lists every model.
"""

from projections import calls, commands, dialplans, endpoints, pbx, people, queues

ALL = tuple(
    sorted(
        (
            *calls.MODELS,
            *commands.MODELS,
            *dialplans.MODELS,
            *endpoints.MODELS,
            *pbx.MODELS,
            *people.MODELS,
            *queues.MODELS,
        ),
        key=lambda model: model.name.replace("_", "~"),
    )
)
"""The order is that of names, with an underscore after all letters: changes of one event are streamed in this order."""
