"""Renders a `Table` as CSV, LaTeX, Markdown, BibTeX and text for the terminal."""

import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import IO

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ssm_bench.report import layout
from ssm_bench.report.aggregate import data_identity
from ssm_bench.report.cite import bibliography
from ssm_bench.report.table import (
    AT_CHANCE,
    AT_CHANCE_TEXT,
    AVERAGE_FAILURES_AS_CHANCE,
    CELLS,
    PEERS,
    PROTOCOL,
    PUBLISHED,
    RANDOM,
    SINGLE_SEED,
    YOUNG,
    Entry,
    Table,
    percent,
)

WRITTEN_BY = "Written by `ssm-bench table` from the records; do not edit."
MISSING = "-"
MINUS = "\N{MINUS SIGN}"
UNLIMITED = 10_000
#: Six tasks and two averages fit an upright A4 page.
PORTRAIT_COLUMNS = 8
#: Number of rows, of three lines each, that fit a page.
PAGE_ROWS = 20


def files(table: Table) -> dict[str, str]:
    """File name -> content of all files of one table."""
    return {
        f"{table.name}.csv": cells_csv(table),
        f"{table.name}.md": markdown(table),
        f"{table.name}.tex": latex(table),
        f"{table.name}-standalone.tex": latex_document(table),
        f"{table.name}.bib": bibliography(table.records),
    }


def accuracy_text(entry: Entry) -> str:
    """The first line of a cell without its interval: the accuracy, or why there is none."""
    if entry.accuracy is not None:
        return f"{entry.accuracy:.2f}"
    return MISSING if entry.status == "missing" else entry.status


def published_text(entry: Entry) -> str:
    """The second line: the published value and, if it exists, the difference from it."""
    if entry.published_failed:
        return "failed"
    if entry.published is None:
        return MISSING
    difference = "" if entry.difference is None else f" ({entry.difference:+.2f})".replace("-", MINUS)
    return f"{entry.published:.2f}{difference}"


def effort_text(entry: Entry) -> str:
    """The third line: the number of finished seeds of all seeds, and the share of the published schedule."""
    seeds = f"{entry.seeds}" if entry.seeds_finished == entry.seeds else f"{entry.seeds_finished} of {entry.seeds}"
    return f"n = {seeds}" if entry.share is None else f"n = {seeds}, {percent(entry.share)}"


def peer_text(entry: Entry) -> str:
    """The accuracy of the authors' code on the same data, with its share of the schedule; empty if unknown."""
    if entry.peer is None:
        return ""
    return f"authors' code {entry.peer.accuracy:.2f}, {share_text(entry.peer.share)}"


def share_text(share: float | None) -> str:
    """A share of the published schedule in a word."""
    return "full" if share is not None and share >= 1 else percent(share)


def below(entry: Entry) -> list[str]:
    """The non-empty lines below our number."""
    if entry.cell:
        toy = entry.cell.runs[0].preset in layout.TOYS
        lines = ("" if toy else published_text(entry), effort_text(entry), peer_text(entry))
        return [line for line in lines if line]
    return [published_text(entry)] if entry.published is not None or entry.published_failed else []


