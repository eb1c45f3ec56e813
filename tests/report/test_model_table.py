"""Table I from rows, byte by byte."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ssm_bench.report.model_table import FORMATS, Row, Size, csv, latex, markdown, short

ROWS = [
    Row(
        name="s5",
        title="S5",
        parametrization="LTI",
        discretization="zoh",
        structure="MIMO",
        implementation="scan",
        scaffold="glu",
        sizes={"text": Size(parameters=1_294_082, state=2304), "image": Size(parameters=512, state=16)},
    ),
    Row(
        name="ours_2",
        title="Ours & co_2",
        parametrization="nonlinear",
        discretization="none",
        structure="MIMO",
        implementation="matrix product",
        scaffold="mlp, glu",
        sizes={"text": Size(parameters=999_600, state=None), "image": Size(parameters=123_456, state=None)},
    ),
]
TASKS = {"text": "Text", "image": "Image"}
NOTES = ["Vocabularies of the data found here: Text: 100 % synthetic."]

CSV = """\
model,title,parametrization,discretization,structure,implementation,scaffold,text_parameters,text_state_size,\
image_parameters,image_state_size
s5,S5,LTI,zoh,MIMO,scan,glu,1294082,2304,512,16
ours_2,Ours & co_2,nonlinear,none,MIMO,matrix product,"mlp, glu",999600,,123456,
"""

MARKDOWN = """\
| Model | Parametrization | Discretization | Structure | Implementation | Scaffolding | Text | Image |
| :--- | :--- | :--- | :--- | :--- | :--- | ---: | ---: |
| S5 | LTI | zoh | MIMO | scan | glu | 1.29M, 2.3k | 512, 16 |
| Ours &amp; co\\_2 | nonlinear | none | MIMO | matrix product | mlp, glu | 1M, \N{EN DASH} | 123k, \N{EN DASH} |

Each task: trainable real numbers, and real numbers carried per sequence; \N{EN DASH}: no fixed number.

Vocabularies of the data found here: Text: 100 % synthetic.
"""

LATEX = r"""% Written by `ssm-bench list models --format latex`. Needs booktabs; \input it inside a table environment.
\begingroup
\centering
\scriptsize
\setlength{\tabcolsep}{3.5pt}
\begin{tabular}{@{}llllll@{}}
\toprule
Model & Parametrization & Discretization & Structure & Implementation & Scaffolding \\
\midrule
S5 & LTI & zoh & MIMO & scan & glu \\
Ours \& co\_2 & nonlinear & none & MIMO & matrix product & mlp, glu \\
\bottomrule
\end{tabular}
\par\medskip
\tiny
\begin{tabular}{@{}lrr@{}}
\toprule
Model & Text & Image \\
\midrule
S5 & 1.29M,\,2.3k & 512,\,16 \\
Ours \& co\_2 & 1M,\,-- & 123k,\,-- \\
\bottomrule
\end{tabular}
\par\medskip
\scriptsize
Each task: trainable real numbers, and real numbers carried per sequence; --: no fixed number.\par
Vocabularies of the data found here: Text: 100\,\% synthetic.\par
\endgroup
"""


@pytest.mark.parametrize(("write", "text"), [(csv, CSV), (markdown, MARKDOWN), (latex, LATEX)])
def test_the_table_is_written_like_this(write, text):
    assert write in FORMATS.values()
    assert write(ROWS, TASKS, NOTES) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1000, "1k"), (9994, "9.99k"), (999_600, "1M"), (12_345_678, "12.3M")]
)
def test_numbers_have_three_digits(number, text):
    assert short(number) == text


ARTICLE = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
\begin{table}
\input{models}
\end{table}
\end{document}
"""


def test_the_committed_table_fits_the_text_of_an_article(tmp_path):
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("pdflatex is not installed")
    shutil.copy(Path(__file__).parents[2] / "results/tables/models.tex", tmp_path)
    (tmp_path / "article.tex").write_text(ARTICLE, encoding="utf-8")
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and "too large" not in done.stdout
