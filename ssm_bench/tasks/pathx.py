"""Path-X: Pathfinder at 128 x 128 pixels, sequences of 16,384; other sets of 128 and 256 pixels as variants."""

from ssm_bench.tasks._contours import ContourTask, contour_spec
from ssm_bench.tasks._pathfinder.variants import VARIANTS


class PathX(ContourTask):
    """The hard set (contours of 14 dashes) at 128 x 128 pixels; the other large sets are variants, with this recipe."""

    own_set = "128-hard"
    variants = tuple(name for name in VARIANTS if name.startswith(("128", "256")) and name != "128-hard")
    spec = contour_spec("pathx", "Path-X", VARIANTS[own_set].resolution)
