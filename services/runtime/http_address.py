"""The error of an address in RINGLEDGER_HTTP at which the API cannot listen."""

import errno
import os


class AddressError(Exception):
    """The API cannot listen at its address; the message is one line that names the setting."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            super().__init__(f"RINGLEDGER_HTTP: {address} is in use by another program")
            return
        # Event loops replace strerror with their own text. A host without an address has a negative errno.
        number = error.errno or 0
        words = os.strerror(number) if number > 0 else error.strerror
        super().__init__(f"RINGLEDGER_HTTP: cannot listen at {address}: {words}")
