"""Votes of the console, as a reward model reads them."""

from pathlib import Path

from rlhf_console.runs.votes import FILE, Verdict, Voting
from rlhf_engine.config import DataConfig, TokenizerConfig
from rlhf_engine.data.api import load_comparisons
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.hooks import NoHooks
from rlhf_sdk.events import Sample

PROMPT = "SUBREDDIT: r/advice\n\nTITLE: tea {}\n\nPOST: which one ?\n\nTL;DR:"
VERDICTS: list[Verdict] = ["left", "right", "tie", "both_bad", "tie"]


def test_votes_are_comparisons_and_those_that_prefer_nothing_are_left_out(tmp_path: Path) -> None:
    voting = Voting(tmp_path)
    for number, verdict in enumerate(VERDICTS):
        texts = (f"first {number}", f"other {number}")
        pair = [Sample(tag="t", index=0, prompt=PROMPT.format(number), response=text) for text in texts]
        voting.vote((pair[0], pair[1]), ("a", "b"), verdict, blind=True, note="so it is")
    tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=400), "", lambda: [PROMPT] * 5)
    config = DataConfig(source=[str(tmp_path / FILE)], max_bad_share=0.0)
    groups = load_comparisons(config, tokenizer, hooks=NoHooks(), cache_dir=tmp_path / "cache")
    assert [(group.prompt.text, group.responses, group.pairs) for group in groups] == [
        (PROMPT.format(0), ["first 0", "other 0"], [(0, 1)]),
        (PROMPT.format(1), ["other 1", "first 1"], [(0, 1)]),
    ]
    assert groups.report.counts["comparisons undecided"] == 3
    assert not groups.report.skipped
