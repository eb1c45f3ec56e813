"""Pathfinder: are two markers joined by a dashed contour, at 32 x 32 pixels; other sets as variants."""

from ssm_bench.tasks._contours import ContourTask, contour_spec
from ssm_bench.tasks._pathfinder.variants import VARIANTS


class Pathfinder(ContourTask):
    """The hard set (contours of 14 dashes) at 32 x 32 pixels; every other set is a variant."""

    own_set = "32-hard"
    variants = tuple(name for name in VARIANTS if name != "32-hard")
    spec = contour_spec("pathfinder", "Pathfinder", VARIANTS[own_set].resolution)
