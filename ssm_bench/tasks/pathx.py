"""Path-X: Pathfinder at 128 x 128 pixels, sequences of 16,384."""

from ssm_bench.tasks._contours import ContourTask, contour_spec


class PathX(ContourTask):
    """The hard set (contours of 14 dashes) at 128 x 128 pixels."""

    resolution = 128
    spec = contour_spec("pathx", "Path-X", resolution)
