"""The real data beside the checkout, where it is."""

from pathlib import Path
from typing import Any

import pytest

from rlhf_engine.config import DataConfig, TokenizerConfig
from rlhf_engine.data.api import load_comparisons, load_demonstrations, load_prompts
from rlhf_engine.data.formatting import encode
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.hooks import NoHooks

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not beside this checkout")
HOOKS = NoHooks()


@pytest.fixture(scope="module")
def gpt2() -> Any:
    return load_tokenizer(TokenizerConfig(path=str(DATA / "tokenizers" / "gpt2")), "", list)


def test_371_posts_of_the_validation_set_are_in_the_comparisons(gpt2: Any, tmp_path: Path) -> None:
    config = DataConfig(
        source=[str(DATA / "tldr_reference" / "valid.jsonl.gz")],
        exclude=[str(DATA / "tldr_comparisons" / "train.jsonl.gz")],
    )
    prompts = load_prompts(config, gpt2, hooks=HOOKS, cache_dir=tmp_path)
    assert prompts.report.read == 1944
    assert prompts.report.counts["posts seen elsewhere"] == 371
    assert max(len(prompts[i].tokens) for i in range(200)) <= 512


def test_prompt_and_completion_tokenise_as_their_concatenation(gpt2: Any, tmp_path: Path) -> None:
    config = DataConfig(source=[str(DATA / "tldr_reference" / "train.jsonl.gz")], max_rows=200)
    for example in load_demonstrations(config, gpt2, hooks=HOOKS, cache_dir=tmp_path):
        assert encode(gpt2, example.prompt.text) == example.prompt.tokens
        joined = encode(gpt2, f"{example.prompt.text} {example.response.strip()}")
        without_eos = [token for token in example.response_tokens if token != gpt2.eos_token_id]
        assert joined[: len(example.prompt.tokens) + len(without_eos)] == example.prompt.tokens + without_eos


def test_human_comparisons_keep_their_votes_and_group_by_post(gpt2: Any, tmp_path: Path) -> None:
    source = [str(DATA / "tldr_comparisons" / "valid.jsonl.gz")]
    config = DataConfig(source=source, max_response_tokens=169)
    pairs = load_comparisons(config, gpt2, hooks=HOOKS, cache_dir=tmp_path)
    groups = load_comparisons(config, gpt2, hooks=HOOKS, cache_dir=tmp_path, group_by_prompt=True)
    assert pairs.report.read == 1004
    assert sum(len(group.pairs) for group in groups) == len(pairs)
    assert "votes" in pairs[0].prompt.record


def test_dialogues_load_as_they_are(gpt2: Any, tmp_path: Path) -> None:
    config = DataConfig(source=[str(DATA / "hh_rlhf" / "helpful_valid.jsonl.gz")], template="dialogue")
    pairs = load_comparisons(config, gpt2, hooks=HOOKS, cache_dir=tmp_path)
    assert len(pairs) == 336
    assert all(pair.prompt.text.endswith("\n\nAssistant:") for pair in pairs)
