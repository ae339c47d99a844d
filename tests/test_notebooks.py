"""The notebooks as they are committed; ``test_demo`` executes them on the demo."""

from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def test_there_is_one_for_each_step():
    assert NOTEBOOKS == [
        "01_harmonise.ipynb", "02_train_and_judge.ipynb", "03_predict_on_a_cluster.ipynb",
        "04_use_the_product.ipynb",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_valid_short_and_committed_without_outputs(name):
    notebook = nbformat.read(FOLDER / name, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) <= 8
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert not any("def " in cell.source for cell in code)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_begins_with_three_sentences_on_what_one_learns(name):
    first = nbformat.read(FOLDER / name, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    title, learnt, _ = first.source.split("\n\n")
    assert title.startswith("# ") and learnt.startswith("You learn")
    assert learnt.count(". ") == 2 and learnt.endswith(".")
