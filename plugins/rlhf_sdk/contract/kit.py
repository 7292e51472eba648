"""The rules in their order, and what the kit finds of one plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rlhf_sdk.contract import rules_declared, rules_interrupted, rules_run
from rlhf_sdk.contract.finding import Finding, Judgement, Request, Unjudged
from rlhf_sdk.contract.trial import Trial
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

RULES: dict[str, Callable[[Trial], Judgement]] = {
    "declares": rules_declared.declares,
    "light": rules_declared.light,
    "config_type": rules_declared.config_type,
    "plain_names": rules_declared.plain_names,
    "memory_plan": rules_declared.memory_plan,
    "runs": rules_run.runs,
    "metrics": rules_run.metrics,
    "panels": rules_run.panels,
    "samples": rules_run.samples,
    "own_place": rules_run.own_place,
    "safe_points": rules_run.safe_points,
    "phases": rules_run.phases,
    "repeats": rules_run.repeats,
    "pause": rules_interrupted.pause,
    "stop": rules_interrupted.stop,
    "stop_inside": rules_interrupted.stop_inside,
    "kill": rules_interrupted.kill,
    "sampling": rules_interrupted.sampling,
    "diverges": rules_interrupted.diverges,
    "config_is_read": rules_declared.config_is_read,
}


def findings(request: Request) -> Iterator[Finding]:
    """One for each rule, as soon as it is judged. Raises `UserError` for a rule that is none."""
    for name in request.rules:
        if name not in RULES:
            raise UserError(f"no rule {name!r}; there is {', '.join(RULES)}.{nearest(name, RULES)}")
    with TemporaryDirectory(prefix="rlhf-contract-") as folder:
        trial = Trial(request, Path(folder))
        for name in request.rules or RULES:
            judged = _judge(RULES[name], trial)
            yield Finding(
                plugin=request.plugin,
                rule=name,
                demand=RULES[name].__doc__ or "",
                state=judged.state,
                found=judged.found,
                advice=judged.advice,
            )


def _judge(rule: Callable[[Trial], Judgement], trial: Trial) -> Judgement:
    try:
        return rule(trial)
    except Unjudged as reason:
        return Judgement("skipped", str(reason))
