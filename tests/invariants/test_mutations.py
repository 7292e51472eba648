"""Every defect of the mutation table is caught by the test that is named for it, and documented with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutations import DEFECTS
from planting import ALL_PASSED, CHECKOUT, SOME_FAILED, Defect, run


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_caught(defect: Defect, tmp_path: Path) -> None:
    code, output = run(defect, [defect.caught_by], tmp_path / "log")
    assert code == SOME_FAILED, output
    assert defect.light in output


def test_without_a_defect_nothing_is_caught(tmp_path: Path) -> None:
    code, output = run(None, sorted({defect.caught_by for defect in DEFECTS}), tmp_path / "log")
    assert code == ALL_PASSED, output


def test_defects_have_names_of_their_own() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 30


def documented(defect: Defect) -> str:
    """The defect's line in docs/numerics.md."""
    test = defect.caught_by.partition("::")[2].partition("[")[0]
    light = f", by the light `{defect.light}`" if defect.light else ""
    return f"| {defect.name} | `{defect.place.removeprefix('rlhf_engine.')}` | `{test}`{light} |"


def test_the_documents_have_the_same_table() -> None:
    section = (CHECKOUT / "docs/numerics.md").read_text().partition("## Planted defects\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    expected = ["| defect | where | caught by |", "| --- | --- | --- |", *map(documented, DEFECTS)]
    assert lines == expected, "the table should be:\n" + "\n".join(expected)
