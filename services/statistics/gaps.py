"""The gaps that a period of statistics touches."""

GAPS = """
    SELECT jsonb_agg(jsonb_build_object(
               'pbx', pbx, 'reason', reason,
               'from', to_char(from_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'until', to_char(until_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
           ) ORDER BY from_time) AS gaps
    FROM gaps
    WHERE from_time < {until}::timestamptz AND (until_time IS NULL OR until_time >= {since}::timestamptz){of_gaps}
"""
"""One row whose ``gaps`` is a JSON array, NULL for none. ``of_gaps`` is another condition, such as that of a PBX."""
