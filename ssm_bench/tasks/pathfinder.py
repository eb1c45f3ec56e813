"""Pathfinder: are two markers joined by a dashed contour, at 32 x 32 pixels."""

from ssm_bench.tasks._contours import ContourTask, contour_spec


class Pathfinder(ContourTask):
    """The hard set (contours of 14 dashes) at 32 x 32 pixels."""

    resolution = 32
    spec = contour_spec("pathfinder", "Pathfinder", resolution)
