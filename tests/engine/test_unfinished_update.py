"""An update that is left at any of its safe points and gone on with elsewhere, or that runs out of memory there."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine_models import policy_of, scalar_model_of
from rlhf_engine.config import GRPOConfig, OptimizerConfig, PPOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState, critic_free_update
from rlhf_engine.data.examples import Prompt
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from rlhf_engine.unfinished_update import UnfinishedUpdate

SETTINGS: dict[str, Any] = {
    "batch_size": 8,
    "minibatches": 2,
    "ppo_epochs": 2,
    "micro_batch_size": 2,
    "rollout_batch_size": 4,
    "response_tokens": 5,
    "temperature": 1.0,
    "update_kl_limit_nats_per_token": 0.5,
    "optimizer": OptimizerConfig(lr=1e-3, schedule="constant"),
}
CONFIGS: dict[str, Any] = {
    "ppo": PPOConfig(**SETTINGS),
    "grpo": GRPOConfig(**SETTINGS, samples_per_prompt=2),
}
PROMPTS = [Prompt(str(i), "", [3 + i, 4 + i, 5 + i][: 1 + i % 3]) for i in range(8)]
CPU = torch.device("cpu")
KINDS = pytest.mark.parametrize("kind", CONFIGS)


class Left(BaseException):
    """The update was left at a safe point."""


class LeaveAt(NoHooks):
    """Calls `then` at the safe point with this number, and counts them."""

    def __init__(self, number: int = -1, then: Callable[[], None] = lambda: None) -> None:
        self.number, self.then, self.passed = number, then, 0
        self.phases: list[str] = []
        self.points: list[str] = []
        self.out_in: list[str] = []

    def safe_point(self) -> None:
        self.passed += 1
        self.points.append("/".join(self.phases))
        if self.passed == self.number:
            self.then()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.phases.append(name)
        yield
        self.phases.pop()

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        self.out_in.append(f"{what} {rows} {smaller}")


def new_state(tokenizer: Any, kind: str) -> Any:
    torch.manual_seed(0)
    policy, scorer = policy_of(tokenizer), scalar_model_of(tokenizer)
    frozen_policy, frozen_scorer = (copy.deepcopy(m).eval().requires_grad_(False) for m in (policy, scorer))
    config = CONFIGS[kind].optimizer
    optimizers = [ScheduledAdamW(model.named_parameters(), config, 8) for model in (policy, scorer)]
    if kind == "grpo":
        models = CriticFreeModels(policy, frozen_policy, frozen_scorer)
        return CriticFreeState(models, optimizers[0], FixedKL(0.05), eos_id=0, pad_id=1)
    roles = PPOModels(policy, frozen_policy, scorer, frozen_scorer)
    return PPOState(roles, optimizers[0], optimizers[1], FixedKL(0.05), eos_id=0, pad_id=1)


def update(state: Any, kind: str, hooks: NoHooks, config: Any = None) -> dict[str, float]:
    if kind == "ppo":
        return ppo_update(state, PROMPTS, config or CONFIGS[kind], hooks)[1].values
    return critic_free_update(state, PROMPTS[:4], config or CONFIGS[kind], hooks)[1].values


def trained(state: Any) -> dict[str, tuple[Any, ScheduledAdamW]]:
    found = {"policy": (state.models.policy, state.policy_optimizer)}
    if isinstance(state, PPOState):
        found["value_model"] = (state.models.value_model, state.value_optimizer)
    return found


def everything(state: Any) -> dict[str, Tensor]:
    """Weights and moments by name."""
    found: dict[str, Tensor] = {}
    for role, (model, optimizer) in trained(state).items():
        found |= {f"{role}/{name}": part.detach().clone() for name, part in model.named_parameters()}
        found |= {f"{role}/adamw/{name}": part.clone() for name, part in optimizer.state_tensors().items()}
    return found


def save(state: Any, folder: Path) -> None:
    save_file({name: part.contiguous() for name, part in state.unfinished.tensors().items()}, folder / "unfinished")
    for role, (model, optimizer) in trained(state).items():
        torch.save(model.state_dict(), folder / role)
        save_file(optimizer.state_tensors(), folder / f"{role}.adamw")
        (folder / f"{role}.steps").write_text(str(optimizer.steps_done))


def load(state: Any, folder: Path) -> None:
    state.unfinished = UnfinishedUpdate.of_tensors(load_file(folder / "unfinished"), CPU)
    for role, (model, optimizer) in trained(state).items():
        model.load_state_dict(torch.load(folder / role, weights_only=True))
        steps = int((folder / f"{role}.steps").read_text())
        optimizer.load_state_tensors(load_file(folder / f"{role}.adamw"), steps)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def left_and_gone_on_with(tokenizer: Any, kind: str, number: int, config: Any = None) -> tuple[Any, LeaveAt, Any]:
    """State, hooks and metrics of an update that was left at a safe point and finished from a checkpoint."""
    left, resumed, hooks = new_state(tokenizer, kind), new_state(tokenizer, kind), LeaveAt()
    with tempfile.TemporaryDirectory() as folder:

        def leave() -> None:
            save(left, Path(folder))
            raise Left

        with pytest.raises(Left):
            update(left, kind, LeaveAt(number, leave), config)
        load(resumed, Path(folder))
    return resumed, hooks, update(resumed, kind, hooks, config)


@KINDS
def test_left_at_any_safe_point_and_gone_on_with_it_is_the_same_update(kind: str, tokenizer: Any) -> None:
    straight, counted = new_state(tokenizer, kind), LeaveAt()
    metrics = update(straight, kind, counted)
    assert counted.passed > 20 and straight.unfinished is None
    for number in range(1, counted.passed + 1, 1 if kind == "ppo" else 4):
        resumed, hooks, resumed_metrics = left_and_gone_on_with(tokenizer, kind, number)
        assert resumed_metrics == metrics, number
        assert same(everything(resumed), everything(straight)), number
        sampling = "rollout" in counted.points[number:]
        assert (hooks.points.count("rollout") > 1) == sampling, "what is sampled is not sampled again"
        finished_minibatches = counted.points[: number - 1].count("update") // 3
        assert hooks.points.count("update") == counted.points.count("update") - 3 * finished_minibatches


def test_a_checkpoint_at_every_safe_point_of_an_update_that_goes_on_changes_nothing(tokenizer: Any) -> None:
    straight, watched = new_state(tokenizer, "ppo"), new_state(tokenizer, "ppo")

    class Saving(NoHooks):
        def safe_point(self) -> None:
            with tempfile.TemporaryDirectory() as folder:
                save(watched, Path(folder))

    assert update(watched, "ppo", Saving()) == update(straight, "ppo", NoHooks())
    assert same(everything(watched), everything(straight))


def test_left_in_the_minibatch_that_ends_it_by_its_kl_limit_the_update_ends_there_again(tokenizer: Any) -> None:
    steep = OptimizerConfig(lr=3e-2, schedule="constant")
    limited = {"update_kl_limit_nats_per_token": 1e-9, "optimizer": steep}
    config = msgspec.structs.replace(CONFIGS["ppo"], **limited)
    straight, counted = new_state(tokenizer, "ppo"), LeaveAt()
    metrics = update(straight, "ppo", counted, config)
    assert metrics["optimizer/steps_in_update"] == 1
    resumed, _, resumed_metrics = left_and_gone_on_with(tokenizer, "ppo", counted.passed, config)
    assert resumed_metrics == metrics and same(everything(resumed), everything(straight))


def out_of_memory(hooks: LeaveAt, found: list[str]) -> None:
    found.append("/".join(hooks.phases))
    raise torch.OutOfMemoryError("no room")


@KINDS
def test_where_memory_runs_out_the_work_is_done_again_with_half_the_rows(kind: str, tokenizer: Any) -> None:
    larger, counted = new_state(tokenizer, kind), LeaveAt()
    update(larger, kind, counted)
    phases: set[str] = set()
    firsts = [counted.points.index(phase) + 1 for phase in dict.fromkeys(counted.points)]
    for number in [*firsts, counted.passed]:
        hooks, found = LeaveAt(number), list[str]()
        hooks.then = partial(out_of_memory, hooks, found)
        backed_off = new_state(tokenizer, kind)
        update(backed_off, kind, hooks)
        (what,) = backed_off.backoff.sizes
        rows = SETTINGS["rollout_batch_size" if what == "rollout" else "micro_batch_size"]
        assert backed_off.backoff.sizes == {what: rows // 2} and hooks.out_in == [f"{what} {rows} {rows // 2}"]
        smaller = new_state(tokenizer, kind)
        smaller.backoff.sizes[what] = rows // 2
        update(smaller, kind, NoHooks())
        states = [everything(state) for state in (backed_off, smaller, larger)]
        if found[0] not in phases:
            assert same(states[0], states[1]), found
        assert all(torch.allclose(states[0][name], states[2][name], atol=1e-5) for name in states[0]), found
        phases.add(found[0])
    expected = {"rollout", "policy logprobs", "reference logprobs", "scores", "update"}
    assert phases == expected | ({"values"} if kind == "ppo" else set())


def test_gradient_checkpointing_is_still_on_after_a_rollout_that_ran_out_of_memory(tokenizer: Any) -> None:
    state = new_state(tokenizer, "ppo")
    state.models.policy.train()
    hooks = LeaveAt(3)
    hooks.then = partial(out_of_memory, hooks, [])
    update(state, "ppo", hooks)
    assert state.models.policy.training


def test_when_not_even_one_row_fits_the_error_goes_up_and_the_update_is_unfinished(tokenizer: Any) -> None:
    class Full(LeaveAt):
        def safe_point(self) -> None:
            if "update" in self.phases:
                raise torch.OutOfMemoryError("no room")

    state, hooks = new_state(tokenizer, "ppo"), Full()
    before = everything(state)
    with pytest.raises(torch.OutOfMemoryError):
        update(state, "ppo", hooks)
    assert hooks.out_in == ["update 2 1", "update 1 None"]
    assert same(everything(state), before) and state.unfinished.experience is not None


def test_another_error_is_not_tried_again(tokenizer: Any) -> None:
    def fail() -> None:
        raise RuntimeError("shapes don't match")

    hooks = LeaveAt(9, fail)
    with pytest.raises(RuntimeError, match="shapes"):
        update(new_state(tokenizer, "ppo"), "ppo", hooks)
    assert hooks.out_in == []
