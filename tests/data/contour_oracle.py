"""The generator of contours in plain Python, on whole images: what the compiled search must give, pixel for pixel.

Footprints are gray levels 0..255 where the reference has them divided by 255, and weights of directions are rounded to
1 / 65536; both make the order of the random choices comparable. Everything else is as in the reference, without tables.
"""

import math
import zlib
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(value):
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


class Random:
    def __init__(self, name, seed, number):
        self.state = mix((mix(zlib.crc32(name.encode()) << 32 | seed) + number * GOLDEN) & MASK)

    def below(self, count):
        self.state = (self.state + GOLDEN) & MASK
        return ((mix(self.state) >> 32) * count) >> 32


def translate(place, orientation, distance):
    # What is whole but for floating point stays whole.
    y, x = round(distance * math.sin(orientation), 9), round(distance * math.cos(orientation), 9)
    return place[0] + math.ceil(y), place[1] + math.ceil(x)


def inside(place, side):
    return 0 <= place[0] < side and 0 <= place[1] < side


def disc(radius):
    return [
        (y, x) for y in range(-radius, radius + 1) for x in range(-radius, radius + 1) if y * y + x * x <= radius**2
    ]


def dilate(image, offsets):
    """The maximum over shifted copies; minus infinity where every one lies outside."""
    reach = max(abs(c) for offset in offsets for c in offset)
    side = len(image)
    padded = np.pad(image.astype(float), reach, constant_values=-np.inf)
    views = [padded[reach + y : reach + y + side, reach + x : reach + x + side] for y, x in offsets]
    return np.max(views, axis=0)


@cache
def small_dash(orientation, length, thickness, margin):
    """Ink and footprint of a dash around its start."""
    reach = length + math.ceil(thickness) + margin
    middle = 2 * reach
    head = [math.ceil(middle + 2 * length * f(orientation)) for f in (math.sin, math.cos)]
    canvas = Image.new("F", (2 * middle + 1, 2 * middle + 1), "black")
    ImageDraw.Draw(canvas).line([(middle, middle), (head[1], head[0])], fill="white", width=round(2 * thickness))
    ink = np.asarray(canvas)
    foot = np.maximum(dilate(ink, disc(2 * margin)), 0)
    return [
        np.asarray(Image.fromarray(a.astype(np.uint8)).resize((2 * reach + 1,) * 2, Image.Resampling.LANCZOS)).astype(
            int
        )
        for a in (ink, foot)
    ]


def place_on(side, small, start):
    image = np.zeros((side, side), int)
    reach = len(small) // 2
    for y, x in np.argwhere(small):
        place = start[0] + y - reach, start[1] + x - reach
        if inside(place, side):
            image[place] = small[y, x]
    return image


