"""How a link to a PBX is encrypted."""

import ssl

from schemas.settings import Pbx


def tls_context(pbx: Pbx) -> ssl.SSLContext:
    """Return what the PBX's certificate is held against: its ``ca_file``, else the system's; nothing without verify."""
    context = ssl.create_default_context(cafile=pbx.ca_file or None)
    if not pbx.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
