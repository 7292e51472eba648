"""Rules about an undisturbed run."""

from __future__ import annotations

import math

from rlhf_sdk.contract.finding import Judgement
from rlhf_sdk.contract.trial import Trial, how_it_ended, listed
from rlhf_sdk.events import PhaseEnded, Started

FEWEST_STEPS = 4
LONGEST_GAP_SECONDS = 1.0
LOSSES = ("loss", "grad")
OWN = {
    "run.json", "events.jsonl", "samples.jsonl", "heartbeat", "commands", "checkpoints", "data", "output.log", "memory",
    "crash.json",
}  # fmt: skip
PASS = Judgement("pass")


def runs(trial: Trial) -> Judgement:
    """a run starts, does the steps that it announced, and ends with exit code 0"""
    trial.need_config()
    run, ending = trial.straight
    if ending.status != 0:
        return Judgement("fail", how_it_ended(run, ending, trial.request.seconds), "`rlhf run NAME` shows the same")
    announced = next(event.total_steps for event in run.events() if isinstance(event, Started))
    done = len(trial.metrics)
    if announced != done:
        advice = "set total_steps in setup; step returns None when nothing is left"
        return Judgement("fail", f"announced {announced} steps, did {done}", advice)
    if done < FEWEST_STEPS:
        advice = "rules about interruptions need more: --set"
        return Judgement("warn", f"{done} steps, so little can be tried", advice)
    return Judgement("pass", f"{done} steps")


def metrics(trial: Trial) -> Judgement:
    """each step logs figures that are finite"""
    if not all(event.values for event in trial.metrics):
        return Judgement("fail", "a step logged nothing", "return a figure or more from step")
    values = [item for event in trial.metrics for item in event.values.items()]
    spoiled = sorted({name for name, value in values if not math.isfinite(value)})
    losses = [name for name in spoiled if any(word in name for word in LOSSES)]
    if losses:
        return Judgement("fail", f"went on with {listed(losses)} not finite", "raise DivergedError before the update")
    if spoiled:
        return Judgement("warn", f"not finite: {listed(spoiled)}", "leave out a figure that has no value")
    return Judgement("pass", listed(sorted(trial.metrics[0].values)))


def panels(trial: Trial) -> Judgement:
    """what panels and headline show is logged"""
    logged = {name for event in trial.metrics for name in event.values}
    answer = trial.answer
    groups = [*([name] for name in answer["headline"]), *(panel["metrics"] for panel in answer["panels"])]
    empty = sorted({name for group in groups if not logged.intersection(group) for name in group})
    if empty:
        return Judgement("fail", f"never logged: {listed(empty)}", "their charts would stay empty: see the spelling")
    missing = sorted({name for group in groups for name in group} - logged)
    if missing:
        advice = "those that only other settings log may stay; see the spelling of the others"
        return Judgement("warn", f"not logged here: {listed(missing)}", advice)
    if not answer["headline"]:
        return Judgement("warn", "no headline", "name the two or three metrics that matter")
    return PASS


def samples(trial: Trial) -> Judgement:
    """samples have the columns that were declared"""
    declared = [column["metric"] for column in trial.answer["sample_columns"]]
    if not trial.samples:
        advice = "call run.sample(...), so that people can read what the policy writes"
        return Judgement("fail" if declared else "warn", "no samples", advice)
    missing = [name for name in declared if not any(name in sample.metrics for sample in trial.samples)]
    if missing:
        return Judgement("fail", f"in no sample: {listed(missing)}", "give them as metrics of run.sample")
    return Judgement("pass", f"{len(trial.samples)} samples")


def own_place(trial: Trial) -> Judgement:
    """it writes nothing beside data/ in the run directory"""
    strangers = sorted(
        path.name for path in trial.finished.path.iterdir() if path.name not in OWN and path.name[0] != "."
    )
    if strangers:
        return Judgement("fail", f"wrote {listed(strangers)}", 'write below run.directory / "data"')
    return PASS


def safe_points(trial: Trial) -> Judgement:
    """no more than a second passes without a safe point"""
    trial.need_finished()
    seen = trial.straight[1].seen
    if seen.longest_gap_seconds > LONGEST_GAP_SECONDS:
        found = f"{seen.longest_gap_seconds:.1f} s without one, after {seen.longest_gap_step} steps"
        return Judgement("warn", found, "call run.safe_point() between micro-batches: a pause waits for it")
    return Judgement("pass", f"at most {seen.longest_gap_seconds:.2g} s, {seen.safe_points} in a step")


def phases(trial: Trial) -> Judgement:
    """a step names its phases"""
    named = sorted({event.name for event in trial.finished.events() if isinstance(event, PhaseEnded)} - {"checkpoint"})
    if not named:
        return Judgement("warn", "none", 'with run.phase("rollout"): times, memory and crashes are told by them')
    return Judgement("pass", listed(named))


def repeats(trial: Trial) -> Judgement:
    """the same config and seed make the same run, in another process"""
    trial.need_finished()
    run, ending = trial.run_elsewhere()
    if ending.status != 0:
        return Judgement("fail", how_it_ended(run, ending, trial.request.seconds), "see its output.log")
    if found := trial.difference(run):
        advice = "seed everything from run.seed; no clock, no order of sets, no global generator"
        return Judgement("fail", found, advice)
    return PASS
