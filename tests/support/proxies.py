"""Debian's own nginx and Apache with the configuration of docs/operate/proxies.md, before an API of a test.

tests/support/debian.py unpacks the packages, and the libraries that this machine lacks, into a temporary folder.
"""

import asyncio
import contextlib
import os
import re
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.polling import eventually
from tests.support.ports import free_port

NAME = "pbx.example.org"
PACKAGES = ("nginx", "apache2-bin")
PROGRAMS = {"nginx": "nginx", "apache": "apache2"}
MODULES = ["mpm_event", "authz_core", "proxy", "proxy_http", "ssl", "headers", "deflate", "filter", "socache_shmcb"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "operate" / "proxies.md"


def documented_example(kind: str) -> str:
    """Return the example of docs/operate/proxies.md."""
    path = re.search(rf"```{kind}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert path
    return path[1]


def decoding_example(kind: str) -> str:
    """Return the example with the setting that decodes %2F in paths."""
    example = documented_example(kind)
    if kind == "nginx":
        changed = example.replace("http://127.0.0.1:8081;", "http://127.0.0.1:8081/;")
    else:
        changed = example.replace("AllowEncodedSlashes NoDecode", "AllowEncodedSlashes On").replace(" nocanon", "")
    assert changed != example
    return changed


@asynccontextmanager
async def run_proxy(root: Path, folder: Path, kind: str, example: str, upstream: int) -> AsyncIterator[int]:
    """Run a proxy with an example before the API at a port; yield the proxy's port for https."""
    port = free_port()
    command, environ = prepare(root, folder, kind, example, upstream=upstream, port=port)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:

        async def is_ready() -> bool:
            assert process.returncode is None, (folder / "log").read_text()
            return await listens(port)

        await eventually(is_ready, f"{kind} listens")
        yield port
    finally:
        # Apache's end by SIGTERM takes nine seconds while a stream is open. Its children are of its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    return True


def prepare(
    root: Path, folder: Path, kind: str, example: str, *, upstream: int, port: int
) -> tuple[list[str], dict[str, str]]:
    """Write the configuration: the example with this test's ports and certificate. Return command and environment."""
    certificate, key = write_certificate(folder)
    for documented_part, part in (
        (":8081", f":{upstream}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("<VirtualHost *:443>", f"<VirtualHost *:{port}>"),
        ("/etc/ssl/certs/pbx.example.org.pem", str(certificate)),
        ("/etc/ssl/private/pbx.example.org.key", str(key)),
    ):
        example = example.replace(documented_part, part)
    file = folder / "configuration"
    if kind == "nginx":
        file.write_text(nginx(folder, example), encoding="utf-8")
        options = ["-e", "stderr", "-p", str(folder), "-c", str(file), "-g", "daemon off;"]
    else:
        file.write_text(apache(folder, package_path(root, "usr/lib/apache2/modules"), port, example), encoding="utf-8")
        options = ["-D", "FOREGROUND", "-f", str(file)]
    libraries = ":".join(str(path) for top in ("usr/lib", "lib") for path in root.glob(f"{top}/*-linux-gnu*"))
    return [str(package_path(root, f"usr/sbin/{PROGRAMS[kind]}")), *options], {
        **os.environ,
        "LD_LIBRARY_PATH": libraries,
    }


def package_path(root: Path, path: str) -> Path:
    """Return where a part of the packages is: unpacked, or on this machine, where apt downloads nothing."""
    return next(place for place in (root / path, Path("/", path)) if place.exists())


def nginx(folder: Path, example: str) -> str:
    """Put the example where Debian has it, in the http block."""
    temporary = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    return f"{user}\npid {folder}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\n{example}\n}}\n"


def apache(folder: Path, modules: Path, port: int, example: str) -> str:
    """Put the example where Debian has it, after modules and port."""
    user = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
    loaded = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in MODULES)
    return (
        f"ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/apache.pid\nErrorLog /dev/stderr\n"
        f"ServerName {NAME}\nListen 127.0.0.1:{port}\n{loaded}\n{user}{example}"
    )


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def client_tls(folder: Path) -> ssl.SSLContext:
    """Return a client's TLS that takes the proxy's certificate."""
    return ssl.create_default_context(cafile=str(folder / "certificate.pem"))
