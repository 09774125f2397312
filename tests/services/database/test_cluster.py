"""The files of the embedded PostgreSQL, and the user that owns them."""

import fcntl
import os
import pwd
import subprocess
import threading
import time
from pathlib import Path

import pytest

from services.database import cluster


def test_one_process_at_a_time_makes_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two useradd at once gave uid 999 and then 995 to one name: the first cluster lost its owner."""
    users: set[str] = set()
    calls: list[list[str]] = []

    def find(name: str) -> str:
        if name in users:
            return name
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", find)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: calls.append(command))
    other = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        maker = threading.Thread(target=cluster._make_user)
        maker.start()
        while maker.is_alive() and not is_waiting(os.getpid()):
            time.sleep(0.001)
        users.add(cluster.USER)
    finally:
        os.close(other)
    maker.join()
    assert calls == []


def is_waiting(pid: int) -> bool:
    """Return whether a thread of the process waits for a lock (proc(5): a waiter's line has an arrow)."""
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any("-> FLOCK" in line and line.split()[5] == str(pid) for line in lines)
