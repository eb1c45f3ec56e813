"""The sections of `ssm-bench analyze` in the page: panels and tables from tables of analyses, linked to records."""

import numpy as np
import pandas as pd
import pytest

from ssm_bench.analysis import designed
from ssm_bench.record import store
from ssm_bench.report import page
from ssm_bench.report.page import content

from .samples import record, write_all
from .test_page import Page, written


def probe_runs():
    """Two models on two tasks; one of them with two state sizes, and one whose state grows; one cell of three seeds."""
    sizes = [
        record("s4d", "text", score, preset="custom", state_size=size, config={"n": size}, curve=((500, score),))
        for size, score in ((64, 60.0), (1024, 75.0))
    ]
    seeds = [record("s4d", "listops", score, preset="custom", seed=s) for s, score in enumerate((30.0, 31.0, 32.0))]
    return [*sizes, *seeds, record("transformer", "text", 99.0, preset="custom", state_size=None)]


def locality_runs():
    def run(positions: int, accuracy: float):
        return record(
            "s4d", "image", accuracy, preset="custom", config={"model": {"mixer": "s4d", "window": positions}}
        )

    return [run(4, 40.0), run(64, 55.0), run(0, 70.0)]


def selectivity_runs():
    return [
        record("lru", "pathfinder", 60.0 + level + seed, preset="custom", seed=seed, config={"level": level})
        for level in range(2)
        for seed in range(2)
    ]


