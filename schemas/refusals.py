"""The AMI classes that lists require, and the refusals of manager.c (main/manager.c, Asterisk 16 to 23)."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

DENIED = "Permission denied"
"""The reply to an action whose class the AMI user lacks in ``write``."""
IN_USE = "Login Already In Use"
"""The reply to a second login of a user with ``allowmultiplelogin = no``."""
UNAUTHENTICATED = "Authentication failed"
"""The reply to a login with an unknown user, a wrong secret, or from an address that no ``permit`` line covers."""


class Need(Struct, frozen=True):
    """Classes of ``write`` of which a list requires one, and the views that only this list corrects."""

    classes: tuple[str, ...]
    views: str


SYSTEM_OR_REPORTING = ("system", "reporting")
NEEDS: Mapping[str, Need] = {
    "CoreStatus": Need(SYSTEM_OR_REPORTING, "systems, samples"),
    "CoreSettings": Need(SYSTEM_OR_REPORTING, "systems"),
    "CoreShowChannels": Need(SYSTEM_OR_REPORTING, "calls, channels, samples"),
    "QueueStatus": Need((), "queues, members, callers"),
    "Agents": Need(("agent",), "agents"),
    "ParkedCalls": Need(("call",), "parked calls"),
    "Parkinglots": Need(("call",), "parking lots"),
    "DeviceStateList": Need(("call", "reporting"), "device states"),
    "PJSIPShowEndpoints": Need(("system",), "PJSIP endpoints, peers"),
    "PJSIPShowContacts": Need(("system",), "PJSIP contacts"),
    "PJSIPShowAors": Need(("system",), "PJSIP aors"),
    "PJSIPShowAuths": Need(("system",), "PJSIP auths"),
    "PJSIPShowRegistrationsOutbound": Need(SYSTEM_OR_REPORTING, "PJSIP registrations, registries"),
    "SIPpeers": Need(SYSTEM_OR_REPORTING, "peers of chan_sip"),
    "SIPshowregistry": Need(SYSTEM_OR_REPORTING, "registries of chan_sip"),
    "IAXpeerlist": Need(SYSTEM_OR_REPORTING, "peers of IAX2"),
    "IAXregistry": Need(SYSTEM_OR_REPORTING, "registries of IAX2"),
    "Command": Need(("command",), "modules"),
}
"""The lists of ``services.asterisk.ami.snapshots``.

``ModuleCheck`` (class system) replaces a refused ``Command``.
"""


def refused_list(action: str, message: str) -> str:
    """Return a message with the list that Asterisk refuses, the consequence, and the setting to change."""
    need = NEEDS.get(action)
    lost = f"; after a gap {need.views} may show what has ended" if need else ""
    cure = f"; give the AMI user {' or '.join(need.classes)} in write" if need and need.classes else ""
    return f"Asterisk refuses {action} ({message}){lost}{cure}"


def refused_files(files: Iterable[str]) -> str:
    """Return a message with the configuration files that Asterisk does not show, and the setting to change."""
    return (
        f"Asterisk refuses to show {', '.join(files)} ({DENIED}), so Ringledger can neither read nor change them: give"
        " the AMI user that acts config in write, and run `module reload manager`"
    )


def refused_login(message: str, user: str = "", setting: str = "RINGLEDGER_AMI") -> str:
    """Return a message with the reason why Asterisk refuses the login, and the setting to change if it is known.

    ``user`` is empty where the settings do not name it; ``setting`` is the setting that names it.
    """
    login = f"the login of {user}" if user else "the login"
    if message == UNAUTHENTICATED:
        cure = f": check user and secret in {setting} and in manager.conf, and its permit lines"
        return f"Asterisk refuses {login} ({message}){cure}"
    if message != IN_USE:
        return f"Asterisk refuses {login} ({message})"
    return (
        f"Asterisk refuses {login} ({message}): manager.conf allows this user one session (allowmultiplelogin = no),"
        " and another program has it; allow more, or give Ringledger a user of its own"
    )
