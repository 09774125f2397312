"""A container engine and the test images while a command runs: ``python docker/engine.py run COMMAND...``.

The engine at DOCKER_HOST or at the default socket is used. If there is none, root on Debian starts a separate one, and
installs it first if necessary. Its data, socket and bridge are its own, and the machine's firewall does not change. It
is stopped when the last ``run`` ends. Its data stay, so the next start takes a second. ``start`` keeps it until
``stop``; ``images`` only makes the images.

It runs in the project's virtual environment: testcontainers brings the client.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from docker.errors import APIError, DockerException, ImageNotFound

import docker

HERE = Path(__file__).resolve().parent
DATA = Path("/var/cache/ringledger-engine")
RUN = Path("/run/ringledger-engine")
OURS = f"unix://{RUN}/docker.sock"
PACKAGES = ("docker.io", "iptables", "runc", "iproute2")
BRIDGES = {f"ringledger{i}": f"172.31.{213 + i}.1/24" for i in range(10)}
START_SECONDS = 30
PULL_SECONDS = 120
BASES = {"debian:sid-slim": "sid", "debian:bullseye-slim": "bullseye", "debian:bookworm-slim": "bookworm"}
IMAGES = {
    "ringledger/asterisk:22": {"BASE": "debian:sid-slim", "PACKAGES": "asterisk"},
    "ringledger/asterisk:16": {"BASE": "debian:bullseye-slim", "PACKAGES": "asterisk asterisk-voicemail"},
}
CA = Path("/etc/ssl/certs/ca-certificates.crt")


class EngineError(Exception):
    """There is no engine; the message has the remedy."""


def report(text: str) -> None:
    """Print progress to standard error, apart from the command's own output."""
    print(f"engine: {text}", file=sys.stderr, flush=True)


def client(host: str, seconds: int = 600) -> docker.DockerClient:
    """Return a client of the engine at ``host``."""
    return docker.DockerClient(base_url=host, timeout=seconds)


def answers(host: str) -> bool:
    """Return whether an engine answers at ``host``."""
    try:
        return bool(client(host, 10).ping())
    except DockerException:
        return False


def existing() -> str | None:
    """Return the address of an existing engine. Raises EngineError if DOCKER_HOST is set and silent."""
    host = os.environ.get("DOCKER_HOST")
    if host:
        if answers(host):
            return host
        if host != OURS:
            raise EngineError(f"DOCKER_HOST is {host}, where no engine answers. Start it, or unset DOCKER_HOST.")
    default = Path("/var/run/docker.sock")
    if default.exists() and not os.access(default, os.W_OK):
        raise EngineError(f"you may not write to {default}: join the group docker (and log in again), or use root.")
    return f"unix://{default}" if default.exists() and answers(f"unix://{default}") else None