def cells_csv(table: Table) -> str:
    """One line per cell, including averages; accuracies in percent, the share as a fraction."""
    lines = []
    words = table.footnotes | {AT_CHANCE: AT_CHANCE_TEXT}
    for row, title in table.rows.items():
        for column, column_title in table.columns.items():
            entry = table.entries[row, column]
            data = data_identity(entry.cell.runs[0]) if entry.cell else None
            reference = entry.cell.runs[-1].model.published if entry.cell else None
            marks = [*table.heads.get(column, []), *entry.marks] if entry.cell else []
            lines.append(
                {
                    "preset": entry.cell.runs[0].preset if entry.cell else "",
                    "protocol": table.protocol,
                    "model": row,
                    "model_title": title,
                    "task": column,
                    "task_title": column_title,
                    "status": entry.status,
                    "accuracy": _number(entry.accuracy, 2),
                    "interval_95": _number(entry.interval, 2),
                    "seeds_finished": entry.seeds_finished,
                    "seeds": entry.seeds,
                    "published": "failed" if entry.published_failed else _number(entry.published, 2),
                    "published_source": f"{reference.row}: {reference.source}" if reference else "",
                    "difference": _number(entry.difference, 2),
                    "schedule_share": _number(entry.share, 4),
                    "peer_accuracy": _number(entry.peer.accuracy if entry.peer else None, 2),
                    "peer_share": _number(entry.peer.share if entry.peer else None, 4),
                    "peer_implementation": entry.peer.implementation if entry.peer else "",
                    "data_identity": data.identity if data else "",
                    "data_kind": data.kind if data else "",
                    "data_notes": "; ".join(data.notes) if data else "",
                    "data_checksum": data.checksum if data else "",
                    "rank": "" if entry.rank is None else entry.rank,
                    "notes": " | ".join(words[mark] for mark in marks if mark in words),
                }
            )
    return pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")


def markdown(table: Table) -> str:
    """A complete page: title, table with up to four lines per cell, notes."""
    rows = _markdown_rows(table, list(table.columns), below)
    return "\n".join([f"<!-- {WRITTEN_BY} -->", f"# {table.title}", "", *rows, "", *_markdown_notes(table), ""])


def markdown_compact(table: Table) -> str:
    """For a README: our number; below it, in small print, the share of the schedule and the published value."""

    def small(entry: Entry) -> list[str]:
        parts = [share_text(entry.share)] if entry.share is not None else []
        parts += [text.split(" (")[0]] if (text := published_text(entry)) != MISSING else []
        lines = [" · ".join(parts), peer_text(entry)]
        return [f"<sub>{line}</sub>" for line in lines if line]

    columns = [column for column in table.columns if column != AVERAGE_FAILURES_AS_CHANCE]
    short = {
        CELLS: "test accuracy in percent, ± the 95 % interval over seeds; below it, the share of the published "
        "schedule that was run and the published value (failed: the authors report a failure). partial: interrupted. "
        "The best two values of a column are highlighted, unless its cells used different data or a gray value is "
        "better.",
        PUBLISHED: "arXiv 2403.16899, Table II." if table.kind == layout.TABLE else "",
    }
    kept = (CELLS, YOUNG, PROTOCOL, PUBLISHED, PEERS, SINGLE_SEED, AT_CHANCE)
    notes = [(subject, short.get(subject, text)) for subject, text in table.notes if subject in kept]
    return "\n".join([*_markdown_rows(table, columns, small), "", *_markdown_notes(table, notes)])


def _markdown_rows(table: Table, columns: Sequence[str], more_lines: Callable[[Entry], list[str]]) -> list[str]:
    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    heads = [md(table.columns[column]) + _sup(table.heads.get(column, [])) for column in columns]
    lines = [line(["Model", *heads]), line([":---", *[":---:"] * len(heads)])]
    for row, title in table.rows.items():
        cells = [md(title)]
        for column in columns:
            entry = table.entries[row, column]
            style = "*{}*" if entry.young else {1: "**{}**", 2: "<ins>{}</ins>"}.get(entry.rank or 0, "{}")
            number = style.format(md(accuracy_text(entry)))
            if entry.interval is not None:
                number += f" ± {entry.interval:.2f}"
            cells.append("<br>".join([number + _sup(entry.marks), *more_lines(entry)]))
        lines.append(line(cells))
    return lines


def _markdown_notes(table: Table, notes: Sequence[tuple[str, str]] | None = None) -> list[str]:
    lines = [f"- **{md(subject)}**: {md(text)}" for subject, text in (table.notes if notes is None else notes) if text]
    return lines + [f"- <sup>{mark}</sup> {md(text)}" for mark, text in table.footnotes.items()]


def _sup(marks: list[str]) -> str:
    return f"<sup>{','.join(marks)}</sup>" if marks else ""


