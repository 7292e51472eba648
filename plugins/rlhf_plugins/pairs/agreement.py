"""How often a reward model sides with the labels, and in the built-in world with gold."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.world import Post, gold_score
from rlhf_plugins.pairs.labels import Comparison
from rlhf_sdk.asked_pairs import Pair


def agreement(pairs: Sequence[Pair], comparisons: Sequence[Comparison], prompts: Sequence[Prompt]) -> dict[str, float]:
    """`accuracy/labels` over the decided pairs, `accuracy/gold` over those of different gold; ties count one half.

    The pairs are new to the reward model, so this is its accuracy on what the policy writes now. Nothing of pairs that
    no reward model has scored.
    """
    chosen = {(line["prompt"], frozenset((line["chosen"], line["rejected"]))): line["chosen"] for line in comparisons}
    by_label, by_gold = list[float](), list[float]()
    for pair in pairs:
        if pair.margin is None:
            continue
        preferred = chosen.get((pair.prompt, frozenset(pair.responses)))
        if preferred is not None:
            by_label.append(_credit(pair.margin, preferred == pair.responses[0]))
        record = prompts[pair.index].record
        if "latents" in record:
            first, second = (gold_score(Post.from_record(record), text) for text in pair.responses)
            by_gold += [_credit(pair.margin, first > second)] * (first != second)
    figures = {"accuracy/labels": by_label, "accuracy/gold": by_gold}
    return {name: sum(credits) / len(credits) for name, credits in figures.items() if credits}


def _credit(margin: float, first_is_better: bool) -> float:
    return 0.5 if margin == 0 else float((margin > 0) == first_is_better)
