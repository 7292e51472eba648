"""Reward models on votes of people beside other comparisons, and what a trained one says of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import torch

from rlhf_engine.config import InitConfig, ModelConfig, OptimizerConfig, RMConfig, TokenizerConfig
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.data.world import demonstrations
from rlhf_engine.models import load_policy, save_model
from rlhf_engine.reward_modeling import head_scores_by_group
from rlhf_plugins.rm.scoring import score
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_sdk.preferences import PreferenceStore, Verdict, new_vote
from rlhf_sdk.references import pin, resolve
from rlhf_sdk.spec import ScoreRequest
from rlhf_sdk.vote_sources import VoteFiles
from test_trainers_resume import started, steps, world

PROMPT = "SUBREDDIT: r/advice\n\nTITLE: tea {}\n\nPOST: my sister left . should i call her ?\n\nTL;DR:"
TEXTS = ("my sister left .", "should i call her ?")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("policy")
    texts = [f"{row['post']} {row['summary']}" for row in demonstrations(60, seed=0)]
    tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=500), "", lambda: texts)
    init = InitConfig(hidden_size=16, layers=1, heads=2, max_positions=256, initializer_range=0.2)
    torch.manual_seed(0)
    save_model(load_policy(ModelConfig(init=init), tokenizer, torch.device("cpu")), tokenizer, directory)
    return str(directory)


def config_of(policy: str, root: Path, others: Sequence[str]) -> RMConfig:
    """On six votes, three of which prefer something."""
    store = PreferenceStore(root)
    verdicts: list[Verdict] = ["left", "right", "tie", "both_bad", "left", "left"]
    for number, verdict in enumerate(verdicts):
        prompt = PROMPT.format(min(number, 4))
        store.append(new_vote(prompt, TEXTS, verdict, policies=("a", "b"), labeller="anna"))
    pinned, _ = pin(root, {"source": ["preferences", *others]})
    sources = resolve(root, pinned, VoteFiles(root / "data"))["source"]
    return RMConfig(
        model=ModelConfig(path=policy),
        optimizer=OptimizerConfig(lr=1e-2),
        data=msgspec.structs.replace(world(3, 4 if others else 0), source=sources),
        batch_size=2,
        micro_batch_size=2,
        heads=2,
        norm_data=world(5, 8),
        norm_rows=8,
        score_norm="bias_on_references",
    )


def test_votes_are_trained_on_alone_or_beside_other_comparisons(policy: str, tmp_path: Path) -> None:
    sizes = {}
    for others in ([], ["world"]):
        root = tmp_path / "-".join(["votes", *others])
        trainer, run = started(RewardModelTrainer(), config_of(policy, root, others), root / "run")
        assert isinstance(trainer, RewardModelTrainer)
        votes = [group for group in trainer.groups if group.prompt.text.startswith("SUBREDDIT: r/advice\n\nTITLE: tea")]
        sizes[tuple(others)] = len(trainer.groups), len(votes)
        assert [group.responses[group.pairs[0][0]] for group in votes] == [TEXTS[0], TEXTS[1], TEXTS[0]]
        assert any("2 comparisons undecided" in note for note in run.notes)
        assert steps(trainer, 1)[0]["loss/pairwise"] > 0
    assert sizes == {(): (3, 3), ("world",): (7, 3)}


def test_a_trained_model_scores_texts_as_its_trainer_does(policy: str, tmp_path: Path) -> None:
    trainer, _ = started(RewardModelTrainer(), config_of(policy, tmp_path, []), tmp_path / "run")
    assert isinstance(trainer, RewardModelTrainer)
    steps(trainer, 2)
    trainer.finish()
    trainer.save(tmp_path / "checkpoint")
    with torch.no_grad():
        by_group = head_scores_by_group(
            trainer.state.reward_model, trainer.groups, 2, compute="float32", hooks=trainer.run
        )
    expected = [heads for group in by_group for heads in group.tolist()]
    texts = [(group.prompt.text, text) for group in trainer.groups for text in group.responses]
    found = list(score(ScoreRequest(str(tmp_path / "checkpoint" / "model"), trainer.config, texts)))
    assert len(found) == 6 and len(found[0]) == 2
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=1e-5)
