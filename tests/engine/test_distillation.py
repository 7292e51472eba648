"""KL to a teacher against torch's own, and updates that bring a student nearer."""

from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F

from engine_models import policy_of, random_rollout
from rlhf_engine import logprobs
from rlhf_engine.config import DistilConfig, OptimizerConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.distillation import DistilState, distil_loss, distil_update, kl_to_teacher, sample
from rlhf_engine.divergence import divergences, response_divergences
from rlhf_engine.hooks import NoHooks
from rlhf_engine.models import lm_head_weight
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.packing import Rows
from rlhf_engine.trunk import padded_states

HOOKS = NoHooks()
CONFIG = DistilConfig(
    batch_size=8,
    micro_batch_size=3,
    rollout_batch_size=8,
    response_tokens=6,
    optimizer=OptimizerConfig(lr=1e-2, schedule="constant"),
)
PROMPTS = [Prompt(str(i), "", [3 + i, 4 + i, 5 + i][: 1 + i % 3]) for i in range(8)]


def new_state(tokenizer: Any, config: DistilConfig = CONFIG) -> DistilState:
    teacher, student = policy_of(tokenizer), policy_of(tokenizer)
    optimizer = ScheduledAdamW(student.named_parameters(), config.optimizer, 20)
    return DistilState(student, teacher.eval().requires_grad_(False), optimizer, eos_id=0, pad_id=1)


def test_divergences_and_their_gradient_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "CHUNK_BYTES", 1)
    hidden, weight = torch.randn(40, 5, requires_grad=True), torch.randn(11, 5, requires_grad=True)
    teacher_hidden, teacher_weight = torch.randn(40, 7), torch.randn(11, 7)
    upstream = torch.randn(40)
    found = divergences(hidden, weight, teacher_hidden, teacher_weight, 1.7)
    ours = torch.autograd.grad(found @ upstream, [hidden, weight])
    log_q = (hidden @ weight.T / 1.7).log_softmax(dim=-1)
    log_p = (teacher_hidden @ teacher_weight.T / 1.7).log_softmax(dim=-1)
    expected = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)
    theirs = torch.autograd.grad(expected @ upstream, [hidden, weight])
    assert torch.allclose(found, expected, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs, strict=True))


def test_a_model_is_0_nats_from_itself(tokenizer: Any) -> None:
    policy, rollout = policy_of(tokenizer), random_rollout()
    found = response_divergences(policy, policy, rollout)
    assert found.abs().max() < 1e-6
    found.sum().backward()
    assert max(float(p.grad.abs().max()) for p in policy.parameters() if p.grad is not None) < 1e-5


def test_padding_counts_for_nothing(tokenizer: Any) -> None:
    student, teacher, rollout = policy_of(tokenizer), policy_of(tokenizer), random_rollout()
    whole = response_divergences(student, teacher, rollout)
    assert bool((whole[~rollout.response_mask] == 0).all())
    for row in range(len(rollout)):
        alone = response_divergences(student, teacher, rollout.rows(torch.tensor([row])))
        assert torch.allclose(alone.sum(), whole[row].sum(), atol=1e-4)


@pytest.mark.parametrize("objective", ["logits", "samples"])
def test_micro_batches_add_up_to_the_batch(objective: str, tokenizer: Any) -> None:
    config = msgspec.structs.replace(CONFIG, objective=objective, softening=2.0)
    state, samples = new_state(tokenizer), random_rollout()
    count = samples.response_mask.sum()
    distil_loss(state, samples, config, count).backward()
    whole = [p.grad.clone() for p in state.student.parameters() if p.grad is not None]
    state.student.zero_grad()
    for rows in torch.arange(len(samples)).split(2):
        distil_loss(state, samples.rows(rows), config, count).backward()
    pieces = [p.grad for p in state.student.parameters() if p.grad is not None]
    assert len(whole) == len(pieces) > 10
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(whole, pieces, strict=True))


def test_the_samples_alone_are_learnt_by_their_cross_entropy(tokenizer: Any) -> None:
    state, samples = new_state(tokenizer), random_rollout(1)
    config = msgspec.structs.replace(CONFIG, objective="samples")
    loss = distil_loss(state, samples, config, samples.response_mask.sum())
    tokens = torch.cat([samples.prompt_tokens[samples.prompt_mask], samples.response_tokens[samples.response_mask]])
    row = Rows.of_sequences(tokens[None], torch.ones(1, len(tokens), dtype=torch.bool))
    logits = padded_states(state.student.base_model, row)[0]
    logits = logits @ lm_head_weight(state.student).T
    prompt = int(samples.prompt_mask.sum())
    assert torch.allclose(loss, F.cross_entropy(logits[prompt - 1 : -1], tokens[prompt:]), atol=1e-5)


@pytest.mark.parametrize("objective", ["logits", "samples"])
def test_updates_bring_the_student_nearer_and_leave_the_teacher(objective: str, tokenizer: Any) -> None:
    config = msgspec.structs.replace(CONFIG, objective=objective)
    state = new_state(tokenizer)
    before = [p.clone() for p in state.teacher.parameters()]
    others = sample(state.teacher, state, PROMPTS, config, HOOKS, episodes=range(1000, 1008))
    far = response_divergences(state.student, state.teacher, others).sum()
    for step in range(15):
        distil_update(state, PROMPTS, config, HOOKS, first_episode=8 * step)
    assert response_divergences(state.student, state.teacher, others).sum() < 0.8 * far
    assert all(torch.equal(a, b) for a, b in zip(before, state.teacher.parameters(), strict=True))


def test_kl_to_the_teacher_is_that_of_the_students_samples(tokenizer: Any) -> None:
    state, rollout = new_state(tokenizer), random_rollout()
    found = kl_to_teacher(state, rollout, CONFIG, HOOKS)
    expected = response_divergences(state.teacher, state.student, rollout).sum(dim=-1)
    assert torch.allclose(found, expected, atol=1e-4)
    assert bool((found > 0).all())
