"""The page of all results: links, escaping, the server behind --watch, and what a browser makes of it."""

import contextlib
import json
import re
import shutil
import threading
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pandas as pd
import pytest

from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.record import peer, store, validate
from ssm_bench.report import page
from ssm_bench.report.page import content
from ssm_bench.report.page.elements import Html, element, join, script_json
from ssm_bench.report.page.serve import fingerprint, server

from .browser import Browser
from .samples import budget, quick, record, write_all
from .test_speed import CUDA, OURS, SCAN, THEIRS

ROOT = Path(__file__).parents[2]

#: Everything that could end a script, begin a comment or an entity, close an attribute, fill a slot, or break a line.
HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> \"'&amp; {{data}} \u2028\u2029 \\u003c"

CURVE = ((100, 40.0), (200, 55.0), (500, 60.0))


class Page(HTMLParser):
    """The links, the elements and the texts of scripts of a page.

    Attributes:
        links: (href, records of the page that it opens) of each link to a record.
        names: of every element, in order.
        scripts: the text of each script element.
        heads: the attributes of each head of a column or a row.
    """

    def __init__(self, text: str):
        super().__init__()
        self.links, self.names, self.scripts, self.heads, self.text = [], [], [], [], []
        self.in_script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.names.append(tag)
        self.in_script = tag == "script"
        if self.in_script:
            self.scripts.append("")
        if tag == "th":
            self.heads.append(attributes)
        if "data-records" in attributes:
            self.links.append((attributes["href"], attributes["data-records"].split(" ")))

    def handle_endtag(self, tag):
        self.in_script = False

    def handle_data(self, data):
        if self.in_script:
            self.scripts[-1] += data
        else:
            self.text.append(data)

    @property
    def data(self) -> dict:
        """What the script reads."""
        return json.loads(self.scripts[0])


@pytest.fixture
def results(tmp_path):
    """A folder with runs of two presets, of three seeds, one with a curve; speed records; and an analysis."""
    root = tmp_path / "results"
    write_all([*budget(), *quick(), record("s4d", "text", 86.0, curve=CURVE)], root)
    for speed in (OURS, THEIRS, SCAN, CUDA):
        store.write_speed(speed, root)
    (root / "analysis").mkdir()
    points = pd.DataFrame({"model": "S5", "layer": 0, "real": [0.5, 0.9], "imaginary": [0.1, -0.2]})
    summary = {"model": ["S5"], "layer": [0], "eigenvalues": [2], "close": [0.5], "steps_05": [1.0], "steps_50": [2.0]}
    points.to_csv(root / "analysis" / "spectrum.csv", index=False)
    pd.DataFrame(summary | {"steps_95": [3.0]}).to_csv(root / "analysis" / "spectrum-summary.csv", index=False)
    return root


def written(root: Path, out: Path | None = None) -> str:
    return page.write(root, out).read_text(encoding="utf-8")


def test_every_link_leads_to_a_record_and_every_record_is_linked(results, tmp_path):
    for out, folder in ((None, results), (tmp_path / "a b" / "page.html", tmp_path / "a b")):
        found = Page(written(results, out))
        files = {store.home(run, "").as_posix() for run in store.read_all(results)}
        files |= {path.relative_to(results).as_posix() for path in store.speed_paths(results)}
        assert {place for _, places in found.links for place in places} == files == set(found.data["records"])
        for href, places in found.links:
            assert (folder / unquote(href)).resolve() == (results / places[0]).resolve()
            assert (folder / unquote(href)).is_file()


def test_the_page_of_the_repository_links_to_its_records(tmp_path):
    found = Page(written(ROOT / "results", tmp_path / "page.html"))
    assert len(found.links) > len(list(store.paths(ROOT / "results")))
    assert all((tmp_path / unquote(href)).is_file() for href, _ in found.links)


