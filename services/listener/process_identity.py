"""The identity of a process on its machine, so that another one on the same machine can detect its death (Linux)."""

import os
import socket
from pathlib import Path

from services.runtime.clock import boot_id


def process_identity() -> str:
    """Return the host name, the boot id, the process id and the start of this process, separated by spaces."""
    pid = os.getpid()
    return f"{socket.gethostname()} {boot_id()} {pid} {_start_time(pid)}"


def is_dead(identity: str) -> bool:
    """Return whether a process was on this machine, in this boot, and has ended."""
    name, _, rest = identity.partition(" ")
    boot, _, rest = rest.partition(" ")
    pid, _, started = rest.partition(" ")
    return (name, boot) == (socket.gethostname(), boot_id()) and pid.isdecimal() and _start_time(int(pid)) != started


def _start_time(pid: int) -> str:
    """Return when a process started (clock ticks since boot), empty if it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]
