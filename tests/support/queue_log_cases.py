"""Short files of queue_log, each for one rule, and the passages that they mean."""

RULES: dict[str, tuple[str, list[tuple[object, ...]]]] = {
    # (queue, entered, answered, left, wait, talk, outcome, ended by)
    "a whole call": (
        "100|1.1|q|NONE|ENTERQUEUE||555|2\n104.5|1.1|q|Ann|CONNECT|4|1.2|3\n110|1.1|q|Ann|COMPLETEAGENT|4|6|2",
        [("q", 100, 104.5, 110, 4, 6, "answered", "agent")],
    ),
    "the file begins in a call": (
        "104|1.1|q|Ann|CONNECT|4|1.2|3\n110|1.1|q|Ann|COMPLETECALLER|4|6|1\n120|2.1|q|Bob|COMPLETECALLER|5|7|1",
        [("q", 100, 104, 110, 4, 6, "answered", "caller"), ("q", 108, 113, 120, 5, 7, "answered", "caller")],
    ),
    "an old Asterisk": (
        (
            "100|1.1|q|NONE|ENTERQUEUE|\n104|1.1|q|Ann|CONNECT|4\n110|1.1|q|Ann|TRANSFER|200|ctx\n"
            "120|2.1|q|NONE|ENTERQUEUE||555\n130|2.1|q|NONE|EXITWITHTIMEOUT|1"
        ),
        [("q", 100, 104, 110, 4, 6, "answered", "transfer"), ("q", 120, None, 130, 10, None, "timeout", "")],
    ),
    "a queue twice": (
        (
            "100|1.1|q|NONE|ENTERQUEUE||5|1\n110|1.1|q|NONE|EXITWITHKEY|2|1|1|10\n"
            "120|1.1|q|NONE|ENTERQUEUE||5|1\n125|1.1|q|NONE|ABANDON|1|1|5\n126|1.1|r|NONE|ENTERQUEUE||5|1"
        ),
        [
            ("q", 100, None, 110, 10, None, "exit_key", ""),
            ("q", 120, None, 125, 5, None, "abandoned", ""),
            ("r", 126, None, None, None, None, "waiting", ""),
        ],
    ),
    "attended transfers": (
        (
            "100|1.1|q|A|CONNECT|0|x|1\n109|1.1|q|A|ATTENDEDTRANSFER|BRIDGE|b|0|9|1\n"
            "200|2.1|q|A|CONNECT|1|x|1\n208|2.1|q|A|ATTENDEDTRANSFER|LINK|SIP/1|SIP/2|1|8|1"
        ),
        [("q", 100, 100, 109, 0, 9, "answered", "transfer"), ("q", 199, 200, 208, 1, 8, "answered", "transfer")],
    ),
    "a transfer into the queue": (
        (
            "100|9.9|q|NONE|ENTERQUEUE||5|1\n103|7.7|q|NONE|ENTERQUEUE||6|2\n108|1.1|q|Ann|CONNECT|8|1.2|3\n"
            "109|7.7|q|NONE|ABANDON|1|2|6\n110|1.1|q|Ann|COMPLETECALLER|8|2|1"
        ),
        [("q", 100, 108, 110, 8, 2, "answered", "caller"), ("q", 103, None, 109, 6, None, "abandoned", "")],
    ),
    "a caller whose id changes while he talks": (
        (
            "100|2.2|q|NONE|ENTERQUEUE||5|1\n101|1.9|q|NONE|ENTERQUEUE||6|2\n104|2.2|q|Ann|CONNECT|4|2.3|1\n"
            "105|1.9|q|Bob|CONNECT|4|2.4|1\n110|1.1|q|Ann|ATTENDEDTRANSFER|BRIDGE|b|4|6|1\n"
            "120|1.9|q|Bob|COMPLETEAGENT|4|15|2\n130|5.5|q|Ann|CONNECT|1|5.6|1\n"
            "139|4.4|q|Ann|BLINDTRANSFER|200|ctx|1|9|1\n150|7.7|q|Ann|CONNECT|1|7.8|1\n155|6.6|q|Ann|COMPLETECALLER|1|5|1"
        ),
        [
            ("q", 100, 104, 110, 4, 6, "answered", "transfer"),
            ("q", 101, 105, 120, 4, 15, "answered", "agent"),
            ("q", 129, 130, 139, 1, 9, "answered", "transfer"),
            ("q", 149, 150, 155, 1, 5, "answered", "caller"),
        ],
    ),
    "two ends of one talk": (
        (
            "100|1.1|q|NONE|ENTERQUEUE||5|1\n100|1.1|q|Ann|CONNECT|0|1.2|0\n100|1.1|q|Ann|COMPLETECALLER|0|0|1\n"
            "100|1.1|q|Ann|ATTENDEDTRANSFER|BRIDGE|b|0|0|1\n200|2.1|q|Ann|CONNECT|0|2.2|0\n"
            "209|2.1|q|Ann|ATTENDEDTRANSFER|BRIDGE|b|0|9|1\n209|2.1|q|Ann|COMPLETEAGENT|0|9|1"
        ),
        [("q", 100, 100, 100, 0, 0, "answered", "caller"), ("q", 200, 200, 209, 0, 9, "answered", "transfer")],
    ),
    "words of a dialplan": (
        (
            "100|1.1|q|NONE|CLOSED|\n101|1.2|q|NONE|DIVERT_HOLDTIME|9\n102|1.3|q|NONE|JOINEMPTY\n"
            "103|1.4|q|NONE|ENTERQUEUE||5|1\n105|1.4|q|NONE|LEAVEEMPTY|\n106|1.5|q|NONE|ENTERQUEUE||5|1\n"
            "107|1.5|q|NONE|ABANDON|1|1|1\n107|1.5|q|NONE|LEAVEEMPTY|\n108|1.6|q|NONE|LEAVEEMPTY|\n109|1.7|q|NONE|NEW|"
        ),
        [
            ("q", 100, None, 100, None, None, "closed", ""),
            ("q", 101, None, 101, None, None, "full", ""),
            ("q", 102, None, 102, None, None, "join_empty", ""),
            ("q", 103, None, 105, 2, None, "left_empty", ""),
            ("q", 106, None, 107, 1, None, "left_empty", ""),
        ],
    ),
}
"""The file, and its passages: (queue, entered, answered, left, wait, talk, outcome, ended by)."""
