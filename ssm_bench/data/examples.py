"""Examples of a data set for people: a picture of images, text otherwise."""

from itertools import zip_longest
from pathlib import Path

import numpy as np

from ssm_bench.data.dataset import Dataset
from ssm_bench.errors import UserError

#: What stands between these lines of a page is replaced.
BEGIN, END = "<!-- examples: {} -->", "<!-- end of examples -->"

_SHOWN_CHARACTERS = 240
_TILE, _GAP, _CAPTION = 192, 12, 20


def varied(dataset: Dataset, count: int) -> list[int]:
    """Training examples of one class after another, the first ones of each."""
    train = dataset.splits["train"]
    of_class = [train[dataset.labels[train] == label][:count].tolist() for label in range(dataset.spec.classes)]
    return [example for group in zip_longest(*of_class) for example in group if example is not None][:count]


def write(dataset: Dataset, count: int, path: Path, command: str) -> None:
    """Writes examples into a file: a picture (.png) of images, a page (.md) of text.

    A page that is there keeps everything outside the lines BEGIN and END.

    Args:
        dataset: where they come from.
        count: how many.
        path: the file.
        command: what makes them again; it stands in the page.

    Raises:
        UserError: the suffix does not fit the data, or the file cannot be written.
    """
    wanted = ".png" if dataset.spec.kind == "pixels" else ".md"
    if path.suffix != wanted:
        raise UserError(f"--out {path} must end in {wanted} for {dataset.spec.name}")
    if path.exists() and not path.is_file():
        raise UserError(f"--out {path} is not a file")
    chosen = varied(dataset, count)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if wanted == ".png":
            _picture(dataset, chosen, path)
        else:
            page = path.read_text("utf-8") if path.exists() else ""
            path.write_text(_placed(page, text(dataset, chosen), command), "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"--out {path} is not a page: it is not UTF-8 text") from error
    except OSError as error:
        raise UserError(f"--out {path} cannot be written ({error.strerror or error})") from error


def text(dataset: Dataset, examples: list[int]) -> str:
    """Examples as blocks of Markdown, each cut to a few lines."""
    blocks = []
    for example in examples:
        sizes = np.diff(dataset.offsets)[dataset.documents[example]]
        tokens = " and ".join(f"{size:,}" for size in sizes)
        documents = dataset.decode(example).split("\n--- second document ---\n")
        shown = "\n\n".join(
            document[:_SHOWN_CHARACTERS] + (" ..." if len(document) > _SHOWN_CHARACTERS else "")
            for document in documents
        )
        blocks.append(f"Label {dataset.labels[example]}, {tokens} tokens:\n\n```text\n{shown}\n```\n")
    return "\n".join(blocks)


def _placed(page: str, examples: str, command: str) -> str:
    section = f"{BEGIN.format(command)}\n\n{examples}\n{END}\n"
    before, begin, rest = page.partition(BEGIN.partition("{}")[0])
    _, end, after = rest.partition(END + "\n")
    if not begin:
        return f"{page}{section}"
    if not end:
        raise UserError(f"the page has a line {begin}... but no line {END} after it")
    return f"{before}{section}{after}"


def _picture(dataset: Dataset, examples: list[int], path: Path) -> None:
    from PIL import Image, ImageDraw

    side = round(dataset.spec.max_length**0.5)
    sheet = Image.new("L", (_GAP + len(examples) * (_TILE + _GAP), _CAPTION + _TILE + _GAP), 255)
    draw = ImageDraw.Draw(sheet)
    for i, example in enumerate(examples):
        document = dataset.documents[example, 0]
        pixels = dataset.values[dataset.offsets[document] : dataset.offsets[document + 1]]
        left = _GAP + i * (_TILE + _GAP)
        draw.text((left, 4), f"label {dataset.labels[example]}", 0)
        image = Image.fromarray(np.asarray(pixels).reshape(side, side))
        sheet.paste(image.resize((_TILE, _TILE), Image.Resampling.NEAREST), (left, _CAPTION))
    sheet.save(path)
