"""BibTeX entries of a table."""

from collections.abc import Iterable

from ssm_bench.data.dataset import find
from ssm_bench.errors import UserError
from ssm_bench.record import RunRecord, bibtex

BENCHMARK = """@inproceedings{tay2021long,
  title = {Long Range Arena: A Benchmark for Efficient Transformers},
  author = {Tay, Yi and Dehghani, Mostafa and Abnar, Samira and Shen, Yikang and Bahri, Dara and Pham, Philip
            and Rao, Jinfeng and Yang, Liu and Ruder, Sebastian and Metzler, Donald},
  booktitle = {International Conference on Learning Representations},
  year = {2021},
  eprint = {2011.04006},
  archiveprefix = {arXiv}
}"""

OVERVIEW = """@misc{amoalonso2024state,
  title = {State Space Models as Foundation Models: A Control Theoretic Overview},
  author = {Amo Alonso, Carmen and Sieber, Jerome and Zeilinger, Melanie N.},
  year = {2024},
  eprint = {2403.16899},
  archiveprefix = {arXiv}
}"""


def bibliography(records: Iterable[RunRecord]) -> str:
    """The entries of models and data sets in `records`, of the benchmark and of the published table, each key once."""
    records = list(records)
    models = [record.model.bibtex.strip() for record in records]
    data = [_of_task(name) for name in {record.task.name for record in records}]
    entries = [BENCHMARK, OVERVIEW, *models, *data]
    by_key = {bibtex.key(entry): entry for entry in sorted(filter(None, entries))}
    return "\n\n".join(by_key[key] for key in sorted(by_key)) + "\n"


def _of_task(name: str) -> str:
    """The entry of a task's data; empty for an unknown task, such as one of a plug-in."""
    try:
        return find(name).bibtex
    except UserError:
        return ""
