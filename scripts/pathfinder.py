#!/usr/bin/env python3
"""Looks at generated Pathfinder sets: numbers with intervals, pictures, and what marker geometry alone reveals.

Examples:
  scripts/pathfinder.py statistics 32-hard 128-hard --images 2000
  scripts/pathfinder.py shortcuts 32-hard 32-hard-clean --images 20000
  scripts/pathfinder.py picture 32-easy 32-intermediate 32-hard 64-hard-short 128-hard 256-hard --output contours.png
"""

import argparse
import sys
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ssm_bench.data.work import Work
from ssm_bench.errors import UserError, unknown_name
from ssm_bench.tasks._pathfinder.generate import SEED, make
from ssm_bench.tasks._pathfinder.variants import VARIANTS

_PART = 100
_SHOWN = 16
_TILE, _GAP, _CAPTION = 256, 8, 28
_COLOURS = ((200, 60, 60), (60, 170, 80))


def _sample(variant: str, images: int, seed: int, work: Work) -> tuple[np.ndarray, np.ndarray]:
    make(variant, range(0, 1), seed)
    ranges = [range(i, min(i + _PART, images)) for i in range(0, images, _PART)]
    made = []
    with work.bar(f"{variant}: generating", images) as advance:
        for part in work.map_threads(lambda numbers: make(variant, numbers, seed), ranges):
            made.append(part)
            advance(len(part[0]))
    pixels, facts = zip(*made, strict=True)
    return np.concatenate(pixels), np.concatenate(facts)


def _statistics(options: argparse.Namespace, work: Work) -> None:
    from ssm_bench.tasks._pathfinder.statistics import statistics

    for variant in options.variants:
        found = statistics(*_sample(variant, options.images, options.seed, work))
        rows = {
            "searches that succeed": (found.success, 100, " %"),
            "label 1": (found.label, 100, " %"),
            "distractors placed": (found.distractors, 1, f" of {VARIANTS[variant].distractors}"),
            "mean pixel (0..1)": (found.ink, 1, ""),
            "black pixels": (found.black, 100, " %"),
            "contours cross": (found.crossing, 100, " % of images"),
            "marker distance, label 0": (found.distance[0], 1, " px"),
            "marker distance, label 1": (found.distance[1], 1, " px"),
        }
        print(f"{variant}, {options.images:,} images, seed {options.seed} (95 % intervals)")
        for name, ((mean, half), scale, unit) in rows.items():
            print(f"  {name:<26} {mean * scale:8.4g} +- {half * scale:.2g}{unit}")
        print(f"  {'first contour starts in':<26} rows and columns {found.first[0]}..{found.first[1]}")


def _shortcuts(options: argparse.Namespace, work: Work) -> None:
    from ssm_bench.tasks._pathfinder.statistics import geometry_accuracy

    for variant in options.variants:
        _, facts = _sample(variant, options.images, options.seed, work)
        mean, half = geometry_accuracy(facts, VARIANTS[variant].resolution)
        print(
            f"{variant}: the markers' places alone tell {100 * mean:.1f} +- {100 * half:.1f} % of the labels",
            flush=True,
        )


def _picture(options: argparse.Namespace, work: Work) -> None:
    width = _SHOWN // 2 * (_TILE + _GAP) + _GAP
    height = 2 * (_TILE + _GAP) + _CAPTION
    sheet = Image.new("RGB", (width, height * len(options.variants)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, variant in enumerate(options.variants):
        pixels, facts = _sample(variant, 4 * _SHOWN, options.seed, work)
        top = row * height
        draw.text((_GAP, top + 8), f"{variant}: above label 0 (two contours), below label 1 (one contour)", "black")
        for label in (0, 1):
            chosen = pixels[facts[:, 0] == label][: _SHOWN // 2]
            for i, (image, color) in enumerate(zip(chosen, repeat(_COLOURS[label]))):
                x, y = _GAP + i * (_TILE + _GAP), top + _CAPTION + label * (_TILE + _GAP)
                draw.rectangle((x - 2, y - 2, x + _TILE + 1, y + _TILE + 1), fill=color)
                sheet.paste(Image.fromarray(image).resize((_TILE, _TILE), Image.Resampling.NEAREST), (x, y))
    sheet.save(options.output)
    print(f"wrote {options.output}: {_SHOWN} images of each of {len(options.variants)} sets")


def main() -> int:
    """Runs one action; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = {"statistics": (_statistics, 1000), "shortcuts": (_shortcuts, 10_000), "picture": (_picture, 0)}
    parser.add_argument("action", choices=actions)
    parser.add_argument("variants", nargs="+", metavar="SET", help=f"such as 32-hard; all: {', '.join(VARIANTS)}")
    parser.add_argument("--images", type=int, help="sample of each set (default: 1,000; shortcuts 10,000)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the sample (default: %(default)s, as the sets)")
    parser.add_argument("--workers", type=int, default=0, help="threads (default: one per core)")
    parser.add_argument("--output", type=Path, default=Path("contours.png"), help="of picture (%(default)s)")
    options = parser.parse_args()
    act, images = actions[options.action]
    try:
        if options.images is not None and options.images < 1:
            raise UserError(f"--images must be at least 1; got {options.images}")
        options.images = options.images or images
        for variant in options.variants:
            if variant not in VARIANTS:
                raise unknown_name("set", variant, VARIANTS)
        act(options, Work(options.workers))
    except OSError as error:
        print(f"error: cannot write {options.output}: {error.strerror or error}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
