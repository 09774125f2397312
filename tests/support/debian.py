"""Debian packages for a test: downloaded and unpacked into a folder, and none of them installed."""

import os
import shutil
import subprocess
from pathlib import Path


def unpack(folder: Path, *packages: str) -> Path:
    """Download what this machine lacks of the packages and their dependencies, and return where it is unpacked.

    apt works in ``folder`` alone, with a copy of the list of this machine's packages, and installs none. So it needs no
    lock that another apt has, and not root.
    """
    root = folder / "root"
    for part in ("state/lists/partial", "cache/archives/partial", "dpkg", "root"):
        (folder / part).mkdir(parents=True)
    shutil.copy("/var/lib/dpkg/status", folder / "dpkg" / "status")
    options = (
        f"-oDir::State={folder}/state",
        f"-oDir::State::status={folder}/dpkg/status",
        f"-oDir::Cache={folder}/cache",
        f"-oAPT::Sandbox::User={'root' if os.geteuid() == 0 else ''}",
        "-oAcquire::Retries=3",
    )
    _run("apt-get", "-q", *options, "update")
    _run("apt-get", "-qy", *options, "--no-install-recommends", "--download-only", "install", *packages)
    for package in sorted((folder / "cache" / "archives").glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(root))
    return root


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
