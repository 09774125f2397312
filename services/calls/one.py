"""The SQL of one call by any of its ids: a linked id, an alias, or the unique id of a channel."""

OF_ID = """
SELECT c.pbx, c.linkedid, c.tm_update, c.number, c.started_at, c.answered_at, c.ended_at, c.state, c.is_told,
       c.direction, c.outcome, c.is_originated, c.is_transferred, c.talk_seconds, c.duration_seconds, c.aliases,
       c.sources, c.story, c.body::text AS body
FROM call_ids i JOIN calls c ON c.pbx = i.pbx AND c.linkedid = i.linkedid
WHERE i.id = $1::text AND c.is_told
ORDER BY c.started_at DESC, c.number DESC LIMIT 1
"""
"""An id that several PBXes have is that of the newest call."""
OF_PBX_AND_ID = """
SELECT c.pbx, c.linkedid, c.tm_update, c.number, c.started_at, c.answered_at, c.ended_at, c.state, c.is_told,
       c.direction, c.outcome, c.is_originated, c.is_transferred, c.talk_seconds, c.duration_seconds, c.aliases,
       c.sources, c.story, c.body::text AS body
FROM call_ids i JOIN calls c ON c.pbx = i.pbx AND c.linkedid = i.linkedid
WHERE i.pbx = $1::text AND i.id = $2::text AND c.is_told
ORDER BY c.started_at DESC, c.number DESC LIMIT 1
"""
