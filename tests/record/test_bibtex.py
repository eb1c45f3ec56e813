"""A bibliography is made of entries that BibTeX can read one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_bench.config import experiment_names, get_config
from ssm_bench.data import spec
from ssm_bench.record.bibtex import key, problem

SOUND = "@inproceedings{gu2022, title = {{S4}: a {model}}, year = {2022},\n}"


def test_an_entry_or_none():
    assert problem(SOUND) == problem("") == problem(f"\n{SOUND}\n") == ""
    assert key(SOUND) == "gu2022" and key("text") == ""


@pytest.mark.parametrize(
    "text",
    ["S4", SOUND[:-1], SOUND + "}", f"{SOUND} {SOUND}", f"{SOUND} text", "@misc{}", "@misc{a b, c}", "@misc{}, {}"]
    + [f"@{kind}{{a, b}}" for kind in ("preamble", "string", "Comment")],
)
def test_anything_else_is_refused(text):
    assert problem(text)


@given(st.text("{}@a,= \\", max_size=12))
def test_what_is_accepted_is_balanced(fields):
    text = f"@misc{{a, {fields}}}"
    if not problem(text):
        assert text.count("{") == text.count("}")
        depth = [text[:place].count("{") - text[:place].count("}") for place in range(6, len(text))]
        assert min(depth) > 0


@pytest.mark.parametrize("model", experiment_names())
def test_every_experiment_has_an_entry(model):
    assert problem(get_config(model, spec("text")).report.bibtex) == "" and key(
        get_config(model, spec("text")).report.bibtex
    )
