"""Figures of tokens as shades and signs."""

import math

from rlhf_console.tui.drawing.heat import Heat, heat_rows, heats_of, level_of, tokens_of
from rlhf_sdk.events import Sample

SAMPLE = Sample(
    tag="rollout", index=0, prompt="p", response="my sister left", token_ends=[2, 9, 14, 14],
    token_values={"value": [0.0] * 4, "kl_nats": [0.9, -0.3, 0.04, math.nan], "odd": [1.0]},
)  # fmt: skip


def text(rows: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(cell for cell, _ in row).rstrip() for row in rows]


def test_tokens_are_the_text_and_eos() -> None:
    assert [token.text for token in tokens_of(SAMPLE, "kl_nats")] == ["my", " sister", " left", "⟨EOS⟩"]
    assert heats_of(SAMPLE) == ["kl_nats", "value", "odd"]
    assert tokens_of(SAMPLE, "odd") == tokens_of(SAMPLE, "none") == []


def test_a_text_that_does_not_fit_its_tokens_has_no_heat() -> None:
    scrubbed = Sample(tag="t", index=0, prompt="", response="[key]", token_ends=[1, 9], token_values={"reward": [1, 2]})
    assert text(heat_rows(scrubbed, Heat("reward"), 60)) == ["no figures of this response's tokens"]


def test_every_token_has_a_sign_and_the_chosen_one_its_figures() -> None:
    scale, about, words, signs = heat_rows(SAMPLE, Heat("kl_nats", cursor=1), 60)
    assert text([scale]) == ["KL to the reference, nats  -0.900 -9 -6 -3 · +3 +6 +9 +0.900"]
    assert text([about]) == ['token 2 of 4 " sister"  kl_nats -0.300  value 0']
    assert text([words, signs]) == ["my sister left⟨EOS⟩", "+9-3     ·    ×"]
    styles = dict(words)
    assert (styles["m"], styles["i"], styles["f"], styles["E"]) == ("hot-3", "chosen", "", "alarm")
    assert signs[2] == ("-", "cold-1")


def test_text_is_cut_into_rows_with_the_signs_below() -> None:
    assert text(heat_rows(SAMPLE, Heat("kl_nats"), 10))[-4:] == ["my sister", "+9-3", " left⟨EOS⟩", "·    ×"]
    assert text(heat_rows(SAMPLE, Heat("kl_nats"), 6))[-8::2] == ["my sis", "ter", " left", "⟨EOS⟩"]


def test_levels_are_ninths_of_the_greatest() -> None:
    assert [level_of(value, 2.0) for value in (-2.0, -1.0, 0.1, 0.2, 2.0)] == [-9, -4, 0, 1, 9]
    assert level_of(0.0, 0.0) == 0
