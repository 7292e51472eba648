"""Pairs in miniature: chosen as asked, labelled by annotators, a judge or people, the same when done again."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from recording_run import RecordingRun
from rlhf_engine.config import AnnotatorConfig, DataConfig, JudgeConfig, ModelConfig, PairsConfig
from rlhf_engine.data.formatting import response_tokens
from rlhf_engine.data.world import Annotators, generate_posts
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import load_scalar_model, response_head_scores
from rlhf_plugins.pairs.labels import FILE, annotators_labels, settled_labels
from rlhf_plugins.pairs.trainer import PairsTrainer
from rlhf_sdk.asked_pairs import PAIRS_FILE, Pair, read_pairs
from rlhf_sdk.preferences import PreferenceStore, Verdict, new_vote
from rlhf_sdk.trainer import Interrupted, UserError
from tiny_runs import build_models, world

CHOSEN = 5


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return build_models(tmp_path_factory.mktemp("models"))


def config_of(models: dict[str, str], **changes: Any) -> PairsConfig:
    plain = PairsConfig(
        model=ModelConfig(path=models["policy"]),
        reward_model=ModelConfig(path=models["ensemble"]),
        data=msgspec.convert(world(31, 40), DataConfig),
        prompts=20,
        pairs=CHOSEN,
        labeller="annotators",
        temperature=1.0,
        response_tokens=8,
        batch_size=8,
        device="cpu",
        seed=3,
    )
    return msgspec.structs.replace(plain, **changes)


def begun(config: PairsConfig, folder: Path) -> PairsTrainer:
    trainer = PairsTrainer()
    trainer.runtime.start(config.seed)
    trainer.setup(RecordingRun(config, folder))
    return trainer


def pairs_of(folder: Path) -> list[Pair]:
    found = read_pairs(folder / "data")
    assert found is not None
    return found


def test_the_least_sure_of_all_pairs_are_chosen(models: dict[str, str], tmp_path: Path) -> None:
    """Against every pair there is, scored again one response at a time, without a shared prompt."""
    begun(config_of(models, pairs=20), tmp_path / "all").step()
    everything = pairs_of(tmp_path / "all")
    assert all(pair.responses[0] != pair.responses[1] for pair in everything)
    trainer = begun(config_of(models), tmp_path / "scorer")
    reward_model = load_scalar_model(ModelConfig(path=models["ensemble"]), trainer.tokenizer, trainer.device).eval()

    def head_scores(pair: Pair, place: int) -> torch.Tensor:
        tokens = response_tokens(pair.responses[place], trainer.tokenizer, 9)
        ids = {"eos_id": trainer.tokenizer.eos_token_id, "pad_id": trainer.tokenizer.pad_token_id}
        rollout = Rollout.of_texts([trainer.prompts[pair.index].tokens], [tokens], **ids, device=trainer.device)
        with torch.no_grad():
            return response_head_scores(reward_model, rollout)[0]

    margins = [head_scores(pair, 0) - head_scores(pair, 1) for pair in everything]
    for pair, margin in zip(everything, margins, strict=True):
        assert pair.margin == pytest.approx(float(margin.mean()), abs=1e-4)
        assert pair.disagreement == pytest.approx(float(margin.std(correction=0)), abs=1e-4)
    orders = {
        "near_ties": sorted(range(len(everything)), key=lambda place: abs(float(margins[place].mean()))),
        "disagreement": sorted(range(len(everything)), key=lambda place: -float(margins[place].std(correction=0))),
    }
    for choose, order in orders.items():
        begun(config_of(models, choose=choose), tmp_path / choose).step()
        assert pairs_of(tmp_path / choose) == [everything[place] for place in sorted(order[:CHOSEN])]


def test_rounds_share_no_prompt_and_no_noise(models: dict[str, str], tmp_path: Path) -> None:
    for number in (1, 2):
        begun(config_of(models, round=number, pairs=20), tmp_path / str(number)).step()
    first, second = (pairs_of(tmp_path / str(number)) for number in (1, 2))
    assert not {pair.index for pair in first} & {pair.index for pair in second}
    assert not {pair.responses[0] for pair in first} & {pair.responses[0] for pair in second}


def test_annotators_label_as_often_as_they_should() -> None:
    """The share that prefers the first response is the pool's own probability, within four standard errors."""
    posts = list(generate_posts(1, seed=5))
    from rlhf_engine.data.examples import Prompt

    texts = (f"{posts[0].title} .", "my boss is difficult .")
    prompts = [Prompt("p", "p", [1], None, posts[0].to_record())]
    pairs = [Pair(index=0, prompt="p", responses=texts, policies=("a", "b"))] * 2000
    found = annotators_labels(pairs, prompts, AnnotatorConfig(annotator_temperature=2.0), seed="x")
    share = sum(line["chosen"] == texts[0] for line in found) / len(found)
    chance = Annotators(temperature=2.0).probability_first(posts[0], *texts)
    assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / len(found))
    assert {line["rejected"] for line in found} == set(texts)


