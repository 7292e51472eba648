"""Rules about runs that are held, stopped, killed, asked, or driven out of the finite."""

from __future__ import annotations

import math
import signal

from rlhf_sdk.checkpoints import checkpoint_name, latest_good
from rlhf_sdk.contract.attempts import Ending
from rlhf_sdk.contract.config_reads import changed, value_at
from rlhf_sdk.contract.finding import Judgement
from rlhf_sdk.contract.rehearsal import Act
from rlhf_sdk.contract.trial import Trial, how_it_ended
from rlhf_sdk.events import CommandAcknowledged, MetricsLogged
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.run_dir import RunDir

STOPPED = 128 + signal.SIGTERM
KILLED = 128 + signal.SIGKILL
RATES = ("lr", "learning_rate")
HUGE = 1e300
HOSTILE = "\x1b]0;title\x07\x1b[31m \u202e[bold] \x00\r\n" + "x" * 10_000
RESTORE = "save and load everything that step depends on; make the rest a function of seed and step"
LEAVE = "can_leave() may be True only where the step can be done again from what save writes"
PASS = Judgement("pass")


def pause(trial: Trial) -> Judgement:
    """a run that is held goes on as if nothing had been"""
    run, ending = trial.struck(Act(how="pause", step=trial.middle))
    if ending.status != 0 or not ending.held:
        found = "was never held" if ending.status == 0 else how_it_ended(run, ending, trial.request.seconds)
        return Judgement("fail", found, "let run.safe_point() through; see paused() and resumed()")
    return _equal(trial.difference(run), "nothing may depend on the clock")


def stop(trial: Trial) -> Judgement:
    """SIGTERM between steps leaves a checkpoint, exit code 143, and a resume to the same bits"""
    run, ending = trial.struck(Act(how="terminate", step=trial.middle))
    return _stopped(trial, run, ending, RESTORE)


def stop_inside(trial: Trial) -> Judgement:
    """SIGTERM inside a step: exit code 143, and a resume to the same bits"""
    step = trial.middle
    seen = trial.straight[1].seen
    if not seen.safe_points:
        return Judgement("skipped", "no safe points inside a step")
    advice = LEAVE if seen.interruptible else RESTORE
    judged = PASS
    for place in sorted({1, seen.safe_points}):
        run, ending = trial.struck(Act(how="terminate", step=step, place=place))
        judged = _stopped(trial, run, ending, advice)
        if judged.state != "pass":
            break
    return judged


def _stopped(trial: Trial, run: RunDir, ending: Ending, advice: str) -> Judgement:
    if ending.status != STOPPED:
        asked = f"after SIGTERM it {how_it_ended(run, ending, trial.request.seconds)}"
        return Judgement("fail", asked, "catch neither Interrupted nor BaseException, and install no signal handlers")
    if "checkpoint" in trial.answer["capabilities"]:
        newest, damaged = latest_good(run.checkpoints)
        if newest is None or damaged:
            return Judgement("fail", f"left no good checkpoint {damaged or ''}".strip(), "see save(directory)")
    return _equal(trial.resumed(run), advice)


def kill(trial: Trial) -> Judgement:
    """kill -9, then resume from the checkpoint before: the same metrics, samples and weights, bit for bit"""
    run, ending = trial.struck(Act(how="kill", step=trial.middle))
    if ending.status != KILLED:
        return Judgement("fail", how_it_ended(run, ending, trial.request.seconds), "see its output.log")
    checkpoint = run.checkpoints / checkpoint_name(trial.middle - 1)
    if "checkpoint" in trial.answer["capabilities"] and not checkpoint.is_dir():
        return Judgement("fail", "the checkpoint of the step before is gone", "save writes into its directory alone")
    return _equal(trial.resumed(run), RESTORE)


def sampling(trial: Trial) -> Judgement:
    """samples on request are answered, also for hostile prompts, and change nothing"""
    step = trial.middle
    if not trial.straight[1].seen.sampler:
        return Judgement("skipped", "has no sample(prompts)")
    for prompts in ([], [HOSTILE, ""]):
        run, ending = trial.struck(Act(how="sample", step=step, prompts=prompts))
        if ending.status != 0:
            return Judgement("fail", how_it_ended(run, ending, trial.request.seconds), "refuse a prompt by UserError")
        answers = [event for event in run.events() if isinstance(event, CommandAcknowledged)]
        if answers[-1].outcome != "done" and not prompts:
            return Judgement("fail", answers[-1].message, "with no prompts, take the first few of the trainer's own")
        if found := trial.difference(run):
            return Judgement("fail", found, "put random states and modes back after sampling")
    return PASS


def diverges(trial: Trial) -> Judgement:
    """a loss that is not finite ends the run with exit code 4"""
    settings = trial.request.diverging or _huge_rate(trial)
    if not settings:
        return Judgement("skipped", "no learning rate is known", "say what makes it diverge: --diverge NAME.KEY=VALUE")
    config = trial.config
    for key, value in settings.items():
        config = changed(config, key, value)
    run, ending = trial.run_with(config)
    shown = ", ".join(f"{key} = {value}" for key, value in settings.items())
    if ending.status == ExitCode.USER_ERROR:
        return Judgement("skipped", f"refuses {shown}", "say what makes it diverge: --diverge NAME.KEY=VALUE")
    if ending.status == ExitCode.DIVERGED:
        return Judgement("pass", f"with {shown}")
    logged = [event for event in run.events() if isinstance(event, MetricsLogged)] if run.events_file.exists() else []
    finite = all(math.isfinite(value) for event in logged for value in event.values.values())
    if ending.status == 0 and finite:
        return Judgement("skipped", f"stays finite with {shown}", "say what makes it diverge: --diverge NAME.KEY=VALUE")
    ended = how_it_ended(run, ending, trial.request.seconds)
    found = "goes on with figures that are not finite" if ending.status == 0 else ended
    return Judgement("fail", f"with {shown} it {found}", "raise DivergedError before the update is made")


def _huge_rate(trial: Trial) -> dict[str, float]:
    """A learning rate far above any, where the config has one that is in use."""
    keys = [option["key"] for option in trial.answer["options"] if option["key"].rpartition(".")[2] in RATES]
    return {key: HUGE for key in keys if value_at(trial.config, key)}


def _equal(difference: str, advice: str) -> Judgement:
    return Judgement("fail", difference, advice) if difference else PASS
