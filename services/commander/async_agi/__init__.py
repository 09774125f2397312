"""Async dialplans: channels in ``AGI(agi:async,<uuid of a master>)`` are driven through the master's commands.

`follower` reads from the log which channels wait and the result of each command. `driver` takes one run from its state
to its end. `run` is the state of a run. `recovery` reads the runs that an earlier commander left open.

A command is sent at most once, and the next one after the outcome of the last is in the log. An outcome may be missed:
the commander died, the link to the PBX was lost, or the listener did not listen. The driver then waits for it for
`driver.DOUBT_TIMEOUT_SECONDS`, after which the outcome counts as unknown and the run ends. Every run whose channel is
still there ends with ``ASYNCAGI BREAK``, so that the dialplan continues. Only this command is sent a second time if the
first may have been lost, because a stuck caller is worse.
"""
