"""The quick-start notebook runs, and is committed without outputs."""

import json
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names = {"__name__": "__main__"}
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["run"].record.status == "ok" and np.isfinite(names["logits"]).all()
    table = capsys.readouterr().out
    assert "Average" in table and "LRU" in table


def test_the_notebook_is_committed_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert len(notebook["cells"]) == 10
    for cell in notebook["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
