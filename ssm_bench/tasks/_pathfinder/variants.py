"""The Pathfinder sets that can be made, by name: resolution, difficulty and, where it differs, what differs.

Parameters: docstrings of the Long Range Arena (lra_benchmarks/data/pathfinder.py); what they leave out has the default
of the generator that the authors used (drewlinsley/pathfinder at ab9c130, 2019).
"""

from dataclasses import dataclass, replace

#: Dashes of a target contour.
CONTOUR_LENGTHS = {"easy": 6, "intermediate": 9, "hard": 14}


@dataclass(frozen=True)
class Variant:
    """The parameters of one set. Lengths are in pixels.

    Attributes:
        resolution: pixels along a side.
        contour_length: dashes of each of the two target contours.
        distractor_dashes: dashes of all distractors together, as asked for.
        padding: width of the frame that stays free of contours.
        seed_distance: from the start of the first contour to that of the second.
        dash_length: of a dash.
        thickness: of a dash; twice it is a whole number.
        margins: gaps around a dash; each image draws one.
        marker_radius: of the two discs.
        continuity: 1 lets a contour turn by up to 90 degrees at a dash, larger values make it straighter.
        target_contrast: brightness of the target contours.
        contrast: brightness of the distractors.
        clean: whether the set avoids the flaws of the published one, see `search.clean_scene`.
    """

    resolution: int
    contour_length: int
    distractor_dashes: int
    padding: int
    seed_distance: int
    dash_length: int
    thickness: float
    margins: tuple[int, ...]
    marker_radius: float
    continuity: float
    target_contrast: float
    contrast: float
    clean: bool = False

    @property
    def distractor_length(self) -> int:
        """Dashes of a distractor: a third of a target contour."""
        return self.contour_length // 3

    @property
    def distractors(self) -> int:
        """How many distractors are tried."""
        return self.distractor_dashes // self.distractor_length


_HARD = {
    32: Variant(32, 14, 20, 1, 7, 2, 0.5, (1,), 1.5, 1.0, target_contrast=1.5, contrast=2.0),
    64: Variant(64, 14, 22, 1, 12, 5, 1.0, (1,), 2.5, 1.8, target_contrast=0.8, contrast=0.8),
    128: Variant(128, 14, 35, 1, 20, 5, 1.5, (2, 3), 3.0, 1.8, target_contrast=0.9, contrast=0.9),
    256: Variant(256, 14, 30, 22, 27, 5, 2.0, (3,), 5.0, 1.8, target_contrast=1.0, contrast=1.0),
}


def _variants() -> dict[str, Variant]:
    found = {}
    for resolution, hard in _HARD.items():
        for difficulty, contour_length in CONTOUR_LENGTHS.items():
            name = f"{resolution}-{difficulty}"
            plain = found[name] = replace(hard, contour_length=contour_length)
            if resolution == 64:
                # The docstring seems to lack a parameter: as it stands, one search in 5,000 succeeds.
                found[f"{name}-short"] = replace(plain, dash_length=3)
            if resolution == 128:
                # Said of the released Path-X by people who compared images with it (see docs/data.md).
                dense = found[f"{name}-dense"] = replace(plain, distractor_dashes=2 * plain.distractor_dashes)
                found[f"{name}-faint"] = replace(plain, target_contrast=0.7, contrast=0.7)
                found[f"{name}-dense-faint"] = replace(dense, target_contrast=0.7, contrast=0.7)
            # Distractors that are brighter than the targets would be distinguishable by brightness alone.
            found[f"{name}-clean"] = replace(plain, contrast=plain.target_contrast, clean=True)
    return found


#: Every set by its name, such as "32-hard" or "128-easy-clean".
VARIANTS = _variants()
