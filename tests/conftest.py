"""Settings that every test needs before torch is imported."""

import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def _own_state(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the full screen remembers between sessions stays within a test."""
    if request.path.parent.name == "tui":
        folder = request.getfixturevalue("tmp_path_factory").mktemp("state")
        monkeypatch.setenv("XDG_STATE_HOME", str(folder))