def test_labelled_pairs_can_be_trained_on(models: dict[str, str], tmp_path: Path) -> None:
    trainer = begun(config_of(models), tmp_path / "run")
    chosen, labelled = trainer.step(), trainer.step()
    assert chosen is not None and labelled is not None and trainer.step() is None
    assert labelled["pairs/labelled"] == CHOSEN and 0 <= labelled["accuracy/gold"] <= 1
    (tmp_path / "checkpoint").mkdir()
    trainer.save(tmp_path / "checkpoint")
    lines = [json.loads(line) for line in (tmp_path / "checkpoint" / "comparisons" / FILE).read_text().splitlines()]
    pairs = pairs_of(tmp_path / "run")
    assert [{line["chosen"], line["rejected"]} for line in lines] == [set(pair.responses) for pair in pairs]
    agreed = [(pair.margin or 0.0) > 0 for pair in pairs]
    truth = [line["chosen"] == pair.responses[0] for line, pair in zip(lines, pairs, strict=True)]
    assert labelled["accuracy/labels"] == sum(a == t for a, t in zip(agreed, truth, strict=True)) / CHOSEN


def vote(folder: Path, pairs: list[Pair], verdict: Verdict = "left", labeller: str = "ann") -> None:
    """On pairs as they stand for "left", the other way round for "right": the first response is preferred in both."""
    store = PreferenceStore(folder)
    for pair in pairs:
        shown = pair.responses if verdict == "left" else pair.responses[::-1]
        store.append(new_vote(pair.prompt, shown, verdict, policies=pair.policies, labeller=labeller))


class WaitingRun(RecordingRun):
    """A run whose safe points say that it waits."""

    waits = 0

    def safe_point(self) -> None:
        self.waits += 1


def test_people_are_waited_for_and_their_labels_taken(models: dict[str, str], tmp_path: Path) -> None:
    trainer = begun(config_of(models, labeller="people"), tmp_path / "run")
    run = WaitingRun(trainer.config, tmp_path / "run")
    trainer.run = run
    trainer.step()
    pairs = pairs_of(tmp_path / "run")
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(trainer.step()))
    vote(tmp_path, pairs[:3], "right")
    thread.start()
    deadline = time.monotonic() + 60
    while run.waits < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not done, "three of five pairs are labelled, so there is something to wait for"
    vote(tmp_path, pairs[3:])
    thread.join(60)
    assert done[0]["pairs/labelled"] == CHOSEN
    lines = [json.loads(line) for line in (tmp_path / "run/data/comparisons" / FILE).read_text().splitlines()]
    assert [line["chosen"] for line in lines] == [pair.responses[0] for pair in pairs]


