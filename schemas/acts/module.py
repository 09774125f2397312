"""Acts on modules (AMI ModuleLoad); ``module`` is the name without ``.so``."""

from schemas.acts import Act


class ModuleLoad(Act, frozen=True, tag="module.load"):
    """Load one module."""

    module: str


class ModuleReload(Act, frozen=True, tag="module.reload"):
    """Reload the configuration of one module."""

    module: str


class ModuleUnload(Act, frozen=True, tag="module.unload"):
    """Unload one module that is not in use."""

    module: str
