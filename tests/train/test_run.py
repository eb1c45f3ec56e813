"""What is refused before a run begins."""

from dataclasses import replace

import pytest

from ssm_bench.errors import UserError
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.train.run import check_sizes


@pytest.mark.parametrize(
    ("what", "array", "value", "task"),
    [("token ids", "values", 200, "listops"), ("labels", "labels", 10, "image"), ("labels", "labels", -1, "listops")],
)
def test_ids_and_labels_that_a_model_has_no_place_for_are_refused(what, array, value, task):
    config, dataset = opened(Choices(preset="quick", data="synthetic").config(Cell(model="lru", task=task, seed=0)))
    check_sizes(config, dataset)
    values = getattr(dataset.corpus, array).copy()
    values[-1] = value
    strange = replace(dataset, corpus=replace(dataset.corpus, **{array: values}))
    with pytest.raises(UserError, match=rf"^{what} of {task} must lie in 0\.\.\d+; its data have .*{value}"):
        check_sizes(config, strange)