def test_cells_show_what_the_tables_show(results):
    text = written(results)
    assert ">61.00</a> ± 2.48<sup" in text
    for told in ("pub. 62.15 (−1.15)", "diverged", "50 %, seeds ", "QUICK: toy size", "Random guess", "2.50×"):
        assert told in text, told
    data = Page(text).data
    (cell,) = [c for c in data["tables"][0]["cells"] if (c["model"], c["task"]) == ("s5", "listops")]
    assert cell["accuracy"] == 61 and cell["seconds"] == 600 and len(cell["runs"]) == 3
    run = data["records"][next(c for c in data["tables"][0]["cells"] if c["model"] == "s4d")["runs"][0]]
    assert run["curve"] == [[10, 40], [20, 55], [50, 60]] and run["share"] == 0.5


def write_peer(root: Path) -> Path:
    """Writes a record of the authors' own code on the data of S5 on ListOps."""
    run = record("s5", "listops", 63.5, done=1000, planned=1000, curve=((1000, 63.0),)).to_dict()
    ours = ("protocol", "data", "seed", "notes", "steps", "result", "curve", "cost", "device", "versions", "revision")
    source = {"repository": "lindermanlab/S5", "commit": "3c18fdb6b06414da35e77b94b9cd855f6a95ef17", "changes": []}
    theirs = {"schema_version": 1, "kind": "peer", "status": "ok", "model": "s5", "task": "listops", "source": source}
    names = (*ours, "parts", "created")
    return peer.write(peer.validate(theirs | {"recipe": {}} | {name: run[name] for name in names}), root)


def test_the_authors_code_stands_beside_ours_with_its_record(results):
    path = write_peer(results)
    found = Page(written(results))
    place = path.relative_to(results).as_posix()
    assert (place, [place]) in found.links
    assert found.data["records"][place]["title"] == "lindermanlab/S5@3c18fdb: S5 on ListOps"
    assert "authors’ code 63.50, full" in "".join(found.text)
    # Without a readable record of theirs, ours are shown.
    path.write_text("{}")
    found = Page(written(results))
    assert "61.00" in found.text and "authors’ code 63.50" not in "".join(found.text)


def test_tables_can_be_read_without_seeing_them(results):
    found = Page(written(results))
    assert all(head.get("scope") in ("row", "col") for head in found.heads)
    assert found.names.count("caption") == found.names.count("table")
    assert "main" in found.names and "nav" in found.names


def test_a_hostile_record_is_text(results):
    run = msgspec.structs.replace(
        record("s5", "text", 70.0, preset="custom", config={"name": HOSTILE}),
        message=HOSTILE,
        notes=[HOSTILE],
        created="2026-03-03T00:00:00Z",
    )
    raw = run.to_dict()
    raw["model"]["title"] = raw["task"]["title"] = raw["data"]["identity"] = raw["device"]["kind"] = HOSTILE
    raw["versions"] = {HOSTILE: HOSTILE}
    run = validate(raw)
    place = store.write(run, results).relative_to(results).as_posix()
    store.write_speed(msgspec.structs.replace(OURS, notes=[HOSTILE], implementation=HOSTILE, name="hostile"), results)
    clean, text = Page(written(results.parent / "none")), written(results)
    found = Page(text)
    assert found.names.count("script") == clean.names.count("script") == 2
    assert found.scripts[1] == clean.scripts[1]
    assert "img" not in found.names and text.count("<!--") == 0
    kept = found.data["records"][place]
    assert kept["message"] == kept["notes"][0] == HOSTILE and kept["versions"] == {HOSTILE: HOSTILE}
    assert any(HOSTILE in part for part in found.text)
    assert "\u2028" not in found.scripts[0] and "<" not in found.scripts[0]


def test_html_is_escaped_unless_it_is_html():
    assert element("td", '<&">', class_="a", data_x='"') == '<td class="a" data-x="&quot;">&lt;&amp;&quot;&gt;</td>'
    assert element("td", element("b", "x"), hidden=True, title=None) == "<td hidden><b>x</b></td>"
    assert element("meta", name="a", content="b") == '<meta name="a" content="b">'
    assert join("<", Html("<br>")) == "&lt;<br>"
    assert json.loads(script_json({"a": HOSTILE})) == {"a": HOSTILE}
    with pytest.raises(ValueError):
        script_json(float("nan"))


