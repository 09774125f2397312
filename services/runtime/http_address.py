"""The address of RINGLEDGER_HTTP, where it cannot be listened at."""

import errno
import os


class AddressError(Exception):
    """The API cannot listen at its address; the message is one line that names the setting."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            super().__init__(f"RINGLEDGER_HTTP: {address} is taken by another program")
            return
        # Event loops put words of their own into strerror; a host without an address has a negative number.
        number = error.errno or 0
        words = os.strerror(number) if number > 0 else error.strerror
        super().__init__(f"RINGLEDGER_HTTP: cannot listen at {address}: {words}")
