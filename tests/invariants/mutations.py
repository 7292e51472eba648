"""The mutation table: defects that RLHF code has had, or could have, and the test or light that catches each.

To add one, name a place in the engine and what to replace there, and find out which test fails. If none does, a test is
missing.
"""

from planting import Defect

DEFECTS = [
    # The policy that samples is the policy that is scored.
    Defect(
        "temperature left out in the update only",
        "rlhf_engine.ppo.ppo_loss",
        "temperature=config.temperature",
        "temperature=1.0",
        "invariants/test_before_the_first_update.py::test_02_ratio_is_one_on_every_microbatch[llama-8]",
    ),
    Defect(
        "temperature left out in the rollout only",
        "rlhf_engine.collecting.roll_out",
        "temperature=config.temperature",
        "temperature=1.0",
        "invariants/test_sampling_is_scoring.py::test_06_rollout_reference_and_update_share_one_temperature[0.7]",
    ),
    Defect(
        "top-k in generation",
        "rlhf_engine.generation.choose_tokens",
        "(logits.float() / temperature)",
        "(logits.masked_fill(logits < logits.topk(min(50, logits.shape[-1])).values[:, -1:], -torch.inf) / "
        "temperature)",
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
        "cached decoding that stays at one position",
        "rlhf_engine.generation._Decoding.append",
        "self.positions[:, -1:] + 1",
        "self.positions[:, -1:]",
        "invariants/test_sampling_is_scoring.py::test_09_cached_decoding_is_the_full_forward[gpt2-1.0]",
    ),
    Defect(
        "sampling noise that depends on the order of the batch",
        "rlhf_engine.generation.generate_rollout",
        "model, tokens, mask, uniforms[rows],",
        "model, tokens, mask, uniforms[start : start + len(rows)],",
        "invariants/test_rows_alone.py::test_31_batch_size_order_and_company_change_no_sampled_token[llama]",
    ),
    Defect(
        "the same sampling noise in every update",
        "rlhf_engine.collecting.roll_out",
        "state.updates_done * config.batch_size",
        "0",
        "invariants/test_seeds_and_schedules.py::test_45_every_update_samples_with_noise_of_its_own",
    ),
    Defect(
        "log-probabilities one token off",
        "rlhf_engine.rollout.Rollout.acting_states",
        "self.prompt_tokens.shape[1] - 1",
        "self.prompt_tokens.shape[1]",
        "invariants/test_index_convention.py::test_14_sliced_logits_are_one_forward_per_prefix[llama]",
    ),
    # Padding and masks.
    Defect(
        "positions that count left padding",
        "rlhf_engine.models.position_ids_of",
        "mask.long().cumsum(dim=-1)",
        "torch.ones_like(mask).long().cumsum(dim=-1)",
        "invariants/test_padding.py::test_30_more_padding_on_the_left_changes_neither_logprobs_nor_scores[gpt2]",
    ),
    Defect(
        "attention mask ignored",
        "rlhf_engine.models.hidden_states",
        "attention_mask=mask.long()",
        "attention_mask=torch.ones_like(mask).long()",
        "invariants/test_padding.py::test_30_more_padding_on_the_left_changes_neither_logprobs_nor_scores[llama]",
    ),
    Defect(
        "given responses padded on the left",
        "rlhf_engine.rollout.Rollout.of_texts",
        "right_pad(responses, pad_id)",
        "left_pad(responses, pad_id)",
        "invariants/test_index_convention.py::test_20_a_response_without_eos_is_valid_to_its_end",
    ),
    Defect(
        "EOS left out of the mask",
        "rlhf_engine.masking.mask_through_first",
        "columns <= first_true_index",
        "columns < first_true_index",
        "invariants/test_index_convention.py::test_13_actions_and_masks",
    ),
    Defect(
        "mask one token too long",
        "rlhf_engine.masking.mask_through_first",
        "columns <= first_true_index(matches)",
        "columns <= 1 + first_true_index(matches)",
        "invariants/test_index_convention.py::test_20_a_rollouts_mask_ends_with_the_first_eos",
    ),
    Defect(
        "EOS as padding",
        "rlhf_engine.data.tokenizers._with_end_and_padding",
        "tokenizer.pad_token is None or tokenizer.pad_token == eos",
        "tokenizer.pad_token is None",
        "invariants/test_rows_alone.py::test_35_pad_is_never_eos",
    ),
    Defect(
        "KL metric over padding too",
        "rlhf_engine.update_metrics._rollout_figures",
        "masked_mean(token_kl, mask)",
        "token_kl.mean()",
        "invariants/test_packed_metrics.py::test_36_every_metric_is_that_of_the_packed_tokens[as it is-8]",
    ),
    # Rewards.
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
        "KL penalty twice, token by token and in the score",
        "rlhf_engine.ppo.collect_experience",
        "kl_penalized_rewards(scores,",
        "kl_penalized_rewards(scores - state.kl.coef * (logprobs - ref_logprobs).sum(dim=-1),",
        "invariants/test_clipping_and_kl.py::test_40_token_log_ratios_add_up_to_the_sequences_and_to_its_penalty[llama]",
    ),
    Defect(
        "KL in the reward and in the loss",
        "rlhf_engine.critic_free.critic_free_loss",
        'if config.kl_placement == "loss":',
        "if config:",
        "invariants/test_critic_free.py::test_kl_is_in_the_reward_or_in_the_loss_and_never_in_both[rloo]",
    ),
    Defect(
        "k2 in the place of k1",
        "rlhf_engine.rewards.token_kl",
        "(logprobs - ref_logprobs)",
        "(0.5 * (logprobs - ref_logprobs).square())",
        "invariants/test_clipping_and_kl.py::test_39_estimators_under_a_gaussian",
    ),
    Defect(
        "rule for missing EOS applied twice",
        "rlhf_engine.ppo.collect_experience",
        "raw_scores, rollout.ended,",
        "apply_missing_eos_rule(raw_scores, rollout.ended, rule=config.missing_eos, "
        "value=config.missing_eos_value), rollout.ended,",
        "invariants/test_index_convention.py::"
        "test_19_rewards_of_a_row_without_eos_add_up_to_its_penalised_score[subtract]",
    ),
    Defect(
        "reward whitening that takes the mean off",
        "rlhf_engine.ppo.collect_experience",
        "whiten_keeping_mean(rewards,",
        "whiten(rewards,",
        "invariants/test_masked_statistics.py::test_34_whitened_rewards_keep_their_mean_over_the_batch[8]",
    ),
    Defect(
        "adaptive KL with the wrong sign",
        "rlhf_engine.kl_control.adapted_kl_coef",
        "1.0 + gain * error",
        "1.0 - gain * error",
        "invariants/test_kl_control.py::test_73_the_relative_error_is_clipped_to_a_fifth",
    ),
    # Advantages.
    Defect(
        "bootstrap through EOS",
        "rlhf_engine.advantages.generalized_advantages",
        "values = values.masked_fill(~response_mask, 0.0)",
        "values = values.nan_to_num()",
        "invariants/test_index_convention.py::test_16_what_comes_after_eos_is_not_bootstrapped",
    ),
    Defect(
        "gamma applied twice",
        "rlhf_engine.advantages.generalized_advantages",
        "gamma * next_value",
        "gamma * gamma * next_value",
        "invariants/test_advantage_estimation.py::test_23_lambda_1_is_return_minus_value_and_lambda_0_the_td_error",
    ),
    Defect(
        "lambda ignored",
        "rlhf_engine.advantages.generalized_advantages",
        "gamma * gae_lambda * next_advantage",
        "gamma * next_advantage",
        "invariants/test_advantage_estimation.py::test_23_lambda_1_is_return_minus_value_and_lambda_0_the_td_error",
    ),
    Defect(
        "whitening that adds the mean back",
        "rlhf_engine.masking.whiten",
        "return centred(values, mask)",
        "return masked_mean(values, mask) + centred(values, mask)",
        "invariants/test_masked_statistics.py::test_34_advantages_are_whitened_over_the_whole_batch[1]",
    ),
    Defect(
        "unbiased variance in whitening",
        "rlhf_engine.masking.masked_var",
        "return masked_mean(centred(values, mask).square(), mask)",
        "return masked_sum(centred(values, mask).square(), mask) / (mask.sum() - 1)",
        "invariants/test_masked_statistics.py::test_27_biased_variance_by_hand",
    ),
    Defect(
        "advantages whitened for each micro-batch",
        "rlhf_engine.ppo.ppo_loss",
        "micro_batch.advantages,",
        "whiten(micro_batch.advantages, mask),",
        "invariants/test_accumulation.py::test_41_micro_batches_add_up_to_the_batch_in_ppo[llama]",
    ),
    Defect(
        "leave-one-out baseline that leaves nothing out",
        "rlhf_engine.advantages.leave_one_out_advantages",
        "(groups.sum(dim=1, keepdim=True) - groups) / (samples_per_prompt - 1)",
        "groups.mean(dim=1, keepdim=True)",
        "invariants/test_critic_free.py::test_57_two_responses_have_opposite_advantages",
    ),
    Defect(
        "GRPO's standard deviation over the batch",
        "rlhf_engine.advantages.group_relative_advantages",
        "groups.std(dim=1, correction=0, keepdim=True)",
        "groups.std(correction=0)",
        "invariants/test_critic_free.py::test_group_relative_advantages_are_standardised_and_shrink_to_leave_one_out",
    ),
    # Losses of PPO.
    Defect(
        "advantages with the wrong sign",
        "rlhf_engine.losses.clipped_policy_loss",
        "advantages = advantages.masked_fill",
        "advantages = -advantages.masked_fill",
        "invariants/test_before_the_first_update.py::test_04_the_first_gradient_is_reinforce[llama]",
    ),
    Defect(
        "ratio clipped above only",
        "rlhf_engine.losses.clipped_policy_loss",
        "ratio.clamp(1.0 - clip_range, 1.0 + clip_range)",
        "ratio.clamp(max=1.0 + clip_range)",
        "invariants/test_clipping_and_kl.py::test_37_the_gradient_is_cut_exactly_where_the_clip_says[-2.0-0.5]",
    ),
    Defect(
        "old log-probabilities made anew in every epoch",
        "rlhf_engine.ppo.ppo_loss",
        "        micro_batch.logprobs,",
        "        logprobs.detach(),",
        "invariants/test_clipping_and_kl.py::test_37_ratios_are_to_the_policy_that_sampled",
    ),
    Defect(
        "value loss doubled",
        "rlhf_engine.losses.clipped_value_loss",
        "0.5 * ",
        "",
        "invariants/test_clipping_and_kl.py::test_38_value_loss_is_half_the_larger_squared_error",
    ),
    Defect(
        "value clipped around the return",
        "rlhf_engine.losses.clipped_value_loss",
        "old_values - value_clip_range, old_values + value_clip_range",
        "returns - value_clip_range, returns + value_clip_range",
        "invariants/test_clipping_and_kl.py::test_38_value_loss_is_half_the_larger_squared_error",
    ),
    Defect(
        "reference that follows the policy",
        "rlhf_engine.ppo.ppo_update",
        "state.updates_done += 1",
        "state.updates_done += 1; state.models.ref_policy.load_state_dict(state.models.policy.state_dict())",
        "invariants/test_what_never_changes.py::test_10_ppo_changes_neither_reference_nor_reward_model[llama]",
    ),
    Defect(
        "reference that is not frozen",
        "rlhf_engine.layouts.separate_models",
        "ref_policy=_frozen(load_policy",
        "ref_policy=(load_policy",
        "invariants/test_what_never_changes.py::test_10_loaded_roles_share_no_weight_and_two_are_frozen",
    ),
    # Preferences and reward models.
    Defect(
        "IPO as sigmoid",
        "rlhf_engine.preference_losses.ipo_loss",
        "(chosen_logratios - rejected_logratios - 0.5 / beta).square()",
        "-F.logsigmoid(beta * (chosen_logratios - rejected_logratios))",
        "invariants/test_preference_losses.py::test_54_ipo_starts_at_a_quarter_over_beta_squared",
    ),
    Defect(
        "DPO without the reference",
        "rlhf_engine.preference_losses.sequence_logratios",
        "(logprobs - ref_logprobs)",
        "logprobs",
        "invariants/test_preference_updates.py::test_53_54_55_before_the_first_step_all_margins_are_0[config0-llama]",
    ),
    Defect(
        "label smoothing with the wrong sign",
        "rlhf_engine.preference_losses.dpo_loss",
        "- label_smoothing * F.logsigmoid(-margins)",
        "+ label_smoothing * F.logsigmoid(-margins)",
        "invariants/test_preference_losses.py::test_53_dpo_starts_at_ln_2_whatever_the_label_smoothing",
    ),
    Defect(
        "chosen and rejected swapped among the pairs",
        "rlhf_engine.reward_modeling.pair_rows",
        "(offset + chosen, offset + rejected)",
        "(offset + rejected, offset + chosen)",
        "invariants/test_scores.py::test_49_pairs_are_chosen_then_rejected_whatever_the_groups",
    ),
]