@pytest.fixture
def analyzed(tmp_path, monkeypatch):
    """A folder with records of three experiments and the tables of every analysis."""
    root = tmp_path / "results"
    folder = root / "analysis"
    folder.mkdir(parents=True)
    probes, locality, selectivity = probe_runs(), locality_runs(), selectivity_runs()
    trained = record("s5", "text", 80.0)
    write_all([*probes, *locality, *selectivity, trained], root)
    decays = iter([{"modulus": 0.9, "steps": 10.0}, {"modulus": 0.99, "steps": 100.0}])
    monkeypatch.setattr(designed, "initial_decay", lambda run: next(decays))
    spectrum = pd.DataFrame(
        {"model": ["S5", "LRU", "S5, trained"], "layer": 0, "real": 0.5, "imaginary": [0.1, 0.2, 0.3]}
    )
    steps = {"steps_05": 1.0, "steps_50": 2.0, "steps_95": [3.0, 4.0, np.inf]}
    places = ["", "", store.home(trained, "").as_posix()]
    time = np.linspace(0, 1, 600)
    tables = {
        "probes": designed.probes(probes),
        "locality": designed.locality(locality),
        "selectivity": designed.selectivity(selectivity),
        "spectrum": spectrum,
        "spectrum-summary": spectrum.assign(eigenvalues=1, close=0.5, records=places, **steps),
        "memory": pd.DataFrame({"model": "S5", "layer": 0, "back": range(4), "gradient": [1.0, 0.5, 0.2, 0.0]}),
        "memory-summary": pd.DataFrame({"model": ["S5"], "layer": 0, "length": 4, "memory": 2}),
        "hippo": pd.DataFrame({"time": time, "signal": np.sin(time), "LegS": np.sin(time), "LegT": 0.5}),
        "hippo-summary": pd.DataFrame({"matrix": ["LegS", "LegS"], "order": [4, 8], "error": [0.5, 0.1]}),
        "views": pd.DataFrame({"time": time, "signal": 1.0, "continuous": 0.5, "recurrent": 0.5, "convolutional": 0.5}),
        "views-summary": pd.DataFrame(
            {"steps": [8, 16], "dt": [0.2, 0.1], "recurrent": 1e-6, "convolutional": 1e-15, "bilinear": [1e-2, 2.5e-3]}
        ),
        "damping": pd.DataFrame(
            {"system": "low damping", "step": range(3), "A": 0.0, "B": 0.0, "distance": [1, 0.5, 0.2]}
        ),
        "damping-summary": pd.DataFrame({"system": ["low damping"], "modulus": 0.995}),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return root


def test_every_number_of_an_experiment_leads_to_its_runs(analyzed):
    text = written(analyzed)
    found = Page(text)
    for name in ("probes", "locality", "selectivity"):
        for places in found.data["analyses"][name]["records"]:
            assert places and set(places) <= set(found.data["records"])
            assert (places[0], places) in found.links
    for told in ("31.00 ± 2.48", "grows", "chance 50", "All 3 numbers", "1,024"):
        assert told in "".join(found.text), told
    assert "not analyzed yet" not in text


def test_signals_are_thinned_and_other_or_damaged_tables_are_not_drawn(analyzed):
    before = Page(written(analyzed)).names.count("h3")
    pd.DataFrame({"a": [1]}).to_csv(analyzed / "analysis" / "other.csv", index=False)
    pd.DataFrame({"task": [], "model": []}).to_csv(analyzed / "analysis" / "empty.csv", index=False)
    damaged = pd.read_csv(analyzed / "analysis" / "probes.csv").assign(accuracy="high")
    damaged.to_csv(analyzed / "analysis" / "damaged.csv", index=False)
    found = Page(written(analyzed))
    assert found.names.count("h3") == before
    analyses = found.data["analyses"]
    assert 100 < len(analyses["hippo"]["time"]) <= content.SAMPLES
    assert analyses["spectrum-summary"]["steps_95"] == [3, 4, None]


def test_without_results_an_experiment_is_one_sentence_with_its_commands(tmp_path):
    text = "".join(Page(written(tmp_path)).text)
    for name in ("probes", "locality", "selectivity"):
        assert (
            f"ssm-bench sweep --plan experiments/{name}.yaml trains the models, then ssm-bench analyze {name}" in text
        )
    assert "No analysis yet." in text and "Eigenvalues" not in text


def test_a_table_without_records_has_numbers_without_links(analyzed):
    path = analyzed / "analysis" / "probes.csv"
    pd.read_csv(path).drop(columns="records").to_csv(path, index=False)
    text = written(analyzed)
    assert "31.00 ± 2.48" in text and ">31.00 ± 2.48</a>" not in text


@pytest.fixture
def shown(browser, analyzed):
    """The page of these analyses in a browser; at the end its console holds no problem."""
    browser.resize(1280, 900)
    browser.open(page.write(analyzed).as_uri())
    yield browser
    browser.evaluate("sessionStorage.clear()")
    assert browser.problems == []


def count(browser, selector: str) -> int:
    return browser.evaluate(f"document.querySelectorAll({selector!r}).length")


def test_each_analysis_has_its_panels_and_points(shown):
    panels = {"probes": 1, "locality": 1, "selectivity": 1, "spectrum": 4, "memory": 1, "hippo": 3, "views": 4}
    for name, number in (panels | {"damping": 1}).items():
        assert count(shown, f"#panels-{name} figure") == number, name
    # A point for each state size, limit and decay, each a link to its runs.
    assert [
        count(shown, f"#panels-{name} a[data-records] .mark") for name in ("probes", "locality", "selectivity")
    ] == [2, 3, 2]
    assert count(shown, "#panels-locality .mark.hollow") == 1
    assert count(shown, "#panels-selectivity .whisker") == 2
    titles = "[...document.querySelectorAll('#panels-spectrum figcaption')].map((one) => one.firstChild.textContent)"
    assert shown.evaluate(titles) == ["S5", "S5, trained", "LRU", "Time constants"]
    assert count(shown, "#panels-memory .dotted") == 1


def test_a_point_and_a_trained_model_open_their_records(shown):
    # An SVG link has no method click().
    click = "new MouseEvent('click', {bubbles: true, cancelable: true})"
    shown.evaluate(f"document.querySelector('#panels-selectivity a').dispatchEvent({click})")
    shown.wait("document.querySelector('dialog').open")
    told = shown.evaluate("document.querySelector('dialog').innerText")
    assert "LRU on Pathfinder" in told and "60.50 ± 6.35 %" in told and "Seed 1: 61.00 %" in told
    shown.press("Escape")
    shown.wait("!document.querySelector('dialog').open")
    shown.evaluate("document.querySelector('#panels-spectrum figcaption a').click()")
    shown.wait("document.querySelector('dialog').open")
    assert "S5 on Text" in shown.evaluate("document.querySelector('dialog').innerText")
    shown.press("Escape")


def test_probes_sort_by_state_size(shown):
    shown.evaluate("document.querySelectorAll('#numbers-probes thead button')[1].click()")
    sizes = "[...document.querySelectorAll('#numbers-probes tbody td:nth-child(2)')].map((cell) => cell.textContent)"
    assert shown.evaluate(sizes) == ["1,024", "512", "64", "grows"]


def test_a_telephone_shows_them_without_scrolling_the_page(shown):
    shown.resize(390, 844, dark=True)
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    # No panel is wider than the screen.
    widest = (
        "Math.max(...[...document.querySelectorAll('[data-kind] svg')].map((one) => one.getBoundingClientRect().right))"
    )
    assert shown.evaluate(widest) <= 390
