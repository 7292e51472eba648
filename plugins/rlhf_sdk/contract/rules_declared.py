"""Rules about what a plugin declares."""

from __future__ import annotations

import time

from rlhf_sdk.contract.config_reads import another_value, changed, value_at
from rlhf_sdk.contract.finding import Judgement
from rlhf_sdk.contract.trial import Trial, listed, texts
from rlhf_sdk.exit_codes import ExitCode

SLOW_SECONDS = 1.0
TRYING_SECONDS = 30.0
"""How long keys that nobody was seen to read are tried."""
PASS = Judgement("pass")


def declares(trial: Trial) -> Judgement:
    """the entry point is a valid PluginSpec"""
    if "error" in trial.declared:
        return Judgement("fail", trial.declared["error"], "`python -m rlhf_sdk.describe NAME` shows the same")
    answer = trial.answer
    return Judgement("pass", f"{len(answer['options'])} options, {len(answer['panels'])} panels")


def light(trial: Trial) -> Judgement:
    """describing it is quick and needs no torch"""
    trial.need_answer()
    heavy, seconds = trial.declared["heavy"], trial.declared["seconds"]
    if heavy:
        return Judgement("fail", f"imports {listed(heavy)}", "import it in the trainer's module only")
    if seconds > SLOW_SECONDS:
        advice = "lists and forms ask for it: import less in the module of the entry point"
        return Judgement("warn", f"{seconds:.1f} CPU seconds", advice)
    return Judgement("pass", f"{seconds:.2f} CPU seconds")


def config_type(trial: Trial) -> Judgement:
    """the config is frozen, refuses unknown keys and explains each"""
    answer, declared = trial.answer, trial.declared
    if not (declared["frozen"] and declared["forbids_unknown"]):
        missing = [name for name in ("frozen", "forbids_unknown") if not declared[name]]
        wanted = {"frozen": "frozen=True", "forbids_unknown": "forbid_unknown_fields=True"}
        return Judgement("fail", f"without {listed([wanted[name] for name in missing])}", "say so where it is declared")
    if "config_error" in declared:
        return Judgement("fail", declared["config_error"], "a default for every key, or give it: --set NAME.KEY=VALUE")
    silent = [option["key"] for option in answer["options"] if not option["description"]]
    if silent:
        return Judgement("warn", f"no description: {listed(silent)}", 'Meta(description="...") beside the field')
    return PASS


def plain_names(trial: Trial) -> Judgement:
    """names and descriptions are plain text of one line"""
    bad = [text for text in texts(trial) if not text.isprintable()]
    if bad:
        return Judgement("fail", listed([ascii(text) for text in bad]), "no control characters, no line breaks")
    return PASS


def memory_plan(trial: Trial) -> Judgement:
    """a declared memory plan answers"""
    if not trial.answer["plan"]:
        return Judgement("skipped", "declares no plan")
    if "plan_error" in trial.declared:
        return Judgement("fail", trial.declared["plan_error"], "`rlhf plan NAME` shows the same")
    rows = trial.declared.get("plan_rows", 0)
    return Judgement("pass", f"{rows} rows") if rows else Judgement("fail", "no rows", "return a list of PlanRow")


def config_is_read(trial: Trial) -> Judgement:
    """every key of the config is read"""
    trial.need_finished()
    until = time.monotonic() + TRYING_SECONDS
    idle = [key for key in trial.straight[1].seen.unread if time.monotonic() > until or not _matters(trial, key)]
    if idle:
        advice = "read them, or take them out of the config; those that only other settings need may stay"
        return Judgement("warn", f"without effect here: {listed(idle)}", advice)
    return PASS


def _matters(trial: Trial, key: str) -> bool:
    """Whether another value makes another run, or is refused by the trainer."""
    schema = _schema_of(trial, key)
    for value in another_value(value_at(trial.config, key), schema):
        run, ending = trial.run_with(changed(trial.config, key, value))
        if ending.status == ExitCode.USER_ERROR and not run.events_file.exists():
            continue
        return ending.status != ExitCode.DONE or bool(trial.difference(run))
    return False


def _schema_of(trial: Trial, key: str) -> dict[str, list[str]]:
    """{"enum": values} where only certain words are allowed."""
    option = next(option for option in trial.answer["options"] if option["key"] == key)
    words = option["allowed"].removeprefix("one of ")
    return {"enum": words.split(", ")} if words != option["allowed"] else {}
