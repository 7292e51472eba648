"""The real SDK against a local service, with short pauses."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic._base_client
import pytest

from fake_service import KEY, FakeService, serving
from rlhf_plugins.judges import batches, messages


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    found = FakeService()
    with serving(found) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setattr(anthropic._base_client, "INITIAL_RETRY_DELAY", 0.01)
        monkeypatch.setattr(batches, "POLL_SECONDS", 0.02)
        monkeypatch.setattr(batches, "FIRST_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(messages, "POLL_SECONDS", 0.05)
        yield found