def test_an_empty_folder_has_a_page(tmp_path):
    found = Page(written(tmp_path))
    assert not found.links and found.data["records"] == {}
    assert "There are no records of runs yet." in "".join(found.text)


def test_a_bad_file_is_left_out_and_named(results, capsys):
    path = results / "runs" / "budget" / "text" / "s5" / "bad.json"
    path.write_text("{")
    (results / "analysis" / "empty.csv").write_text("")
    assert main(["report", "--results", str(results)]) == 0
    warned = capsys.readouterr().err
    assert warned.count("warning: left out") == 2 and "bad.json" in warned and "empty.csv" in warned
    assert "2 files were left out" in (results / "report.html").read_text()


def test_the_same_records_make_the_same_bytes_and_nothing_is_loaded(results, tmp_path):
    text = written(results)
    assert text == page.build(content.read(results))
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)|@import|url\(""", text)
    policy = re.search(r'Policy" content="([^"]*)"', text)
    assert policy and "default-src &#x27;none&#x27;" in policy[1]
    changed = (results / "report.html").stat().st_mtime_ns
    page.write(results)
    assert (results / "report.html").stat().st_mtime_ns == changed
    moved = results.rename(tmp_path / "moved")
    assert written(moved) == text


def test_table_names_the_page_last(results, capsys):
    assert main(["table", "--results", str(results)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"all results as a page: {results / 'report.html'}"
    (results / "report.html").unlink()
    assert main(["table", "--results", str(results), "--check"]) == 0
    assert not (results / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--results", "none"], "--results none: no such folder"),
        (["--out", "."], "--out .: a folder, not a file"),
        (["--port", "1"], "--port is for --watch"),
        (["--watch", "--out", "x.html"], "--out writes a file and --watch serves the page: use one of them"),
        (["--watch", "--port", "70000"], "--port takes a whole number from 0 to 65535; got '70000'"),
        (["--watch", "--port=-1"], "--port takes a whole number from 0 to 65535; got '-1'"),
        (["--watch", "--results", "file"], "--results file: not a folder"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "file").write_text("")
    assert main(["report", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"


@contextlib.contextmanager
def served(root: Path):
    """The address of a server of a folder of results."""
    with server(root, 0) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{one.server_port}/"
        finally:
            one.shutdown()
            thread.join()


def get(address: str, **headers: str) -> tuple[int, str]:
    """Status and text of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def test_the_server_shows_new_records_and_files_of_the_folder_alone(results):
    (results.parent / "secret").write_text("secret")
    (results / "out").symlink_to(results.parent / "secret")
    with served(results) as address:
        status, text = get(address)
        mark = fingerprint(results)
        assert status == 200 and f'<meta name="fingerprint" content="{mark}">' in text
        assert get(f"{address}fingerprint") == (200, mark)
        href, _ = Page(text).links[0]
        assert json.loads(get(address + href)[1])["schema_version"] == 2
        new = store.write(record("lru", "text", 77.77, preset="custom"), results)
        assert get(f"{address}fingerprint")[1] != mark
        assert store.home(store.read(new), "").as_posix() in get(address)[1]
        for path in ("../secret", "%2e%2e/secret", "/etc/passwd", "out", "runs", "nothing", "%00"):
            assert get(address + path)[0] == 404, path
        # A name of another site that points to this machine.
        assert get(address, Host="example.org")[0] == 403
        port = address.rsplit(":", 1)[1].strip("/")
        assert get(address, Host=f"localhost:{port}")[0] == 200
        with pytest.raises(UserError, match=f"--port {port}: Address already in use; --port 0 takes a free one"):
            server(results, int(port))


def test_the_server_waits_for_a_folder_that_a_sweep_will_make(results, tmp_path):
    with served(tmp_path / "later") as address:
        assert "There are no records of runs yet." in get(address)[1]
        mark = get(f"{address}fingerprint")[1]
        shutil.copytree(results, tmp_path / "later")
        assert get(f"{address}fingerprint")[1] != mark
        assert "61.00" in get(address)[1]


@pytest.fixture
def shown(browser, results):
    """The page of the samples in a browser; at the end its console holds no problem."""
    run = record("lru", "image", 70.0, preset="custom", config={"name": HOSTILE}, identity=HOSTILE, notes=(HOSTILE,))
    store.write(run, results)
    browser.resize(1280, 900)
    browser.open(page.write(results).as_uri())
    yield browser
    assert browser.problems == []


def column(browser: Browser, table: str, name: str) -> list[str]:
    """The texts of a column, of the rows that are shown, in their order."""
    return browser.evaluate(
        f"""(() => {{
            const table = document.querySelector({table!r});
            const at = [...table.tHead.rows[0].cells].findIndex((head) => head.innerText.trim().startsWith({name!r}));
            const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
            const cells = rows.map((row) => row.cells[at]);
            return cells.map((cell) => cell.querySelector("a")?.textContent ?? cell.innerText);
        }})()"""
    )


TABLE = "#table-table-strict table"


def test_a_click_sorts_and_a_key_sorts_back(shown):
    head = f"[...document.querySelectorAll('{TABLE} thead th')].find((th) => th.innerText.startsWith('Text'))"
    before = column(shown, TABLE, "Model")
    shown.evaluate(f"{head}.querySelector('button').click()")
    assert shown.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
    found = column(shown, TABLE, "Text")
    numbers = [float(text) for text in found if re.fullmatch(r"\d+\.\d+", text)]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] == 88.5
    # Rows without a number are last, in both directions.
    assert found[: len(numbers)] == [f"{number:.2f}" for number in numbers]
    shown.evaluate(f"{head}.querySelector('button').focus()")
    shown.press("Enter")
    assert shown.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert [float(text) for text in column(shown, TABLE, "Text")[: len(numbers)]] == sorted(numbers)
    shown.press("Enter")
    assert shown.evaluate(f"{head}.getAttribute('aria-sort')") is None
    assert column(shown, TABLE, "Model") == before


