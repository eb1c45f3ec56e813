"""Generated contours are those of the reference, depend on their number alone, and outlast an interruption."""

import subprocess
import sys
import time

import numpy as np
import pytest

from ssm_bench.data import cache, load, parts, spec
from ssm_bench.data.dataset import find, tasks_and_variants
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError
from ssm_bench.sweep.recipe import resolve
from ssm_bench.tasks import _contours
from ssm_bench.tasks._pathfinder import statistics
from ssm_bench.tasks._pathfinder.generate import make, make_set
from ssm_bench.tasks._pathfinder.stamps import fingerprint
from ssm_bench.tasks._pathfinder.variants import VARIANTS
from tests.data import files
from tests.data.contour_oracle import Scene

# Compiling the generator takes most of the time of these tests.
pytestmark = pytest.mark.thorough

QUIET = Work(2, progress=False)


@pytest.mark.parametrize(
    ("name", "images"), [("32-easy", 2), ("32-hard", 1), ("64-easy", 2), ("128-easy", 2), ("256-easy", 1)]
)
def test_images_are_those_of_the_plain_generator(name, images):
    pixels, facts = make(name, range(images), seed=1)
    for i in range(images):
        image, label, searches, distractors = Scene(name, VARIANTS[name], i, seed=1).draw()
        assert (pixels[i] == image).all()
        assert (facts[i, 0], facts[i, 2], facts[i, 3]) == (label, searches, distractors)


# What was measured on a few hundred images of the reference at most. The slack is what such a sample may err by; the
# interval of our own sample comes on top.
NAMES = ("success", "distractors", "ink", "black", "crossing")
# Images of our sample; value and slack of each fact, marker distance with slack; where the first contour starts.
FACTS = {
    "32-hard": (400, ((0.0030, 0.0008), (1.2, 0.2), (0.079, 0.001), (0.66, 0.01), (0.25, 0.05)), (13.4, 1.0), (14, 16)),
    "32-easy": (800, ((0.043, 0.01), (3.2, 0.4), (0.050, 0.002), (0.775, 0.01), (0.14, 0.04)), (14.9, 1.0), (14, 16)),
    "128-hard": (100, ((0.0035, 0.0025), (7.7, 0.2), (0.031, 0.001), (0.86, 0.01), (0.06, 0.05)), (80, 5), (40, 87)),
}


@pytest.mark.parametrize("name", FACTS)
def test_statistics_are_those_of_the_reference(name):
    images, expected, (distance, slack), (first, last) = FACTS[name]
    found = statistics.statistics(*make(name, range(images)))
    for fact, (value, within) in zip(NAMES, expected, strict=True):
        assert getattr(found, fact).covers(value, within), fact
    assert found.label.covers(0.5, slack=0.02)
    assert all(estimate.covers(distance, slack) for estimate in found.distance)
    assert first <= found.first[0] <= found.first[1] <= last


def test_an_image_depends_on_its_number_alone():
    whole = make("32-easy", range(40))
    for numbers in (range(7, 8), range(13, 40)):
        for one, other in zip(whole, make("32-easy", numbers), strict=True):
            assert (one[numbers.start : numbers.stop] == other).all()
    assert (make("32-easy", range(10), seed=1)[0] != whole[0][:10]).any()
    assert len({image.tobytes() for image in whole[0]}) == 40


def test_the_number_of_workers_changes_nothing(tmp_path):
    sets = [make_set("32-easy", 600, tmp_path / str(n), Work(n, progress=False), "", seed=3) for n in (1, 3)]
    for one, other in zip(*sets, strict=True):
        assert (one == other).all()
    assert (sets[0][0] == make("32-easy", range(600), seed=3)[0].ravel()).all()


def test_tables_are_those_that_the_published_checksums_rest_on():
    """Another Pillow may draw another line: then sets of one seed differ between machines, and this says so."""
    assert fingerprint(VARIANTS["32-hard"])[:16] == FINGERPRINT


FINGERPRINT = "1370706200870d7a"


@pytest.mark.parametrize("name", ["32-easy-clean", "128-hard-clean"])
def test_clean_contours_do_not_cross_and_markers_are_whole(name):
    pixels, facts = make(name, range(60))
    side, inner = VARIANTS[name].resolution, int(VARIANTS[name].marker_radius)
    assert (facts[:, 10] == 0).all()
    assert facts[:, 4:8].min() >= inner
    assert facts[:, 4:8].max() < side - inner
    for image, fact in zip(pixels, facts, strict=True):
        assert image[fact[4], fact[5]] > 240
        assert image[fact[6], fact[7]] > 240


def test_marker_geometry_tells_nothing_of_a_clean_set():
    name = "32-easy-clean"
    _, facts = make(name, range(6000))
    # Of 3,000 that are scored; five standard errors.
    assert abs(statistics.geometry_accuracy(facts, VARIANTS[name].resolution).mean - 0.5) < 5 * 0.5 / 3000**0.5


