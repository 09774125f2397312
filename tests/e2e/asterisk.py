"""A real Asterisk in a container, its CLI, and the phones around it."""

import asyncio
import gc
import os
import re
import socket
import warnings
from typing import Any, Self

from docker.errors import DockerException, ImageNotFound
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.e2e.ami import Ami, AmiError
from tests.e2e.phone import Phone, open_phone
from tests.support.polling import eventually

ADVICE = (
    "run `make test`, which has both an engine and the images, or"
    " `.venv/bin/python docker/engine.py run .venv/bin/python -m pytest tests/e2e`; `make test-fast` needs neither"
)

END = "end-of-output"
REGISTRAR = """
[provider]
type = registration
transport = udp
server_uri = sip:{host}:{port}
client_uri = sip:ringledger@{host}:{port}
retry_interval = 2
forbidden_retry_interval = 2
max_retries = 1000
expiration = 60
"""


class Asterisk:
    """One running Asterisk; ``host`` is the container's own address, ``here`` is ours as it sees us.

    One that is started ``beside`` another is in its network, so that they reach each other.
    """

    host: str
    here: str
    ami: Ami
    _network: Network

    def __init__(self, version: str, beside: "Asterisk | None" = None) -> None:
        self.version = version
        self._beside = beside
        self.phones: dict[str, Phone] = {}
        missing = ""
        try:
            self.container = DockerContainer(f"ringledger/asterisk:{version}")
            self._network = Network() if beside is None else beside._network
        except DockerException as error:
            missing = str(error)
        if missing:
            with warnings.catch_warnings():  # the client leaves its socket open
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
            raise AssertionError(f"no container engine: {ADVICE}\n({missing})")

    async def start(self) -> Self:
        self.container.with_name(f"ringledger-e2e-{self.version}-{os.getpid()}" + ("-beside" if self._beside else ""))
        # No resolver: where the engine has none that answers, Asterisk would wait 10 s for it at its start.
        self.container.with_kwargs(dns=["127.0.0.1"])
        # A network of its own: when it is killed and started again, its address is still free.
        if self._beside is None:
            await asyncio.to_thread(self._network.create)
        self.container.with_network(self._network)
        try:
            await asyncio.to_thread(self.container.start)
        except ImageNotFound as error:
            await asyncio.to_thread(self._network.remove)
            raise AssertionError(f"{error.explanation}: {ADVICE}") from None
        await self.reach()
        return self

    async def reach(self) -> None:
        """Find the container's address and log in; again after the container was restarted."""
        inner: Any = self.container.get_wrapped_container()
        await asyncio.to_thread(inner.reload)
        networks = inner.attrs["NetworkSettings"]["Networks"].values()
        self.host = next(network["IPAddress"] for network in networks)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((self.host, 5060))
            self.here = probe.getsockname()[0]
        await self.log_in()

    async def log_in(self) -> None:
        """Log in as soon as Asterisk is fully booted."""

        async def attempt() -> bool:
            try:
                self.ami = await Ami.connect(self.host)
            except (OSError, TimeoutError, EOFError, AmiError):
                return False
            return bool(await self.ami.cli("core waitfullybooted"))

        await eventually(attempt, f"AMI of Asterisk {self.version} answers at {self.host}:5038", 120)

    async def cli(self, command: str) -> list[str]:
        return await self.ami.cli(command)

    async def shell(self, *command: str) -> str:
        """Run a command in the container, and return its output."""
        code, output = await asyncio.to_thread(self.container.exec, list(command))
        assert code == 0, f"{command}: {output.decode()}"
        text: str = output.decode("utf-8", "replace")
        return text

    async def read(self, path: str) -> str:
        """Return a file's text, "" if there is none. A busy engine may lose a part of the output: then read again."""
        command = f"n=$(cat {path} 2>/dev/null | wc -c); head -c $n {path} 2>/dev/null; echo {END}$n"
        while True:
            _, output = await asyncio.to_thread(self.container.exec, ["sh", "-c", command])
            data, end, length = output.rpartition(END.encode())
            if end and length.strip() == str(len(data)).encode():
                text: str = data.decode("utf-8", "replace")
                return text

    async def add_configuration(self, file: str, text: str) -> None:
        """Append to a file of Asterisk's configuration; the module that reads it must be reloaded."""
        await self.shell("sh", "-c", f"cat >> /etc/asterisk/{file} <<'END'\n{text}\nEND")

    async def phone(self, user: str, *, registered: bool = True) -> Phone:
        """Return the phone of ``user``, the same one as last time unless it was closed."""
        phone = self.phones.get(user)
        if phone is None or phone.transport.is_closing():
            phone = self.phones[user] = await open_phone(user, self.here, (self.host, 5060))
        if registered:
            assert await phone.register() == 200
        return phone

    async def provider(self) -> Phone:
        """Return the provider where Asterisk registers as a customer; it refuses until the test sets ``registrar``."""
        phone = self.phones["provider"] = await open_phone("provider", self.here, (self.host, 5060))
        text = REGISTRAR.format(host=phone.ip, port=phone.port)
        await self.shell("sh", "-c", f"cat > /etc/asterisk/pjsip_provider.conf <<'END'\n{text}\nEND")
        await self.cli("module reload res_pjsip_outbound_registration.so")
        return phone

    async def quiet(self) -> None:
        """End every call, close every phone, and wait until Asterisk is at rest; fail if it has died, and revive it."""
        died = await self.died()
        for phone in self.phones.values():
            if not phone.transport.is_closing():
                await phone.close()
        self.phones.clear()
        assert not died, died
        await self.cli("channel request hangup all")

        async def no_contacts() -> bool:
            shown = "\n".join(await self.cli("pjsip show contacts"))
            left = re.findall(rf"Contact:\s+(\d+)/sip:\d+@{re.escape(self.here)}:", shown)
            for user in left:  # its phone could not unregister: Asterisk was not there
                await (await open_phone(user, self.here, (self.host, 5060))).close()
            return not left

        await eventually(no_contacts, "no phone is registered")
        await self.wait_idle()

    async def wait_idle(self) -> None:
        """Wait until no channel is left but that of text messages, which never ends."""

        async def no_channels() -> bool:
            lines = await self.cli("core show channels concise")
            return not [line for line in lines if line and not line.startswith("Message/")]

        await eventually(no_channels, "no channel is left")

    async def died(self) -> str:
        """Restart Asterisk if it has died, and return a description of its death; empty if it lives."""
        inner: Any = self.container.get_wrapped_container()
        await asyncio.to_thread(inner.reload)
        if inner.status == "running":
            return ""
        code = inner.attrs["State"]["ExitCode"]
        last = (await asyncio.to_thread(inner.logs, tail=30)).decode("utf-8", "replace")
        await asyncio.to_thread(inner.start)
        await self.reach()
        return f"Asterisk {self.version} died with exit status {code}, and was started again. It said:\n{last}"

    async def stop(self) -> None:
        self.ami.close()
        await asyncio.to_thread(self.container.stop)
        if self._beside is None:
            await asyncio.to_thread(self._network.remove)
