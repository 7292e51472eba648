"""A judge in an evaluation: tables, figures, what is asked, and going on after a stop."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlhf_engine.config import JudgeConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.eval.judged import Match
from rlhf_engine.eval.policies import Responses
from rlhf_engine.eval.table import Comparison, Resampling
from rlhf_engine.hooks import NoHooks
from rlhf_plugins.eval.judging import judged_report, matches_of, score_judge
from rlhf_plugins.judges.command import CommandJudge
from rlhf_plugins.judges.function import FunctionJudge

PROMPTS = [f"post {row}" for row in range(40)]


def responses(texts: list[str], gold: list[float]) -> Responses:
    lengths = [len(text) for text in texts]
    nothing: dict[str, Any] = {name: [] for name in ("kl_nats", "rouge_l", "title_copying")}
    return Responses(texts=texts, ended=[True] * len(texts), tokens=lengths, gold=gold, proxy=gold, **nothing)


def of_lengths(lengths: list[int], letter: str) -> Responses:
    """Gold is the length: longer is better."""
    return responses([letter * length for length in lengths], [float(length) for length in lengths])


SFT = of_lengths([10 + row % 3 for row in range(40)], "s")
PPO = of_lengths([10 + row % 4 for row in range(40)], "p")
REFERENCES = of_lengths([12] * 40, "r")


def matches(references: Responses | None = REFERENCES, posts: list[str] = PROMPTS) -> list[Match]:
    resampling = Resampling(posts, 100, 0)
    return matches_of([Comparison(1.0, {"sft": SFT, "ppo": PPO}, references, resampling, {})])


def prefers_longer(asked: list[dict[str, Any]]) -> Any:
    for question in asked:
        difference = len(question["first"]) - len(question["second"])
        choice = "tie" if not difference else "first" if difference > 0 else "second"
        yield {"index": question["index"], "choice": choice}


def prefers_the_first(asked: list[dict[str, Any]]) -> Any:
    return [{"index": question["index"], "choice": "first"} for question in asked]


def report(judge: Any, folder: Path, found: list[Match] | None = None) -> dict[str, Any]:
    return judged_report(judge, PROMPTS, matches() if found is None else found, folder, NoHooks())


def function(name: str) -> FunctionJudge:
    return FunctionJudge(f"test_judged_evaluation:{name}")


def test_every_policy_meets_the_baseline_and_the_references() -> None:
    assert [match.title for match in matches()] == ["ppo vs sft", "sft vs reference", "ppo vs reference"]
    assert [match.title for match in matches(references=None)] == ["ppo vs sft"]


def test_figures_follow_from_the_lengths(tmp_path: Path) -> None:
    found = report(function("prefers_longer"), tmp_path)
    outcomes = Counter((own > other) - (own < other) for own, other in zip(PPO.tokens, SFT.tokens, strict=True))
    figures = found["figures"]
    prefix = "judge/ppo/temperature_1"
    assert [figures[f"{prefix}/{name}_vs_sft"] for name in ("wins", "ties", "losses", "no_vote")] == [
        outcomes[1],
        outcomes[0],
        outcomes[-1],
        0,
    ]
    assert figures[f"{prefix}/win_rate_vs_sft"] == pytest.approx((outcomes[1] + outcomes[0] / 2) / 40)
    assert figures[f"{prefix}/consistent_share_vs_sft"] == 1.0
    assert figures[f"{prefix}/agreement_with_gold_vs_sft"] == 1.0
    assert figures[f"{prefix}/kappa_with_proxy_vs_sft"] == pytest.approx(1.0)
    assert figures["judge/answers"] == figures["judge/questions"] == 40 * 3 * 2
    assert found["problems"] == []


def test_scores_judge_as_the_table_of_policies_does(tmp_path: Path) -> None:
    found = report(score_judge(PROMPTS, matches()), tmp_path)
    plain = Comparison(1.0, {"sft": SFT, "ppo": PPO}, REFERENCES, Resampling(PROMPTS, 100, 0), {}).figures()
    for name in ("win_rate_vs_sft", "win_rate_vs_reference"):
        for end in ("", "_low", "_high"):
            key = f"ppo/temperature_1/{name}{end}"
            judged = f"judge/ppo/temperature_1/win_rate{end}_vs_{name.rpartition('_')[2]}"
            assert found["figures"][judged] == plain[key]


def test_a_judge_that_always_says_first_is_seen_and_gives_one_half(tmp_path: Path) -> None:
    found = report(function("prefers_the_first"), tmp_path)
    (problem,), figures = found["problems"], found["figures"]
    assert problem.startswith("the text shown first won 100% of the decided answers, and 0% of the pairs kept")
    assert ["problem", problem] in found["tables"][-1]["rows"]
    prefix = "judge/ppo/temperature_1"
    assert figures[f"{prefix}/win_rate_vs_sft"] == 0.5
    assert figures[f"{prefix}/first_share_vs_sft"] == 1.0
    assert figures[f"{prefix}/consistent_share_vs_sft"] == 0.0
    assert figures[f"{prefix}/rate_shown_first_vs_sft"] == 1.0
    assert figures[f"{prefix}/rate_shown_second_vs_sft"] == 0.0


def test_tables_are_whole_and_say_what_was_asked(tmp_path: Path) -> None:
    tables = {table["title"]: table for table in report(function("prefers_longer"), tmp_path)["tables"]}
    name = "test_judged_evaluation:prefers_longer"
    assert list(tables) == [
        f"Judged by {name}, temperature 1",
        f"Win rate by length, judged by {name}",
        f"Agreement of {name}",
        f"Asked of {name}",
    ]
    assert all(len(row) == len(table["columns"]) for table in tables.values() for row in table["rows"])
    curve = [row for row in tables[f"Win rate by length, judged by {name}"]["rows"] if row[0] == "ppo vs sft"]
    assert sum(row[3] for row in curve) == 40
    assert (curve[0][4], curve[-1][4]) == ("0.000 [0.000, 0.000]", "1.000 [1.000, 1.000]")


def test_no_answer_at_all_leaves_tables_without_rates(tmp_path: Path) -> None:
    found = report(CommandJudge([sys.executable, "-c", "import sys; sys.exit(3)"], 20.0), tmp_path)
    row = dict(zip(found["tables"][0]["columns"], found["tables"][0]["rows"][0], strict=True))
    assert (row["win rate"], row["no vote"], row["wins"]) == (None, 40, None)
    assert found["figures"]["judge/answers"] == 0
    assert ["problem", found["problems"][0]] in found["tables"][-1]["rows"]


def test_a_judge_that_stops_early_has_answered_as_much_about_every_match(tmp_path: Path) -> None:
    answering = 'import sys\nfor row in range(60): print(\'{"index": %d, "choice": "tie"}\' % row)'
    figures = report(CommandJudge([sys.executable, "-c", answering], 20.0), tmp_path)["figures"]
    assert figures["judge/ppo/temperature_1/ties_vs_sft"] == 10
    assert figures["judge/sft/temperature_1/ties_vs_reference"] == 10


def test_where_length_never_varies_nothing_is_said_of_it(tmp_path: Path) -> None:
    one_longer = of_lengths([length + 1 for length in SFT.tokens[:1]] * 40, "p")
    match = replace(matches()[0], responses=one_longer, others=of_lengths(SFT.tokens[:1] * 40, "s"))
    found = report(function("prefers_longer"), tmp_path, [match])
    row = dict(zip(found["tables"][0]["columns"], found["tables"][0]["rows"][0], strict=True))
    assert (row["win rate"], row["at equal length"]) == ("1.000 [1.000, 1.000]", None)
    assert [line[3] for line in found["tables"][1]["rows"]] == [40]


def test_equal_texts_of_two_policies_are_asked_about_once(tmp_path: Path) -> None:
    twin = [replace(match, name="twin") for match in matches()[:1]]
    asked = report(function("prefers_longer"), tmp_path, matches()[:1] + twin)["figures"]["judge/questions"]
    assert asked == 80


def test_scores_need_gold_or_a_reward_model() -> None:
    nothing = responses(SFT.texts, [])
    bare = [replace(match, responses=nothing, others=nothing) for match in matches()]
    with pytest.raises(ConfigError, match=r"set eval\.reward_model"):
        score_judge(PROMPTS, bare)


def test_nobody_to_compare_with_is_an_empty_report(tmp_path: Path) -> None:
    found = report(function("prefers_longer"), tmp_path, [])
    assert found["figures"]["judge/questions"] == 0


def test_verdicts_are_kept_with_their_reasons(tmp_path: Path) -> None:
    report(function("prefers_longer"), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert set(rows[0]) == {"prompt", "first", "second", "choice", "reason"}
    assert len(rows) == 240


def test_the_default_is_no_judge() -> None:
    assert JudgeConfig().kind == "none"