def md(text: str) -> str:
    """Text for a cell of a Markdown table: special characters escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|$~#])", r"\\\1", " ".join(text.split()))


def latex(table: Table) -> str:
    r"""A tabular and its notes, to be \input inside a table environment; needs the packages booktabs and xcolor.

    Rows that do not fit a page are divided into several tabulars of about equal size.
    """
    rows = list(table.rows)
    parts = max(1, -(-len(rows) // PAGE_ROWS))
    size = -(-len(rows) // parts)
    heads = [_two_lines(tex(title)) + _raised(table.heads.get(column, [])) for column, title in table.columns.items()]
    lines = [
        f"% {WRITTEN_BY} Needs booktabs and xcolor; \\input it inside a table environment.",
        r"\begingroup",
        r"\centering",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4.5pt}",
    ]
    for part in range(parts):
        written = _written(table, rows[part * size : (part + 1) * size])
        lines += tabular(f"l*{{{len(heads)}}}{{c}}", ["Model", *heads], written)
    lines += [r"\begin{minipage}{\linewidth}"]
    lines += [r"\scriptsize\raggedright\setlength{\parskip}{2pt}\setlength{\parindent}{0pt}"]
    lines += [rf"\textbf{{{tex(subject)}}}: {tex(text)}\par" for subject, text in table.notes]
    lines += [rf"\textsuperscript{{{mark}}}\,{tex(text)}.\quad" for mark, text in table.footnotes.items()]
    return "\n".join([*lines, r"\end{minipage}", r"\endgroup", ""])


def tabular(columns: str, heads: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The lines of a tabular with rules above, below its heads, and below it; needs the package booktabs."""
    begin = rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}"
    end = [r"\bottomrule", r"\end{tabular}", r"\par\medskip"]
    return [begin, r"\toprule", tabular_row(*heads), r"\midrule", *lines, *end]


def tabular_row(*cells: str) -> str:
    """A line of a tabular."""
    return rf"{' & '.join(cells)} \\"


def _written(table: Table, rows: Sequence[str]) -> list[str]:
    """The lines of some rows of the table: our numbers, the published ones, the share of the schedule."""
    lines = []
    for number, row in enumerate(rows):
        entries = [table.entries[row, column] for column in table.columns]
        if number:
            lines.append(r"\addlinespace")
        lines.append(tabular_row(tex(table.rows[row]), *map(_latex_number, entries)))
        if row != RANDOM:
            stacks = [below(entry) for entry in entries]
            for depth in range(max(map(len, stacks), default=0)):
                small = [
                    _gray(entry, rf"\scriptsize {tex(stack[depth])}") if depth < len(stack) else ""
                    for entry, stack in zip(entries, stacks, strict=True)
                ]
                lines.append(tabular_row("", *small))
    return lines


def latex_document(table: Table) -> str:
    """A document with the table in it, for pdflatex in the folder of the tables."""
    orientation = "landscape," if len(table.columns) > PORTRAIT_COLUMNS else ""
    lines = [
        f"% {WRITTEN_BY} Compile it in this folder: pdflatex {table.name}-standalone.tex",
        r"\documentclass[10pt]{article}",
        rf"\usepackage[a4paper,{orientation}margin=14mm]{{geometry}}",
        r"\usepackage{booktabs,xcolor}",
        r"\pagestyle{empty}",
        r"\begin{document}",
        # Not a float: with many models, the notes continue on the next page, but a float cannot span pages.
        rf"\begin{{center}}{tex(table.title)}\end{{center}}",
        rf"\input{{{table.name}.tex}}",
        r"\end{document}",
        "",
    ]
    return "\n".join(lines)


def _latex_number(entry: Entry) -> str:
    number = {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}.get(entry.rank or 0, "{}").format(tex(accuracy_text(entry)))
    if entry.interval is not None:
        number += rf"\,{{\scriptsize$\pm$\,{entry.interval:.2f}}}"
    return (_gray(entry, number) if entry.young else number) + _raised(entry.marks)


