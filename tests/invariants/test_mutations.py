"""Every defect of the mutation table is caught by the test that is named for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutations import DEFECTS
from planting import ALL_PASSED, SOME_FAILED, Defect, run


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_caught(defect: Defect, tmp_path: Path) -> None:
    code, output = run(defect, [defect.caught_by], tmp_path / "log")
    assert code == SOME_FAILED, output


def test_without_a_defect_nothing_is_caught(tmp_path: Path) -> None:
    code, output = run(None, sorted({defect.caught_by for defect in DEFECTS}), tmp_path / "log")
    assert code == ALL_PASSED, output


def test_defects_have_names_of_their_own() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 10
