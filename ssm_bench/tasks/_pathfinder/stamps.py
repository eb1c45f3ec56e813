"""What a dash looks like at every orientation it can take, as tables for the compiled search.

A dash is always drawn at a whole pixel, and its orientation is either a whole degree (the first dash of a contour) or
one of the few that lead to a pixel of the circle around the end of the dash before. So every dash, the room it needs
and every weight of the search can be computed once.

Drawing follows the generator of 2019, which used scipy.misc: lines by Pillow on a canvas of twice the size, reduced by
a Lanczos filter to 8 bits, rounding of shifted points by ceiling. Everything the search needs is integers, so a set
does not depend on the floating point of a machine.
"""

import hashlib
import math
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from ssm_bench.tasks._pathfinder.variants import Variant

#: Times that a canvas is larger than its image.
SCALE = 2

#: Orientations of a first dash: -180, -179, ..., 179 degrees.
DEGREES = 360

#: Unit of the weights of directions.
WEIGHT_ONE = 1 << 16

#: Footprint (0..255) up to which a pixel is free: 0.3.
FREE = 76

#: Two footprints collide where their sum reaches 1.8.
COLLISION = 459

#: A contour is stuck where all weights together are below 1e-4.
LEAST_WEIGHT = math.ceil(1e-4 * 255 * WEIGHT_ONE)

#: From this far on, no edge of an image changes how a disc is reduced.
_LANCZOS_REACH = 3

# Pixels of a circle are cut off towards zero, so they are taken about a place where that means down.
_ORIGIN = 64


class Stamps(NamedTuple):
    """Tables of one variant and margin; o is an orientation, the first 360 of which are whole degrees.

    The search works on a mask with a border around the image that is taken for occupied, so that it need never ask
    where the image ends. "Places" are differences of pixel numbers in that mask, row by row. Ragged tables lie one
    after another: the rows of orientation o are start[o]:start[o + 1].

    Attributes:
        margin: the gap around a dash.
        border: width of the border.
        step: (o,) place of the pivot of a dash, from the pivot of the dash before, which has orientation o.
        seed: (360, len(SEED_COLUMNS)) what is known of a first dash.
        room_start, room: (.., 3) what must be free around the tail of a first dash: place, y and x.
        choice_start, choice: (.., 3) dashes that may follow orientation o: their orientation, the place of their head
            from the pivot, and their weight, up to WEIGHT_ONE.
        foot_start, foot: (.., 2) footprint of a dash: place and value 1..255, values above 203 first.
        foot_core: (o,) how many of them are above 203; only these can collide.
        line_start, line: (.., 3) ink of a dash: y, x and value 1..255.
        disc: (..,) places within the margin.
    """

    margin: int
    border: int
    step: np.ndarray
    seed: np.ndarray
    room_start: np.ndarray
    room: np.ndarray
    choice_start: np.ndarray
    choice: np.ndarray
    foot_start: np.ndarray
    foot: np.ndarray
    foot_core: np.ndarray
    line_start: np.ndarray
    line: np.ndarray
    disc: np.ndarray


#: What `Stamps.seed` holds: head and pivot seen from the tail; where the first contour may start (the ends are
#: excluded); the start of the second contour seen from that of the first; see `_usable`.
SEED_COLUMNS = (
    *("head_y", "head_x", "pivot_y", "pivot_x", "top", "bottom", "left", "right", "around_y", "around_x", "usable"),
)


def shift(orientation: float, distance: float) -> tuple[int, int]:
    """(y, x) from a pixel to the one at that distance, rounded up."""
    # Rounded first: what is whole but for floating point must not become one more.
    y, x = round(distance * math.sin(orientation), 9), round(distance * math.cos(orientation), 9)
    return math.ceil(y), math.ceil(x)


def opposite(orientation: float) -> float:
    """The orientation turned by half a circle, in [-pi, pi)."""
    return orientation + math.pi if orientation < 0 else orientation - math.pi


