"""Read models of each PBX: links, gaps, modules, configuration files."""

from projections.pbx.configurations import CONFIGURATIONS
from projections.pbx.gaps import GAPS
from projections.pbx.links import LINKS
from projections.pbx.modules import MODULES
from projections.pbx.systems import SYSTEMS

MODELS = (
    CONFIGURATIONS,
    GAPS,
    LINKS,
    MODULES,
    SYSTEMS,
)
