"""The compiled search: from a seed and the number of an image to its pixels.

The steps are those of the generator of 2019. Occupancy is a mask of 0..255; a dash adds its footprint to it only when
the next dash of its contour is placed, so that a contour does not collide with its own newest dash. As in the
reference, nothing else sees that dash either: the two targets may cross there. All arithmetic up to the finished scene
is in integers, and every image has its own stream of random numbers, so an image depends on nothing but its seed and
number.

Nothing here holds Python's lock: images may be made by several threads at once.
"""

import numpy as np
from numba import njit

from ssm_bench.tasks._pathfinder.stamps import COLLISION, DEGREES, FREE, LEAST_WEIGHT, SEED_COLUMNS

#: Draws of a dash, and of a first dash, before a contour is given up.
_DASH_DRAWS = 3
#: Tries of a distractor.
_DISTRACTOR_TRIES = 5
#: Random pixels that are tried before all free ones are listed; both ways choose evenly among them.
_QUICK_TRIES = 64
#: Of a clean set: tries of the second contour for a first one.
_PARTNER_TRIES = 100

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
_HEAD, _PIVOT, _BOX, _AROUND, _USABLE = (
    SEED_COLUMNS.index(name) for name in ("head_y", "pivot_y", "top", "around_y", "usable")
)

#: What is known of each image, by column.
FACTS = (
    "label",
    "margin",  # the gap around a dash
    "searches",  # pairs of contours tried, the last of which is this image
    "distractors",  # placed
    "origin_y",  # the marker at the start of a contour
    "origin_x",
    "end_y",  # the marker at the end of a contour
    "end_x",
    "first_y",  # start of the contour that was seeded first
    "first_x",
    "crossing",  # pixels where both targets have ink
)