def install(*packages: str) -> None:
    """Install Debian packages; none of their services is started. Raises EngineError."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise EngineError(
            "no container engine answers at DOCKER_HOST or /var/run/docker.sock, and only root on Debian can have one"
            f" started here. Either start Docker, or run as root on Debian (needed: {' '.join(packages)}),"
            " or run `make test-fast`, which leaves the container tests out."
        )
    report(f"installing {' '.join(packages)}")
    policy = Path("/usr/sbin/policy-rc.d")
    guard = not policy.exists()
    if guard:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        policy.chmod(0o755)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (["apt-get", "-q", "update"], ["apt-get", "-qy", "--no-install-recommends", "install"]):
            full = command if command[-1] == "update" else [*command, *packages]
            result = subprocess.run(
                full, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if result.returncode:
                raise EngineError(f"{' '.join(full)} failed:\n{(result.stdout + result.stderr)[-2000:]}")
    finally:
        if guard:
            policy.unlink()


def bridge() -> str:
    """Return the engine's bridge; make a new one, because an engine in another container may share the network."""
    ours = RUN / "bridge"
    present = {path.name for path in Path("/sys/class/net").iterdir()}
    if ours.exists() and (name := ours.read_text(encoding="ascii")) in present:
        return name
    name = next((name for name in BRIDGES if name not in present), "")
    if not name:
        raise EngineError(f"all of {', '.join(BRIDGES)} are taken: remove those left over with `ip link delete`")
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    subprocess.run(["ip", "addr", "add", BRIDGES[name], "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    ours.write_text(name, encoding="ascii")
    return name


def start() -> None:
    """Start the separate engine unless it runs. Raises EngineError."""
    if answers(OURS):
        return
    if not all(shutil.which(program) for program in ("dockerd", "runc", "iptables", "ip")):
        install(*PACKAGES)
    if os.geteuid() != 0:
        raise EngineError("no container engine answers, and only root can start one: start Docker, or use root.")
    for folder in (DATA, RUN):
        folder.mkdir(parents=True, exist_ok=True)
    name = bridge()
    log = RUN / "log"
    # Without iptables nothing of the machine's firewall changes; published ports work through docker-proxy.
    with log.open("ab") as out:
        daemon = subprocess.Popen(
            [
                *(
                    "dockerd",
                    "--data-root",
                    DATA / "data",
                    "--exec-root",
                    RUN / "exec",
                    "--pidfile",
                    RUN / "docker.pid",
                ),
                *("-H", OURS, "--bridge", name, "--iptables=false", "--ip-forward=false"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not answers(OURS):
        if daemon.poll() is not None or time.monotonic() > deadline:
            daemon.kill()
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
            raise EngineError(f"dockerd does not start, see {log}:\n{tail}")
        time.sleep(0.1)
    report(f"started, DOCKER_HOST={OURS}")


def stop() -> None:
    """Stop the separate engine, and remove the containers that a killed test left."""
    if answers(OURS):
        engine = client(OURS)
        for container in engine.containers.list(all=True):
            container.remove(force=True, v=True)
        engine.images.prune({"dangling": True})  # those that newer images have replaced
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid = int((RUN / "docker.pid").read_text(encoding="ascii"))
        if b"dockerd" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + START_SECONDS
            while (RUN / "docker.pid").exists() and time.monotonic() < deadline:
                time.sleep(0.1)
    with contextlib.suppress(FileNotFoundError):
        name = (RUN / "bridge").read_text(encoding="ascii")
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
        (RUN / "bridge").unlink()
    report("stopped")


def mirror() -> str:
    """Return the Debian mirror that this machine uses itself."""
    places = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    for line in (line for place in places if place.exists() for line in place.read_text(encoding="utf-8").splitlines()):
        for word in line.split() if line.startswith(("URIs:", "deb ")) else ():
            if "://" in word:
                return word
    return "http://deb.debian.org/debian"


def base(host: str, name: str) -> None:
    """Provide the base image ``name``: pull it, or make it of Debian's packages. Raises EngineError."""
    engine = client(host)
    with contextlib.suppress(ImageNotFound):
        engine.images.get(name)
        return
    report(f"pulling {name}")
    try:
        client(host, PULL_SECONDS).images.pull(name)
    except Exception as error:  # noqa: BLE001 (the next way may work after any error)
        report(f"cannot pull ({str(error)[:200]})")
    else:
        return
    if not shutil.which("mmdebstrap"):
        install("mmdebstrap")
    report(f"making {name} with mmdebstrap from {mirror()}")
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "base.tar"
        options = [
            "--aptopt=Apt::Install-Recommends false",
            # A mirror that is no longer updated has expired, but its packages are signed.
            "--aptopt=Acquire::Check-Valid-Until false",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
        ]
        changes = ['CMD ["bash"]']
        if CA.exists():  # the images trust the authorities of this machine, such as a company's proxy
            options.append(f"--customize-hook=copy-in {CA} /usr/local/share")
            changes.append(f"ENV PIP_CERT=/usr/local/share/{CA.name}")
        command = [
            "mmdebstrap",
            "--variant=minbase",
            *options,
            BASES[name],
            str(tar),
            f"deb {mirror()} {BASES[name]} main",
        ]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if made.returncode:
            raise EngineError(f"cannot make {name}: output of mmdebstrap:\n{made.stderr[-2000:]}")
        repository, _, tag = name.partition(":")
        engine.api.import_image(src=str(tar), repository=repository, tag=tag, changes=changes)


def images(host: str) -> None:
    """Make the images of the tests; unchanged layers come from the cache. Raises EngineError."""
    engine = client(host)
    for name, arguments in IMAGES.items():
        base(host, arguments["BASE"])
        report(f"building {name}")
        try:
            engine.images.build(
                path=str(HERE / "asterisk"), tag=name, buildargs=arguments, network_mode="host", rm=True, forcerm=True
            )
        except (APIError, docker.errors.BuildError) as error:
            lines = [str(part.get("stream", "")) for part in getattr(error, "build_log", [])]
            raise EngineError(f"cannot build {name}: {error}\n{''.join(lines)[-2000:]}") from None


@contextlib.contextmanager
def locked(name: str, how: int) -> Iterator[IO[str]]:
    """Hold a lock on a file of the separate engine."""
    DATA.mkdir(parents=True, exist_ok=True)
    with (DATA / name).open("w", encoding="ascii") as file:
        fcntl.flock(file, how)
        yield file


def run(command: list[str]) -> int:
    """Run ``command`` with DOCKER_HOST set, and return its exit status; stop the engine if this started it."""
    host = existing()
    if host is not None:
        images(host)
        return _child(command, host)
    if os.geteuid() != 0:
        install(*PACKAGES)  # raises an error with the remedy
    with locked("users", fcntl.LOCK_SH) as users:
        try:
            with locked("start", fcntl.LOCK_EX):
                start()
                images(OURS)
            return _child(command, OURS)
        finally:
            # BlockingIOError: another run still uses it.
            with locked("start", fcntl.LOCK_EX), contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not (DATA / "keep").exists():
                    stop()


def _child(command: list[str], host: str) -> int:
    environ = {**os.environ, "DOCKER_HOST": host, "TESTCONTAINERS_RYUK_DISABLED": "true"}
    child = subprocess.Popen(command, env=environ)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: child.send_signal(got))
    return child.wait()


def main() -> int:
    """Run the subcommand of the first argument."""
    match sys.argv[1:]:
        case ["run", *command] if command:
            return run(command)
        case ["images"]:
            return run(["true"])
        case ["start"]:
            with locked("start", fcntl.LOCK_EX):
                host = existing()
                if host is None:
                    start()
                    (DATA / "keep").touch()
                images(host or OURS)
            print(f"DOCKER_HOST={host or OURS}")
        case ["stop"]:
            with locked("start", fcntl.LOCK_EX):
                (DATA / "keep").unlink(missing_ok=True)
                stop()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EngineError, DockerException) as error:
        print(f"engine: {error}", file=sys.stderr)
        sys.exit(1)