def _gray(entry: Entry, text: str) -> str:
    """Text in its own group, gray if less than a tenth of the schedule was run."""
    return rf"{{\color{{gray}}{text}}}" if entry.young else rf"{{{text}}}"


def _raised(marks: list[str]) -> str:
    # Marks have no width, so that the numbers of a column stay aligned.
    return rf"\rlap{{\textsuperscript{{{tex(','.join(marks))}}}}}" if marks else ""


def _two_lines(head: str) -> str:
    """Breaks a long column head after its comma."""
    first, _, second = head.partition(", ")
    return rf"\shortstack{{{first},\\{second}}}" if second else head


_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    MINUS: r"$-$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "…": r"\dots{}",
    "·": r"$\cdot$",
    "†": r"$\dagger$",
    "§": r"\S{}",
} | {character: f"\\{character}" for character in "&%$#_"}

_TEX_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v", "\u0327": "c"}


def tex(text: str) -> str:
    """Text for pdflatex: escaped special characters, accents as TeX commands, and "?" for letters without a glyph."""
    if text == MISSING:
        return "--"
    text = "".join(_TEX.get(character) or _tex_letter(character) for character in " ".join(text.split()))
    return text.replace(r" \%", r"\,\%")


def _tex_letter(character: str) -> str:
    if character.isascii():
        return character
    base, *accents = unicodedata.normalize("NFKD", character)
    if len(accents) == 1 and accents[0] in _TEX_ACCENTS and base.isascii():
        return rf"\{_TEX_ACCENTS[accents[0]]}{{{base}}}"
    return _TEX.get(base, base) if base.isascii() else "?"


def print_table(table: Table, file: IO[str]) -> None:
    """Prints the table: on a terminal, styled and split to fit the width; elsewhere, as plain text of any width."""
    console = Console(file=file, highlight=False)
    if console.is_terminal:
        _print_to(console, table)
    else:
        file.write(plain(table))


def plain(table: Table) -> str:
    """The table as plain text, with one line per note."""
    console = Console(file=io.StringIO(), highlight=False, width=UNLIMITED, color_system=None)
    with console.capture() as printed:
        _print_to(console, table)
    return "".join(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def _print_to(console: Console, table: Table) -> None:
    unlimited = console.options.update(max_width=UNLIMITED)
    console.print(Text(table.title, style="bold"))
    columns = list(table.columns)
    while columns:
        shown = len(columns)
        while shown > 1 and console.measure(_rich(table, columns[:shown]), options=unlimited).maximum > console.width:
            shown -= 1
        console.print(_rich(table, columns[:shown]))
        columns = columns[shown:]
    for subject, text in table.notes:
        console.print(Text.assemble((f"{subject}: ", "bold"), text))
    for mark, text in table.footnotes.items():
        console.print(Text(f"[{mark}] {text}"))


def _rich(table: Table, columns: list[str]) -> RichTable:
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("Model", no_wrap=True)
    for column in columns:
        title = table.columns[column].replace(", ", ",\n") + _bracketed(table.heads.get(column, []))
        # A `Text` object, since rich interprets brackets in a string as markup.
        grid.add_column(Text(title), justify="right", no_wrap=True)
    for number, (row, title) in enumerate(table.rows.items()):
        cells = [_rich_cell(table.entries[row, column]) for column in columns]
        if number:
            grid.add_row()
        grid.add_row(Text(title), *cells)
    return grid


def _rich_cell(entry: Entry) -> Text:
    style = "dim italic" if entry.young else {1: "bold", 2: "underline"}.get(entry.rank or 0, "")
    text = Text(accuracy_text(entry), style=style)
    if entry.interval is not None:
        text.append(f" ± {entry.interval:.2f}", style="not bold not underline")
    text.append(_bracketed(entry.marks), style="not bold not underline")
    for line in below(entry):
        text.append(f"\n{line}", style="dim not bold not underline")
    return text


def _bracketed(marks: list[str]) -> str:
    return f" [{','.join(marks)}]" if marks else ""


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