def choose(browser: Browser, selector: str, value: str) -> None:
    """Sets a control as a person would."""
    browser.evaluate(
        f"(() => {{ const control = document.querySelector({selector!r}); control.value = {value!r};"
        "for (const kind of ['input', 'change']) control.dispatchEvent(new Event(kind, {bubbles: true})); })()"
    )


def test_filters_leave_the_rows_that_match(shown):
    choose(shown, "#comparison-filters [data-filter=model]", "s5")
    assert column(shown, TABLE, "Model") == ["S5"]
    choose(shown, "#comparison-filters [data-filter=model]", "")
    choose(shown, "#comparison-filters [data-filter=share]", "0.995")
    assert column(shown, TABLE, "Model") == ["S5"]
    assert shown.evaluate("document.querySelector('#comparison-filters output').textContent").startswith("1 of ")
    choose(shown, "form[data-table=all-runs] [data-filter=status]", "diverged")
    assert set(column(shown, "#all-runs", "Status")) == {"diverged"}
    choose(shown, "form[data-table=all-runs] [data-filter=text]", "path-x")
    assert column(shown, "#all-runs", "Task") == ["Path-X"]
    # What was chosen survives a reload, which --watch makes.
    shown.send("Page.reload")
    shown.wait("document.readyState === 'complete' && document.querySelector('#all-runs tbody tr[hidden]') !== null")
    assert column(shown, "#all-runs", "Task") == ["Path-X"]
    shown.evaluate("sessionStorage.clear()")