SLOWLY = """
import sys, time
import numpy as np
from pathlib import Path
from ssm_bench.data import parts
from ssm_bench.data.work import Work

def make(numbers):
    time.sleep(0.05 if numbers.start < 50 else 1000)
    return {"values": np.repeat(np.arange(numbers.start, numbers.stop)[:, None], 3, axis=1)}

parts.fill(Path(sys.argv[1]), "a", {"values": ((100, 3), np.int64)}, 10, make, Work(1, progress=False), "test")
"""


def _part(numbers):
    return {"values": np.repeat(np.arange(numbers.start, numbers.stop)[:, None], 3, axis=1)}


def _fill(folder, make=_part, identity="a"):
    return parts.fill(folder, identity, {"values": ((100, 3), np.int64)}, 10, make, Work(1, progress=False), "test")


def test_finished_parts_outlast_a_kill(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(tmp_path / "set")])
    log = tmp_path / "set" / "done.txt"
    while not log.exists() or log.read_text().count("\n") < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    with log.open("a") as file:
        file.write("9")  # half of "90": not finished
    made = []
    values = _fill(tmp_path / "set", lambda numbers: made.append(numbers.start) or _part(numbers))["values"]
    assert values.tolist() == np.repeat(np.arange(100), 3).tolist()
    assert 1 <= len(made) <= 7
    assert 0 not in made


def test_parts_of_another_set_are_not_taken(tmp_path):
    _fill(tmp_path / "set")
    other = _fill(tmp_path / "set", lambda numbers: {"values": np.zeros((len(numbers), 3), np.int64)}, "b")
    assert not other["values"].any()


def test_an_interrupted_set_goes_on(monkeypatch, cache_folder):
    monkeypatch.setattr(_contours, "IMAGES", 700)
    # What is recorded is of 200,000 images.
    monkeypatch.setattr(_contours.ContourTask, "facts", {})
    begun = []

    def stop(numbers, *rest):
        begun.append(numbers)
        if numbers.start == 500:
            raise KeyboardInterrupt
        return make(*rest, numbers)

    from ssm_bench.tasks._pathfinder import generate

    with monkeypatch.context() as patch:
        patch.setattr(generate, "make", lambda variant, numbers, seed: stop(numbers, variant))
        with pytest.raises(KeyboardInterrupt):
            load("pathfinder-32-easy", data="real", progress=False)
    assert not (cache_folder / "pathfinder-32-easy-pixels-generated").exists()
    begun.clear()
    with monkeypatch.context() as patch:
        patch.setattr(
            generate,
            "make",
            lambda variant, numbers, seed: (begun.append(numbers.start), make(variant, numbers, seed))[1],
        )
        dataset = load("pathfinder-32-easy", data="real", progress=False)
    assert begun == [0, 500], "the first image compiles, then only the last part is made"
    assert (dataset.values == make("32-easy", range(700))[0].ravel()).all()
    assert [path.name for path in cache_folder.iterdir() if path.is_dir()] == ["pathfinder-32-easy-pixels-generated"]
    assert files.run("verify") == 0


def test_a_variant_is_a_set_of_its_own(monkeypatch):
    monkeypatch.setattr(_contours, "IMAGES", 20)
    plain, dense = (load(task, data="real", progress=False) for task in ("pathfinder", "pathfinder-32-easy-clean"))
    assert plain.card["identity"] == "Pathfinder (generated, seed 0)"
    assert dense.card["identity"] == "Pathfinder 32-easy-clean (generated, seed 0)"
    assert dense.spec.name == "pathfinder-32-easy-clean"
    assert {name: len(s) for name, s in plain.splits.items()} == {"train": 16, "validation": 2, "test": 2}
    assert load("pathfinder-32-easy-clean", progress=False).card == dense.card
    assert spec("pathfinder-64-hard").max_length == 4096
    assert spec("pathx-256-easy").max_length == 65536


def test_a_variant_is_trained_by_the_recipe_of_its_task():
    plain, variant = (resolve("s5", task) for task in ("pathfinder", "pathfinder-64-easy"))
    assert variant.task.name == "pathfinder-64-easy"
    assert variant.model == plain.model


def test_variants_are_found_and_share_their_data(raw_folder):
    files.pathfinder(raw_folder)
    (raw_folder / "pathfinder32" / "curv_contour_length_14").rename(raw_folder / "pathfinder32" / "curv_baseline")
    card = load("pathfinder-32-easy", progress=False).card
    assert card["identity"].startswith("Pathfinder 32-easy (")
    assert card["kind"] == "rebuilt"
    assert find("pathfinder-128-hard").data_name == find("pathx").data_name
    assert find("pathfinder-128-easy").data_name == find("pathx-128-easy").data_name
    names = [cache.cache_path(task, "pixels", "generated").name for task in tasks_and_variants()]
    assert len(names) == len(set(names))
    with pytest.raises(UserError, match=r"'pathfinder-32-hrd'.*allowed: pathfinder, "):
        load("pathfinder-32-hrd")