class Scene:
    def __init__(self, name, variant, number, seed=0):
        self.variant, self.side = variant, variant.resolution
        self.random = Random(name, seed, number)
        self.label = self.random.below(2)
        self.margin = variant.margins[self.random.below(len(variant.margins))]

    def dash(self, start, orientation):
        v = self.variant
        return [place_on(self.side, s, start) for s in small_dash(orientation, v.dash_length, v.thickness, self.margin)]

    def room(self, orientation):
        """Offsets of the kernel with which the reference looks for a place of a first dash."""
        v = self.variant
        half = v.dash_length + self.margin
        foot = place_on(
            2 * half + 1, small_dash(orientation, v.dash_length, v.thickness, self.margin)[1], (half + 1,) * 2
        )
        return [(int(y) - half, int(x) - half) for y, x in np.argwhere(foot == 255)]

    def free(self, mask, orientation):
        """Where a first dash of that orientation has room; nowhere if the maximum is minus infinity somewhere."""
        dilated = dilate(mask, self.room(orientation))
        return np.zeros_like(mask, bool) if np.isinf(dilated).any() else dilated <= 0.3 * 255

    def first(self, tail, orientation):
        """Head and pivot of a first dash, or None where they leave the image."""
        v = self.variant
        head = translate(tail, orientation, v.dash_length)
        reverse = orientation + math.pi if orientation + math.pi < math.pi else orientation - math.pi
        pivot = translate(head, reverse, v.dash_length + self.margin)
        return pivot if inside(head, self.side) and inside(pivot, self.side) else None

    def orientation(self):
        return float(np.deg2rad(self.random.below(360) - 180))

    def extend(self, mask, pivot, orientation):
        """New pivot, orientation, head, ink and footprint, or None."""
        v = self.variant
        pivot = translate(pivot, orientation, v.dash_length + 2 * self.margin)
        radius = v.dash_length + self.margin
        angles = np.arange(0, 360, 360 / (2 * radius * np.pi)) * np.pi / 180
        y, x = pivot[0] + radius * np.sin(angles), pivot[1] + radius * np.cos(angles)
        kept = (y >= 0) & (y < self.side) & (x >= 0) & (x < self.side)
        places = np.unique(np.stack([y, x], axis=1)[kept].astype(int), axis=0)
        if not len(places):
            return None
        arrivals = np.arctan2(places[:, 0] - pivot[0], places[:, 1] - pivot[1])
        turn = np.abs(arrivals - orientation)
        turn = np.minimum(np.minimum(turn, 2 * np.pi - turn) * v.continuity, np.pi / 2)
        free = 255 - dilate(mask, disc(self.margin))[tuple(places.T)].astype(int)
        weights = np.rint(np.cos(turn) ** 2 * 65536).astype(int) * free
        if weights.sum() < 1e-4 * 255 * 65536:
            return None
        for _ in range(3):
            k = int(np.argmax(np.cumsum(weights) > self.random.below(int(weights.sum()))))
            arrival, head = float(arrivals[k]), tuple(places[k].tolist())
            ink, foot = self.dash(head, arrival + math.pi if arrival < 0 else arrival - math.pi)
            if (mask + foot).max() < 1.8 * 255:
                return pivot, arrival, head, ink, foot
        return None

    def two_contours(self):
        v, side = self.variant, self.side
        mask = np.full((side, side), 255)
        mask[v.padding : -v.padding, v.padding : -v.padding] = 0
        lined = np.full_like(mask, 255)
        lined[2 * v.seed_distance : -2 * v.seed_distance, 2 * v.seed_distance : -2 * v.seed_distance] = 0
        state = []
        for contour in range(2):
            for _ in range(3):
                orientation = self.orientation()
                if contour == 0:
                    free = np.argwhere(self.free(lined, orientation))
                    if not len(free):
                        return None
                    tail = tuple(free[self.random.below(len(free))].tolist())
                else:
                    around, start = math.radians(self.random.below(360)), state[0]["tail"]
                    tail = (
                        start[0] + round(v.seed_distance * math.sin(around)),
                        start[1] + round(v.seed_distance * math.cos(around)),
                    )
                pivot = self.first(tail, orientation)
                if pivot:
                    break
            if not pivot:
                return None
            ink, foot = self.dash(tail, orientation)
            state.append(dict(tail=tail, pivot=pivot, orientation=orientation, ink=ink, foot=foot))
        for _ in range(v.contour_length - 1):
            for s in state:
                found = self.extend(mask, s["pivot"], s["orientation"])
                if not found:
                    return None
                mask = np.maximum(mask, s["foot"])
                s["pivot"], s["orientation"], s["tip"], ink, s["foot"] = found
                s["ink"] = np.maximum(s["ink"], ink)
        return np.maximum(mask, state[1]["foot"]), state

    def distractor(self, mask, length):
        for _ in range(3):
            orientation = self.orientation()
            free = self.free(mask, orientation)
            if not free.any():
                # The compiled search tries a few pixels before it notices; where none is usable it does not.
                if self.usable(orientation):
                    for _ in range(64):
                        self.random.below(self.side**2)
                return None
            for _ in range(64):
                tail = divmod(self.random.below(self.side**2), self.side)
                if free[tail]:
                    break
            else:
                places = np.argwhere(free)
                tail = tuple(places[self.random.below(len(places))].tolist())
            pivot = self.first(tail, orientation)
            if pivot:
                break
        else:
            return None
        ink, foot = self.dash(tail, orientation)
        for _ in range(length - 1):
            found = self.extend(mask, pivot, orientation)
            if not found:
                return None
            mask = np.maximum(mask, foot)
            pivot, orientation, _, more, foot = found
            ink = np.maximum(ink, more)
        return np.maximum(mask, foot), ink

    def usable(self, orientation):
        return not np.isinf(dilate(np.zeros((self.side, self.side)), self.room(orientation))).any()

    def marker(self, place):
        y, x = np.mgrid[0 : 2 * self.side, 0 : 2 * self.side]
        circle = (y - 2 * place[0]) ** 2 + (x - 2 * place[1]) ** 2 <= (2 * self.variant.marker_radius) ** 2
        canvas = Image.fromarray((circle * 255).astype(np.uint8))
        return np.asarray(canvas.resize((self.side, self.side), Image.Resampling.LANCZOS))

    def draw(self):
        """The image, its label, how many pairs of contours were tried, and the distractors placed."""
        v, searches = self.variant, 1
        while not (found := self.two_contours()):
            searches += 1
        mask, targets = found
        which = self.random.below(2)
        origin = targets[which]["tail"]
        end = targets[which if self.label else 1 - which]["tip"]
        short, placed = np.zeros_like(mask), 0
        for _ in range(v.distractors):
            for _ in range(5):
                if (mask <= 0.3 * 255).sum() < 0.01 * mask.size:
                    break
                if found := self.distractor(mask, v.distractor_length):
                    mask, ink = found
                    short, placed = np.maximum(short, ink), placed + 1
                    break
        ink = np.maximum(targets[0]["ink"], targets[1]["ink"]) * (v.target_contrast / 255)
        ink = np.maximum(ink, short * (v.contrast / 255))
        ink = np.maximum(ink, np.maximum(self.marker(origin), self.marker(end)) * (1.0 / 255))
        level = (ink - ink.min()) * (255 / (ink.max() - ink.min()))
        return (level.clip(0, 255) + 0.5).astype(np.uint8), self.label, searches, placed