def test_of_other_votes_and_contradictions_none_is_taken(tmp_path: Path) -> None:
    pairs = [Pair(index=i, prompt=f"p{i}", responses=("one", "two"), policies=("a", "b")) for i in range(3)]
    other = Pair(index=9, prompt="elsewhere", responses=("one", "two"), policies=("a", "b"))
    vote(tmp_path, [other, pairs[2], pairs[0]])
    vote(tmp_path, [pairs[0]], "right")
    vote(tmp_path, [pairs[2]], "tie", "bob")
    PreferenceStore(tmp_path).append(
        new_vote("p0", ("two", "one"), "left", policies=("b", "a"), labeller="ann", repeat_of="x")
    )
    found = settled_labels(pairs, PreferenceStore(tmp_path))
    assert [(line["prompt"], line["chosen"]) for line in found] == [("p0", None), ("p2", "one")]


def test_enough_labels_are_enough(models: dict[str, str], tmp_path: Path) -> None:
    trainer = begun(config_of(models, labeller="people", labels_wanted=2), tmp_path / "run")
    trainer.step()
    vote(tmp_path, pairs_of(tmp_path / "run")[1:3])
    labelled = trainer.step()
    assert labelled is not None and labelled["pairs/labelled"] == 2


def test_pairs_that_people_see_stay_whatever_happens(models: dict[str, str], tmp_path: Path) -> None:
    """Cut off while it waited, and begun anew with another seed: it asks about what it has asked about."""
    begun(config_of(models, labeller="people"), tmp_path / "run").step()
    asked = (tmp_path / "run" / "data" / PAIRS_FILE).read_bytes()

    class Leaving(RecordingRun):
        def safe_point(self) -> None:
            raise Interrupted

    again = begun(config_of(models, labeller="people", seed=4), tmp_path / "run")
    again.step()
    again.run = Leaving(again.config, tmp_path / "run")
    with pytest.raises(Interrupted):
        again.step()
    assert again.can_leave() and (tmp_path / "run" / "data" / PAIRS_FILE).read_bytes() == asked


def likes_more_words(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    longer = [len(question["first"]) > len(question["second"]) for question in asked]
    return [
        {"index": q["index"], "choice": "first" if more else "second"} for q, more in zip(asked, longer, strict=True)
    ]


def test_a_judge_is_asked_in_both_orders(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLHF_JUDGE_PROGRAMS", "allow")
    judge = JudgeConfig(kind="python", function=f"{__name__}:likes_more_words")
    trainer = begun(config_of(models, labeller="judge", judge=judge), tmp_path / "run")
    trainer.step()
    trainer.step()
    lines = [json.loads(line) for line in (tmp_path / "run/data/comparisons" / FILE).read_text().splitlines()]
    assert len(lines) == CHOSEN
    for line, pair in zip(lines, pairs_of(tmp_path / "run"), strict=True):
        lengths = [len(text) for text in pair.responses]
        longest = max(pair.responses, key=len)
        assert line["chosen"] == (None if lengths[0] == lengths[1] else longest)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"pairs": 21}, "pairs: 21 can't be chosen from prompts = 20"),
    ({"labels_wanted": 6}, "labels_wanted: 6 is more than pairs = 5"),
    ({"model": ModelConfig()}, "model.path"),
    ({"choose": "near_ties", "reward_model": ModelConfig()}, "choose: 'near_ties' asks a reward model"),
    ({"labeller": "judge"}, "judge.kind: 'none' labels nothing"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistakes_are_told_before_anything_is_sampled(
    models: dict[str, str], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        begun(config_of(models, **changes), tmp_path)
    assert not (tmp_path / "data" / PAIRS_FILE).exists()


def test_one_head_disagrees_with_nobody(models: dict[str, str], tmp_path: Path) -> None:
    one = ModelConfig(path=models["reward_model"])
    with pytest.raises(UserError, match="one head disagrees with nobody"):
        begun(config_of(models, choose="disagreement", reward_model=one), tmp_path)
