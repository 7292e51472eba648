"""Hub errors as users meet them, from the real client against a local server; and two processes at one cache."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ASKING_CODE = """
from concurrent.futures import ThreadPoolExecutor
import torch
from rlhf_engine.config import DataConfig, ModelConfig, TokenizerConfig
from rlhf_engine.data.sources import read_rows
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.models import load_policy

def data(): next(iter(read_rows(DataConfig(source=["someone/posts"]))))
def model(): load_policy(ModelConfig(path="someone/model"), None, torch.device("cpu"))
def tokenizer(): load_tokenizer(TokenizerConfig(path="someone/model"), "", lambda: [])

# Side by side, because the client's waits between its tries are most of the time.
with ThreadPoolExecutor() as pool:
    asked = [pool.submit(ask) for ask in (data, model, tokenizer)]
for future in asked:
    print(repr(str(future.exception())))
"""


class Refusing(BaseHTTPRequestHandler):
    """Answers everything with the server's status."""

    def do_GET(self) -> None:
        status: int = self.server.status  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("X-Error-Code", {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound"}[status])
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        return None


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.status = request.param  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def answers(endpoint: str, home: Path) -> list[str]:
    """What is said of data, a model and a tokenizer that can't be had from the hub."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DOWNLOAD_TIMEOUT": "5"}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_ETAG_TIMEOUT": "5"}
    command = [sys.executable, "-c", ASKING_CODE]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200, check=True).stdout
    return said.splitlines()


@pytest.mark.parametrize("hub", [401, 403], indirect=True)
def test_a_gated_repository_names_the_way_in(hub: str, tmp_path: Path) -> None:
    said = answers(hub, tmp_path)
    assert len(said) == 3
    for words in said:
        assert "someone/" in words
        assert "hf auth login" in words
        assert "HF_TOKEN" in words


def test_an_unreachable_hub_says_what_to_download(tmp_path: Path) -> None:
    said = answers("http://127.0.0.1:9", tmp_path)
    assert len(said) == 3
    for words in said:
        assert "hf download" in words
        assert "someone/" in words


def test_two_processes_build_one_cache_once(tmp_path: Path) -> None:
    rows = [{"subreddit": "a", "title": "t", "post": f"post {i}", "summary": "s"} for i in range(3000)]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows))
    code = f"""
from pathlib import Path
from rlhf_engine.config import DataConfig, TokenizerConfig
from rlhf_engine.data.api import load_demonstrations
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.hooks import NoHooks
tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=300), "", lambda: ["post"])
config = DataConfig(source=[{str(source)!r}])
print(len(load_demonstrations(config, tokenizer, hooks=NoHooks(), cache_dir=Path({str(tmp_path / "cache")!r}))))
"""
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["3000", "3000"]
    assert len(list((tmp_path / "cache").glob("demonstrations-*/examples.arrow"))) == 1
    assert not list((tmp_path / "cache").glob(".*"))
