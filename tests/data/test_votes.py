"""Votes of people, as a reward model reads them."""

import json
from pathlib import Path

import pytest

from rlhf_engine.config import DataConfig, TokenizerConfig
from rlhf_engine.data.api import load_comparisons
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.errors import DataError
from rlhf_engine.hooks import NoHooks
from rlhf_sdk.preferences import FILE, PreferenceStore, Verdict, new_vote
from rlhf_sdk.references import pin, resolve
from rlhf_sdk.vote_sources import VoteFiles

PROMPT = "SUBREDDIT: r/advice\n\nTITLE: tea {}\n\nPOST: which one ?\n\nTL;DR:"
VERDICTS: list[Verdict] = ["left", "right", "tie", "both_bad", "tie"]


def voted(root: Path) -> PreferenceStore:
    """One vote of each kind, each on a prompt of its own."""
    store = PreferenceStore(root)
    for number, verdict in enumerate(VERDICTS):
        texts = f"first {number}", f"other {number}"
        vote = new_vote(PROMPT.format(number), texts, verdict, policies=("a", "b"), labeller="anna", note="so it is")
        store.append(vote)
    return store


def data_of(root: Path) -> DataConfig:
    """As a run of this root would read it."""
    pinned, _ = pin(root, {"data": {"source": ["preferences"]}})
    resolved = resolve(root, pinned, VoteFiles(root / "run" / "data"))
    return DataConfig(source=resolved["data"]["source"], max_bad_share=0.2)


def test_votes_are_comparisons_and_those_that_prefer_nothing_are_left_out(tmp_path: Path) -> None:
    voted(tmp_path)
    tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=400), "", lambda: [PROMPT] * 5)
    groups = load_comparisons(data_of(tmp_path), tokenizer, hooks=NoHooks(), cache_dir=tmp_path / "cache")
    assert [(group.prompt.text, group.responses, group.pairs) for group in groups] == [
        (PROMPT.format(0), ["first 0", "other 0"], [(0, 1)]),
        (PROMPT.format(1), ["other 1", "first 1"], [(0, 1)]),
    ]
    assert groups.report.counts["comparisons undecided"] == 3
    assert not groups.report.skipped


def test_a_vote_that_cannot_be_used_is_named_by_its_row_in_the_store(tmp_path: Path) -> None:
    store = voted(tmp_path)
    with (tmp_path / FILE).open("a") as stream:
        stream.write(json.dumps({"prompt": "p", "verdict": "left"}) + "\n")
    store.append(new_vote(PROMPT.format(9), ("", "said"), "left", policies=("a", "b"), labeller="anna"))
    tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=400), "", lambda: [PROMPT] * 5)
    with pytest.raises(DataError) as caught:
        load_comparisons(data_of(tmp_path), tokenizer, hooks=NoHooks(), cache_dir=tmp_path / "cache")
    assert "preferences-7.jsonl:6: not an object: " in str(caught.value) and "missing required" in str(caught.value)
    assert "preferences-7.jsonl:7: chosen is empty" in str(caught.value)