_compiled = njit(cache=True, nogil=True, error_model="numpy")
# For what is called from compiled code alone, no door to Python is compiled.
_inner = njit(cache=True, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # pyright: ignore


@_compiled
def mix(value):
    """The finaliser of SplitMix64: a bijection of 64 bits."""
    value = (value ^ (value >> _30)) * _MIX1
    value = (value ^ (value >> _27)) * _MIX2
    return value ^ (value >> _31)


@_inner
def below(rng, count):
    """A random whole number of 0..count-1, count up to 2**31; rng (1,) uint64 is a SplitMix64 generator."""
    rng[0] += _GOLDEN
    return np.int64(((mix(rng[0]) >> _32) * np.uint64(count)) >> _32)


@_inner
def start(key, number, margins, rng):
    """Begins the stream of an image; returns its label and the index of its margin."""
    rng[0] = mix(key + np.uint64(number) * _GOLDEN)
    return below(rng, 2), below(rng, margins)


@_compiled
def margin_indices(key, numbers, margins, indices):
    """Writes which margin each of these images has."""
    rng = np.zeros(1, np.uint64)
    for i in range(len(numbers)):
        indices[i] = start(key, numbers[i], margins, rng)[1]


@_inner
def _copy(source, target):
    for i in range(len(source)):
        target[i] = source[i]


@_inner
def _occupy(mask, t, dash):
    """Adds the footprint of a dash (orientation, pixel) to the mask."""
    for i in range(t.foot_start[dash[0]], t.foot_start[dash[0] + 1]):
        pixel = dash[1] + t.foot[i, 0]
        if t.foot[i, 1] > mask[pixel]:
            mask[pixel] = t.foot[i, 1]


@_inner
def _collides(mask, t, orientation, pixel):
    """Whether the footprint of a dash drawn at a pixel meets that of others."""
    first = t.foot_start[orientation]
    for i in range(first, first + t.foot_core[orientation]):
        if mask[pixel + t.foot[i, 0]] + t.foot[i, 1] >= COLLISION:
            return True
    return False


@_inner
def _extend(mask, t, pivot, orientation, dash, sums, rng):
    """Places the next dash after a pivot, writing its orientation and pixel; False where none fits."""
    first, last = t.choice_start[orientation], t.choice_start[orientation + 1]
    total = 0
    for i in range(first, last):
        head = pivot + t.choice[i, 1]
        occupied = 0
        for place in t.disc:
            occupied = max(occupied, mask[head + place])
        total += t.choice[i, 2] * (255 - occupied)
        sums[i - first] = total
    if total < LEAST_WEIGHT:
        return False
    for _ in range(_DASH_DRAWS):
        drawn = below(rng, total)
        i = 0
        while sums[i] <= drawn:
            i += 1
        chosen, head = t.choice[first + i, 0], pivot + t.choice[first + i, 1]
        if not _collides(mask, t, chosen, head):
            dash[0], dash[1] = chosen, head
            return True
    return False


@_inner
def _follow(mask, t, dashes, n, pivots, k, sums, rng):
    """Places dash n of contour k, and only then adds the footprint of dash n - 1."""
    orientation = dashes[n - 1, 0]
    pivot = pivots[k] + t.step[orientation]
    if not _extend(mask, t, pivot, orientation, dashes[n], sums, rng):
        return False
    pivots[k] = pivot
    _occupy(mask, t, dashes[n - 1])
    return True


@_inner
def _begin(t, side, degree, y, x, dash, pivots, k):
    """Makes a first dash of contour k, unless its head or its pivot would lie outside of the image."""
    seed = t.seed[degree]
    for column in (_HEAD, _PIVOT):
        if not (0 <= y + seed[column] < side and 0 <= x + seed[column + 1] < side):
            return False
    row = side + 2 * t.border
    dash[0], dash[1] = degree, (y + t.border) * row + x + t.border
    pivots[k] = dash[1] + seed[_PIVOT] * row + seed[_PIVOT + 1]
    return True


@_inner
def _two_first_dashes(t, side, a, b, pivots, rng):
    """Places the first dashes of both targets: one about the center, one at a fixed distance from it, unchecked."""
    y = x = 0
    placed = False
    for _ in range(_DASH_DRAWS):
        degree = below(rng, DEGREES)
        top, bottom, left, right = (
            t.seed[degree, _BOX],
            t.seed[degree, _BOX + 1],
            t.seed[degree, _BOX + 2],
            t.seed[degree, _BOX + 3],
        )
        if not t.seed[degree, _USABLE] or bottom <= top or right <= left:
            return False
        pixel = below(rng, (bottom - top) * (right - left))
        y, x = top + pixel // (right - left), left + pixel % (right - left)
        placed = _begin(t, side, degree, y, x, a, pivots, 0)
        if placed:
            break
    if not placed:
        return False
    for _ in range(_DASH_DRAWS):
        degree = below(rng, DEGREES)
        around = t.seed[below(rng, DEGREES)]
        if _begin(t, side, degree, y + around[_AROUND], x + around[_AROUND + 1], b, pivots, 1):
            return True
    return False


@_inner
def two_contours(mask, empty, t, side, a, b, pivots, sums, rng):
    """One try at the two targets, grown in turns: a, b (dashes, 2). False where one is stuck."""
    if not _two_first_dashes(t, side, a[0], b[0], pivots, rng):
        return False
    _copy(empty, mask)
    for n in range(1, len(a)):
        if not _follow(mask, t, a, n, pivots, 0, sums, rng) or not _follow(mask, t, b, n, pivots, 1, sums, rng):
            return False
    _occupy(mask, t, b[-1])
    return True


@_inner
def _has_room(mask, t, side, beyond, degree, y, x):
    """Whether a first dash at (y, x) would touch nothing; `beyond` the image there is nothing, or all is occupied."""
    pixel = (y + t.border) * (side + 2 * t.border) + x + t.border
    for i in range(t.room_start[degree], t.room_start[degree + 1]):
        if mask[pixel + t.room[i, 0]] > FREE:
            inside = 0 <= y + t.room[i, 1] < side and 0 <= x + t.room[i, 2] < side
            if inside or not beyond:
                return False
    return True


@_inner
def _free_start(mask, t, side, beyond, degree, rng):
    """Chooses evenly among the pixels where a first dash has room; -1 where there is none."""
    for _ in range(_QUICK_TRIES):
        pixel = below(rng, side * side)
        if _has_room(mask, t, side, beyond, degree, pixel // side, pixel % side):
            return pixel
    free = 0
    for pixel in range(side * side):
        free += _has_room(mask, t, side, beyond, degree, pixel // side, pixel % side)
    if free == 0:
        return -1
    skip = below(rng, free)
    for pixel in range(side * side):
        if _has_room(mask, t, side, beyond, degree, pixel // side, pixel % side):
            if skip == 0:
                return pixel
            skip -= 1
    return -1


@_inner
def contour(mask, before, t, side, any_degree, dashes, pivots, sums, rng):
    """One try at a contour that starts anywhere; where it is stuck, the mask is left as it was."""
    begun = False
    for _ in range(_DASH_DRAWS):
        degree = below(rng, DEGREES)
        if not (any_degree or t.seed[degree, _USABLE]):
            return False
        pixel = _free_start(mask, t, side, not any_degree, degree, rng)
        if pixel < 0:
            return False
        begun = _begin(t, side, degree, pixel // side, pixel % side, dashes[0], pivots, 0)
        if begun:
            break
    if not begun:
        return False
    _copy(mask, before)
    for n in range(1, len(dashes)):
        if not _follow(mask, t, dashes, n, pivots, 0, sums, rng):
            _copy(before, mask)
            return False
    _occupy(mask, t, dashes[-1])
    return True


@_inner
def _almost_full(mask, side):
    free = 0
    for value in mask:
        free += value <= FREE
    return free * 100 < side * side


@_inner
def _draw(ink, t, dashes):
    """Draws the dashes of a contour."""
    side = len(ink)
    row = side + 2 * t.border
    for n in range(len(dashes)):
        y, x = dashes[n, 1] // row - t.border, dashes[n, 1] % row - t.border
        for i in range(t.line_start[dashes[n, 0]], t.line_start[dashes[n, 0] + 1]):
            v, u = y + t.line[i, 0], x + t.line[i, 1]
            if 0 <= v < side and 0 <= u < side and t.line[i, 2] > ink[v, u]:
                ink[v, u] = t.line[i, 2]


@_inner
def distractors(mask, before, ink, t, any_degree, count, dashes, pivots, sums, rng):
    """Places up to `count` short contours and draws them; returns how many there was room for."""
    placed = 0
    for _ in range(count):
        if _almost_full(mask, len(ink)):
            break
        for _ in range(_DISTRACTOR_TRIES):
            if contour(mask, before, t, len(ink), any_degree, dashes, pivots, sums, rng):
                _draw(ink, t, dashes)
                placed += 1
                break
    return placed


@_inner
def _tip(t, side, dash, tip):
    row = side + 2 * t.border
    tip[0], tip[1] = dash[1] // row - t.border, dash[1] % row - t.border


@_inner
def _tips(t, side, a, b, tips):
    """Start and end of both targets."""
    _tip(t, side, a[0], tips[0])
    _tip(t, side, a[-1], tips[1])
    _tip(t, side, b[0], tips[2])
    _tip(t, side, b[-1], tips[3])


@_inner
def _distance(one, other):
    return np.sqrt(float((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2))


@_inner
def _edge_distance(place, side):
    return min(min(place[0], side - 1 - place[0]), min(place[1], side - 1 - place[1]))


@_inner
def _choose_tips(tips, side, radius, tolerance, chosen, rng):
    """Chooses a tip for which the other end of its contour and a tip of the other contour lie alike.

    Alike: as far from the first tip, from the middle and from the nearest edge. So, seen from the first tip, one is
    about the mirror image of the other, or they are neighbors. Writes the numbers of the tip, of the end of its
    contour, and of the tip of the other contour; False where there is no such choice.
    """
    middle = ((side - 1) / 2, (side - 1) / 2)
    found = 0
    for origin in range(4):
        own = origin ^ 1
        for other in ((origin + 2) % 4, 3 - origin):
            one, two = _distance(tips[origin], tips[own]), _distance(tips[origin], tips[other])
            if (
                abs(one - two) <= tolerance
                and min(one, two) > 2 * radius + 1
                and abs(_distance(tips[own], middle) - _distance(tips[other], middle)) <= tolerance
                and abs(_edge_distance(tips[own], side) - _edge_distance(tips[other], side)) <= tolerance
            ):
                found += 1
                # Each of those found is kept with the same chance.
                if below(rng, found) == 0:
                    chosen[0], chosen[1], chosen[2] = origin, own, other
    return found > 0


@_inner
def _fill(image, tip, radius, value):
    """Sets the pixels within the radius of a tip; returns whether one of them was not zero before."""
    side, reach, met = len(image), int(radius) + 1, False
    for v in range(max(tip[0] - reach, 0), min(tip[0] + reach + 1, side)):
        for u in range(max(tip[1] - reach, 0), min(tip[1] + reach + 1, side)):
            if (v - tip[0]) ** 2 + (u - tip[1]) ** 2 <= radius * radius:
                met = met or image[v, u] > 0
                image[v, u] = max(image[v, u], value)
    return met


@_inner
def clean_scene(mask, before, first, empty, t, any_degree, radius, a, b, inks, tips, chosen, pivots, sums, rng):
    """Two targets that do not meet, anywhere in the image, with tips whose places reveal nothing.

    Returns the number of contours tried. See docs/data.md.
    """
    side = inks.shape[1]
    tolerance = max(1.0, side / 64)
    # No edge of the image may cut a marker.
    inner = int(radius) + 1
    tries = 0
    while True:
        _copy(empty, mask)
        tries += 1
        if not contour(mask, before, t, side, any_degree, a, pivots, sums, rng):
            continue
        _copy(mask, first)
        for _ in range(_PARTNER_TRIES):
            tries += 1
            if not contour(mask, before, t, side, any_degree, b, pivots, sums, rng):
                continue
            _tips(t, side, a, b, tips)
            if (
                tips.min() >= inner
                and tips.max() < side - inner
                and _choose_tips(tips, side, radius, tolerance, chosen, rng)
            ):
                inks.fill(0)
                _draw(inks[0], t, a)
                _draw(inks[1], t, b)
                hidden = False
                for k in range(4):
                    # A marker must not cover the contour that it does not belong to.
                    hidden = hidden or _fill(inks[1 - k // 2], tips[k], radius + 1, 0)
                if not hidden:
                    return tries
            _copy(first, mask)


@_inner
def _edge(place, side, h):
    """Index of the disc whose center has that row or column."""
    if place < h:
        return place
    return 2 * h - (side - 1 - place) if side - 1 - place < h else h


@_inner
def _mark(ink, discs, tip):
    side, h = len(ink), len(discs) // 2
    disc = discs[_edge(tip[0], side, h), _edge(tip[1], side, h)]
    for v in range(max(tip[0] - h, 0), min(tip[0] + h + 1, side)):
        for u in range(max(tip[1] - h, 0), min(tip[1] + h + 1, side)):
            ink[v, u] = max(ink[v, u], disc[v - tip[0] + h, u - tip[1] + h])


@_inner
def _levels(inks, scales, stretch, image):
    """Gray levels: the brightest layer at each pixel, stretched from the darkest to the brightest if asked for."""
    layers, side = len(inks), len(image)
    low, high = 0.0, 1.0
    if stretch:
        low, high = 1e9, 0.0
        for y in range(side):
            for x in range(side):
                value = 0.0
                for k in range(layers):
                    value = max(value, inks[k, y, x] * scales[k])
                low, high = min(low, value), max(high, value)
    table = np.empty((layers, 256), np.uint8)
    for k in range(layers):
        for value in range(256):
            level = (value * scales[k] - low) * (255.0 / (high - low))
            table[k, value] = int(min(max(level, 0.0), 255.0) + 0.5)
    for y in range(side):
        for x in range(side):
            level = np.uint8(0)
            for k in range(layers):
                level = max(level, table[k, inks[k, y, x]])
            image[y, x] = level


@_inner
def _turned(side, y, x, symmetry):
    """Where a pixel goes under one of the eight symmetries of the square."""
    v = side - 1 - y if symmetry & 1 else y
    u = side - 1 - x if symmetry & 2 else x
    return (u, v) if symmetry & 4 else (v, u)


@_inner
def _turn(image, facts, symmetry, turned):
    """Turns an image, using an array of its size, and the places in its facts."""
    side = len(image)
    for y in range(side):
        for x in range(side):
            v, u = _turned(side, y, x, symmetry)
            turned[v, u] = image[y, x]
    for y in range(side):
        _copy(turned[y], image[y])
    for column in range(4, 10, 2):
        facts[column], facts[column + 1] = _turned(side, facts[column], facts[column + 1], symmetry)


@_compiled
def images(key, rows, first, margins, t, sizes, discs, radius, scales, clean, pixels, facts):
    """Makes images of one margin.

    Args:
        key: uint64, of the set.
        rows: (n,) int64, which rows of `pixels` and `facts` to write.
        first: number of the image in row 0.
        margins: how many margins the set has.
        t: the `Stamps` of this one.
        sizes: int64: padding, dashes of a target, dashes of a distractor, distractors.
        discs: `stamps.markers`.
        radius: of a marker.
        scales: (3,) brightness of targets, distractors and markers, where ink 255 is 1.
        clean: whether to make clean scenes.
        pixels: (.., side, side) uint8, written.
        facts: (.., len(FACTS)) int32, written.
    """
    padding, length, short, count = sizes
    side = pixels.shape[1]
    row = side + 2 * t.border
    square = np.full((row, row), np.uint8(255))
    edge = t.border + padding
    square[edge : row - edge, edge : row - edge] = 0
    empty = square.ravel()
    mask, before, kept = empty.copy(), empty.copy(), empty.copy()
    masked = mask.reshape((row, row))[t.border : row - t.border, t.border : row - t.border]
    # Layers: both targets (kept apart to count crossings), distractors, markers.
    inks = np.zeros((4, side, side), np.uint8)
    layer_scales = np.array([scales[0], scales[0], scales[1], scales[2]]) / 255.0
    drawn = np.empty((side, side), np.uint8)
    a, b, dashes = np.zeros((length, 2), np.int64), np.zeros((length, 2), np.int64), np.zeros((short, 2), np.int64)
    pivots, chosen, sums = np.zeros(2, np.int64), np.zeros(3, np.int64), np.zeros(DEGREES, np.int64)
    tips = np.zeros((4, 2), np.int64)
    rng = np.zeros(1, np.uint64)
    for i in rows:
        label = start(key, first + i, margins, rng)[0]
        searches = 1
        inks.fill(0)
        if clean:
            searches = clean_scene(
                mask, before, kept, empty, t, clean, radius, a, b, inks, tips, chosen, pivots, sums, rng
            )
            origin, end = chosen[0], chosen[1] if label else chosen[2]
            for k in range(4):
                # Distractors keep away from all four tips, so that none looks as if it were marked.
                _fill(masked, tips[k], radius + 1 + t.margin, 255)
        else:
            while not two_contours(mask, empty, t, side, a, b, pivots, sums, rng):
                searches += 1
            _tips(t, side, a, b, tips)
            _draw(inks[0], t, a)
            _draw(inks[1], t, b)
            which = below(rng, 2)
            origin, end = 2 * which, 2 * (which if label else 1 - which) + 1
        placed = distractors(mask, before, inks[2], t, clean, count, dashes, pivots, sums, rng)
        _mark(inks[3], discs, tips[origin])
        _mark(inks[3], discs, tips[end])
        crossing = 0
        for y in range(side):
            for x in range(side):
                one, two = inks[0, y, x] * layer_scales[0], inks[1, y, x] * layer_scales[1]
                crossing += one > 0.25 and two > 0.25
        facts[i, 0], facts[i, 1], facts[i, 2], facts[i, 3] = label, t.margin, searches, placed
        for axis in range(2):
            facts[i, 4 + axis], facts[i, 6 + axis] = tips[origin, axis], tips[end, axis]
            facts[i, 8 + axis] = tips[0, axis]
        facts[i, 10] = crossing
        _levels(inks, layer_scales, not clean, pixels[i])
        if clean:
            _turn(pixels[i], facts[i], below(rng, 8), drawn)
