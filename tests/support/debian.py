"""Debian packages for a test: downloaded and unpacked into a folder, and none of them installed."""

import os
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

STATUS = Path("/var/lib/dpkg/status")
"""The list of this machine's packages."""
CACHES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ringledger-tests"
"""The folder of what test runs keep for the next ones."""


def unpack(folder: Path, *packages: str) -> Path:
    """Unpack what this machine lacks of the packages and their dependencies, and return where it is unpacked."""
    root = folder / "root"
    root.mkdir(parents=True)
    for package in sorted(download(folder, *packages).glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(root))
    return root


def download(folder: Path, *packages: str) -> Path:
    """Return a folder with the packages, which later runs use again while this machine has the same packages.

    apt works in ``folder`` alone, with a copy of the list of this machine's packages, and installs none. So it needs no
    lock that another apt has, and not root.
    """
    cache = CACHES / sha256(" ".join(packages).encode() + STATUS.read_bytes()).hexdigest()
    if cache.is_dir():
        return cache
    for part in ("state/lists/partial", "cache/archives/partial", "dpkg"):
        (folder / part).mkdir(parents=True)
    shutil.copy(STATUS, folder / "dpkg" / "status")
    options = (
        f"-oDir::State={folder}/state",
        f"-oDir::State::status={folder}/dpkg/status",
        f"-oDir::Cache={folder}/cache",
        f"-oAPT::Sandbox::User={'root' if os.geteuid() == 0 else ''}",
        "-oAcquire::Retries=3",
    )
    _run("apt-get", "-q", *options, "update")
    _run("apt-get", "-qy", *options, "--no-install-recommends", "--download-only", "install", *packages)
    CACHES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHES) as part_folder:
        complete = Path(part_folder) / "complete"
        complete.mkdir()
        for package in (folder / "cache" / "archives").glob("*.deb"):
            shutil.copy(package, complete)
        try:
            complete.rename(cache)
        except OSError:
            if not cache.is_dir():  # otherwise another run was quicker
                raise
    return cache


def _run(*command: str) -> None:
    result = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