def disc(radius: int) -> np.ndarray:
    """(2 radius + 1, 2 radius + 1) bool: the pixels within the radius."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return x**2 + y**2 <= radius**2


def reduce(canvas: np.ndarray, side: int) -> np.ndarray:
    """A canvas of 0 and 255 reduced to `side` pixels: (side, side) uint8."""
    small = Image.fromarray(canvas.astype(np.uint8)).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


@cache
def dash(variant: Variant, margin: int, orientation: float) -> tuple[np.ndarray, np.ndarray]:
    """Ink and footprint of a dash that starts in the middle: two (2 reach + 1, 2 reach + 1) uint8."""
    reach = _reach(variant, margin)
    middle, side = reach * SCALE, 2 * reach + 1
    y, x = (middle + variant.dash_length * SCALE * f(orientation) for f in (math.sin, math.cos))
    canvas = Image.new("F", (2 * middle + 1, 2 * middle + 1), 0)
    ends = [(middle, middle), (math.ceil(x), math.ceil(y))]
    ImageDraw.Draw(canvas).line(ends, fill=255, width=round(variant.thickness * SCALE))
    ink = np.asarray(canvas)
    grown = ndimage.grey_dilation(ink, footprint=disc(margin * SCALE), mode="constant", cval=0)
    return reduce(ink, side), reduce(grown, side)


def candidates(variant: Variant, margin: int) -> np.ndarray:
    """(k, 2) int: the distinct pixels of a circle around a pivot, one for each pixel of its arc, by y, then x."""
    radius = variant.dash_length + margin
    angles = np.arange(0, 360, 360 / (2 * radius * np.pi)) * np.pi / 180
    circle = np.stack([_ORIGIN + radius * np.sin(angles), _ORIGIN + radius * np.cos(angles)], axis=1)
    return np.unique(circle.astype(int), axis=0) - _ORIGIN


@cache
def stamps(variant: Variant, margin: int) -> Stamps:
    """The tables of a variant at one of its margins."""
    length = variant.dash_length
    degrees = np.deg2rad(np.arange(-DEGREES // 2, DEGREES // 2)).tolist()
    targets = candidates(variant, margin)
    arrivals = np.arctan2(targets[:, 0], targets[:, 1]).tolist()
    orientations = degrees + arrivals
    # A first dash is drawn from its tail onwards, every other one from its head backwards.
    dashes = [dash(variant, margin, o) for o in degrees] + [dash(variant, margin, opposite(o)) for o in arrivals]
    # Heads lie within the image, pivots a gap further, the next heads a dash and a gap further, their margin beyond.
    border = _reach(variant, margin) + 2 * margin + 2
    row = np.asarray([variant.resolution + 2 * border, 1])
    choices = [_choices(o, np.asarray(arrivals), variant.continuity, targets @ row) for o in orientations]
    rooms = [_room(variant, margin, o) for o in degrees]
    feet = [_footprint(foot, row) for _, foot in dashes]
    lines = [_pixels(line) for line, _ in dashes]
    return Stamps(
        margin=margin,
        border=border,
        step=_table([shift(o, length + 2 * margin) for o in orientations] @ row),
        seed=_table([_seed(variant, margin, o, room) for o, room in zip(degrees, rooms, strict=True)]),
        room_start=_starts(rooms),
        room=_table([[place @ row, *place] for place in np.concatenate(rooms)]),
        choice_start=_starts(choices),
        choice=_table(np.concatenate(choices)),
        foot_start=_starts(feet),
        foot=_table(np.concatenate(feet)),
        foot_core=_table([(foot[:, 1] >= COLLISION - 255).sum() for foot in feet]),
        line_start=_starts(lines),
        line=_table(np.concatenate(lines)),
        disc=_table((np.argwhere(disc(margin)) - margin) @ row),
    )


@cache
def markers(variant: Variant) -> np.ndarray:
    """Marker discs by how far they are from the edges: (2 h + 1, 2 h + 1, 2 h + 1, 2 h + 1) uint8.

    Entry [h, h] is the disc far from every edge, [i, j] with i below h the one whose center has row i, and with i above
    h the one whose center is 2 h - i rows from the last. Its pixels run from h before the center to h after it.
    """
    radius = variant.marker_radius
    h = math.ceil(radius) + _LANCZOS_REACH
    side = 4 * h + 1
    found = np.zeros((2 * h + 1, 2 * h + 1, 2 * h + 1, 2 * h + 1), np.uint8)
    centers = [i if i < h else side - 1 - (2 * h - i) if i > h else 2 * h for i in range(2 * h + 1)]
    y, x = np.mgrid[0 : side * SCALE, 0 : side * SCALE]
    for i, row in enumerate(centers):
        for j, column in enumerate(centers):
            inside = (y - row * SCALE) ** 2 + (x - column * SCALE) ** 2 <= (radius * SCALE) ** 2
            image = np.pad(reduce(inside * 255, side), h)
            found[i, j] = image[row : row + 2 * h + 1, column : column + 2 * h + 1]
    return found


def fingerprint(variant: Variant) -> str:
    """SHA-256 of every table: equal tables and an equal seed give equal images."""
    digest = hashlib.sha256(markers(variant).tobytes())
    for margin in variant.margins:
        for table in stamps(variant, margin):
            digest.update(np.asarray(table, np.int64).tobytes())
    return digest.hexdigest()


def _reach(variant: Variant, margin: int) -> int:
    return variant.dash_length + math.ceil(variant.thickness) + margin


def _choices(orientation: float, arrivals: np.ndarray, continuity: float, places: np.ndarray) -> np.ndarray:
    """(.., 3) orientation, place and weight of each dash that may follow one of that orientation."""
    turn = np.abs(arrivals - orientation)
    turn = np.minimum(turn, 2 * np.pi - turn)
    cosine = np.cos(np.minimum(turn * continuity, np.pi / 2))
    weights = np.rint(np.maximum(cosine, 0) ** 2 * WEIGHT_ONE).astype(int)
    (k,) = np.nonzero(weights)
    return np.stack([DEGREES + k, places[k], weights[k]], axis=1)


def _seed(variant: Variant, margin: int, orientation: float, room: np.ndarray) -> tuple[int, ...]:
    """A row of `Stamps.seed`; the start of the second contour goes by the number of the row alone."""
    head = shift(orientation, variant.dash_length)
    reverse = orientation + math.pi if orientation + math.pi < math.pi else orientation - math.pi
    back = shift(reverse, variant.dash_length + margin)
    first, beyond = 2 * variant.seed_distance, variant.resolution - 2 * variant.seed_distance
    (top, left), (bottom, right) = first - room.min(axis=0), beyond - room.max(axis=0)
    around = [round(variant.seed_distance * f(orientation + math.pi)) for f in (math.sin, math.cos)]
    return *head, head[0] + back[0], head[1] + back[1], top, bottom, left, right, *around, _usable(room)


def _room(variant: Variant, margin: int, orientation: float) -> np.ndarray:
    """Where the footprint of a dash from the origin is full, as the reference places it: one pixel down and right."""
    reach, half = _reach(variant, margin), variant.dash_length + margin
    places = np.argwhere(dash(variant, margin, orientation)[1] == 255) - reach + 1
    return places[(np.abs(places) <= half).all(axis=1)]


def _usable(room: np.ndarray) -> bool:
    """Whether some pixel of the room of a first dash lies in the image, wherever in the image the dash starts.

    Elsewhere the maximum over the room is that of nothing, minus infinity; the reference sees the negative number,
    takes it for an error and finds no place at all. So most orientations never start a contour.
    """
    y, x = room.T
    corners = [(y >= 0) & (x >= 0), (y >= 0) & (x <= 0), (y <= 0) & (x >= 0), (y <= 0) & (x <= 0)]
    return all(corner.any() for corner in corners)


def _pixels(image: np.ndarray) -> np.ndarray:
    """(.., 3) y and x from the middle, and value of every pixel that is not zero."""
    places = np.argwhere(image)
    return np.column_stack([places - len(image) // 2, image[tuple(places.T)].astype(int)])


def _footprint(image: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(.., 2) place and value, those that can collide first."""
    pixels = _pixels(image)
    pixels = pixels[np.argsort(pixels[:, 2] < COLLISION - 255, kind="stable")]
    return np.column_stack([pixels[:, :2] @ row, pixels[:, 2]])


def _table(rows) -> np.ndarray:
    return np.ascontiguousarray(rows, np.int32)


def _starts(rows) -> np.ndarray:
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
