"""Async dialplans: channels that wait in ``AGI(agi:async,<uuid of a master>)`` are driven through its commands.

`follow` hears in the log who waits and what comes of each command, `drive` takes one run from where it stands to its
end, `run` is what is known of it, `unfinished` finds the runs that an earlier commander left.

A command is sent at most once, and the next one when the outcome of the last is in the log. Where an outcome may have
been missed (the commander died, the link to the PBX was lost, the listener was not listening) it is waited for
`drive.DOUBT_SECONDS`; then nobody knows, and the run ends there. Every run that does not find its channel gone ends
with ``ASYNCAGI BREAK``, so that the dialplan goes on; that, and nothing else, is sent a second time when the first may
have been lost: a caller who is stuck is worse.
"""
