"""Acts on modules (AMI ModuleLoad); ``module`` is the name without ``.so``."""

from schemas.acts import Act


class ModuleLoad(Act, frozen=True, tag="module.load"):
    """Load one module."""

    module: str


class ModuleReload(Act, frozen=True, tag="module.reload"):
    """Have one module read its configuration again."""

    module: str


class ModuleUnload(Act, frozen=True, tag="module.unload"):
    """Unload one module that nobody uses."""

    module: str
