"""TLS of the links to a PBX."""

import ssl

from schemas.settings import Pbx


def tls_context(pbx: Pbx) -> ssl.SSLContext:
    """Return a context that verifies against the PBX's ``ca_file``, or the system's certificates without one.

    A PBX with ``verify = false`` is not verified at all.
    """
    context = ssl.create_default_context(cafile=pbx.ca_file or None)
    if not pbx.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