def test_a_number_opens_its_record_and_its_link_leads_to_the_file(shown):
    link = f"document.querySelector('{TABLE} tr[data-model=s4d] a')"
    assert Path(unquote(shown.evaluate(f"{link}.href")).removeprefix("file://")).is_file()
    shown.evaluate(f"{link}.dispatchEvent(new PointerEvent('pointermove', {{bubbles: true, clientX: 5, clientY: 5}}))")
    assert "S4D on Text" in shown.evaluate("document.querySelector('#tip').innerText")
    assert shown.evaluate("document.querySelector('#tip .curve') !== null")
    shown.evaluate(f"{link}.focus()")
    shown.press("Enter")
    shown.wait("document.querySelector('dialog').open")
    told = shown.evaluate("document.querySelector('dialog').innerText")
    for part in ("S4D on Text", "86.00 %", "500 of 500 planned, 1,000 published: 50 %", "33f0217", "Device 80GB"):
        assert part in told, part
    assert shown.evaluate("location.hash").startswith("#record=runs/budget/text/s4d/")
    shown.press("Escape")
    shown.wait("!document.querySelector('dialog').open && location.hash === ''")
    shown.evaluate(f"document.querySelector('{TABLE} tr[data-model=s5] a').click()")
    told = shown.evaluate("document.querySelector('dialog').innerText")
    assert "61.00 ± 2.48 %" in told and all(f"Seed {seed}: 6{seed}.00 %" in told for seed in range(3))
    shown.press("Escape")
    # A record whose texts are hostile opens like any other, as text.
    shown.evaluate("document.querySelector('#all-runs tr[data-preset=custom] a').click()")
    shown.wait("document.querySelector('dialog').open")
    assert "<img src=x onerror=alert(1)>" in shown.evaluate("document.querySelector('dialog').innerText")
    assert shown.evaluate("document.querySelectorAll('img, main script').length") == 0
    shown.press("Escape")


def test_charts_show_the_cells_and_colors_can_be_chosen(shown):
    assert shown.evaluate("document.querySelectorAll('#cost-panels figure').length") == 7
    assert shown.evaluate("document.querySelectorAll('#curve-panels figure').length") == 1
    assert shown.evaluate("document.querySelectorAll('#properties svg').length") == 2
    assert shown.evaluate("document.querySelectorAll('#speed-panels a').length") == 2
    chip = "document.querySelector('.chip[data-model=s4d]')"
    colored = "document.querySelectorAll('#curve-panels .curve.colored').length"
    assert shown.evaluate(f"{chip}.getAttribute('aria-pressed')") == "true" and shown.evaluate(colored) == 1
    shown.evaluate(f"{chip}.click()")
    assert shown.evaluate(f"{chip}.getAttribute('aria-pressed')") == "false" and shown.evaluate(colored) == 0
    choose(shown, "#measure", "parameters")
    assert "parameters" in shown.evaluate("document.querySelector('#cost-panels').textContent")
    choose(shown, "#table-choice", "quick-strict")
    assert shown.evaluate("document.querySelectorAll('#cost-panels figure').length") == 2
    shown.evaluate("sessionStorage.clear()")


def test_light_dark_and_a_telephone(shown):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = shown.evaluate(paper)
    shown.resize(390, 844, dark=True)
    dark = shown.evaluate(paper)
    assert light != dark
    # Tables scroll in their own boxes, the page does not.
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    shown.evaluate("document.querySelector('#theme').click()")
    assert shown.evaluate(paper) == light
    shown.evaluate("localStorage.clear()")


def test_a_served_page_renews_itself(browser, results):
    with served(results) as address:
        browser.open(address)
        assert browser.evaluate("document.querySelector('#live').textContent") == "live"
        choose(browser, "form[data-table=all-runs] [data-filter=preset]", "quick")
        before = column(browser, "#all-runs", "Test")
        store.write(record("s5", "image", 77.77, preset="quick"), results)
        browser.wait("document.querySelector('#all-runs')?.textContent.includes('77.77')")
        assert sorted(column(browser, "#all-runs", "Test")) == sorted([*before, "77.77"])
        browser.open("about:blank#end")
    assert browser.problems == []


def test_the_page_of_the_repository_and_an_empty_one_have_no_problem(browser, tmp_path):
    browser.resize(1280, 900)
    browser.open(page.write(ROOT / "results", tmp_path / "page.html").as_uri())
    assert browser.evaluate("document.querySelectorAll('#cost-panels figure').length") > 0
    browser.open(page.write(tmp_path).as_uri())
    assert browser.evaluate("document.querySelectorAll('figure').length") == 0
    assert browser.problems == []
