"""The mutation table: defects that RLHF code has had, or could have, and the test that catches each."""

from __future__ import annotations

from planting import Defect

DEFECTS = [
    Defect(
        "temperature left out in the update only",
        "rlhf_engine.ppo.ppo_loss",
        "temperature=config.temperature",
        "temperature=1.0",
        "invariants/test_before_the_first_update.py::test_02_ratio_is_one_on_every_microbatch[llama-8]",
    ),
    Defect(
        "score on the token after EOS",
        "rlhf_engine.rewards.kl_penalized_rewards",
        "(response_mask.sum(dim=-1, keepdim=True) - 1)",
        "response_mask.sum(dim=-1, keepdim=True)",
        "invariants/test_index_convention.py::test_13_the_score_is_the_reward_of_the_eos_action",
    ),
    Defect(
        "KL penalty on every position, padding too",
        "rlhf_engine.rewards.kl_penalized_rewards",
        "token_kl(logprobs, ref_logprobs, response_mask)",
        "(logprobs - ref_logprobs)",
        "invariants/test_index_convention.py::"
        "test_15_the_score_is_rewarded_once_at_the_last_action_and_kl_at_every_action",
    ),
    Defect(
        "bootstrap through EOS",
        "rlhf_engine.advantages.generalized_advantages",
        "values = values.masked_fill(~response_mask, 0.0)",
        "values = values.nan_to_num()",
        "invariants/test_index_convention.py::test_16_what_comes_after_eos_is_not_bootstrapped",
    ),
    Defect(
        "whitening that adds the mean back",
        "rlhf_engine.masking.whiten",
        "return centred(values, mask)",
        "return masked_mean(values, mask) + centred(values, mask)",
        "invariants/test_masked_statistics.py::test_34_advantages_are_whitened_over_the_whole_batch[1]",
    ),
    Defect(
        "top-k in generation",
        "rlhf_engine.generation.choose_tokens",
        "(logits.float() / temperature)",
        "(logits.masked_fill(logits < logits.topk(min(50, logits.shape[-1])).values[:, -1:], -torch.inf).float() "
        "/ temperature)",
        "invariants/test_sampling_is_scoring.py::test_07_every_token_has_its_own_share_of_the_unit_interval",
    ),
    Defect(
        "dropout left on",
        "rlhf_engine.models.prepare_model_config",
        "setattr(hf_config, name, 0.0)",
        "pass",
        "invariants/test_sampling_is_scoring.py::test_05_two_forwards_in_training_mode_are_bit_equal[llama-sdpa]",
    ),
    Defect(
        "positions that count left padding",
        "rlhf_engine.models.position_ids_of",
        "mask.long().cumsum(dim=-1)",
        "torch.ones_like(mask).long().cumsum(dim=-1)",
        "invariants/test_padding.py::test_30_more_padding_on_the_left_changes_neither_logprobs_nor_scores[gpt2]",
    ),
    Defect(
        "value loss doubled",
        "rlhf_engine.losses.clipped_value_loss",
        "0.5 * ",
        "",
        "invariants/test_clipping_and_kl.py::test_38_value_loss_is_half_the_larger_squared_error",
    ),
    Defect(
        "IPO as sigmoid",
        "rlhf_engine.preference_losses.ipo_loss",
        "(chosen_logratios - rejected_logratios - 0.5 / beta).square()",
        "-F.logsigmoid(beta * (chosen_logratios - rejected_logratios))",
        "invariants/test_preference_losses.py::test_54_ipo_starts_at_a_quarter_over_beta_squared",
    ),
]
