"""Checks of a tokenizer on the data's own texts, before a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from rlhf_engine.checks.rules import Rule
from rlhf_engine.data.examples import Demonstration
from rlhf_engine.data.formatting import Template, encode, format_prompt

RESPONSES_CUT = Rule(
    name="responses_cut",
    figure="text/responses_cut_share",
    warn=0.1,
    fail=0.5,
    meaning="share of responses that are cut to max_response_tokens, which loses their EOS",
    look_at="data.max_response_tokens: who never sees EOS never learns to end",
)

TEXT_RULES = (
    Rule(
        name="end_token",
        figure="text/end_token_usable",
        fires="below",
        fail=1.0,
        meaning="1 where EOS is in the vocabulary, has a row in the embedding, and is not PAD",
        look_at="tokenizer.eos_token and tokenizer.pad_token, and whether model and tokenizer belong together",
    ),
    Rule(
        name="end_token_in_text",
        figure="text/special_share",
        warn=0.0,
        fail=0.01,
        meaning="share of rows whose own words become EOS or PAD: everything behind it would be lost",
        look_at="markup such as <|endoftext|> that was left in the data",
    ),
    Rule(
        name="round_trip",
        figure="text/changed_share",
        warn=0.0,
        fail=0.5,
        meaning="share of rows that decode(encode(text)) changes",
        look_at="a tokenizer that lowers case, normalises or knows too few characters for this language",
    ),
    Rule(
        name="prompt_response_boundary",
        figure="text/boundary_share",
        warn=0.01,
        fail=0.5,
        meaning="share of rows where enc(prompt) + enc(response) is not enc(prompt + response)",
        look_at="how the template ends: a token must not reach across the boundary",
    ),
    Rule(
        name="prompts_cut",
        figure="text/prompts_cut_share",
        warn=0.2,
        fail=0.95,
        meaning="share of prompts that are cut to max_prompt_tokens",
        look_at="data.max_prompt_tokens, and whether the tokenizer suits the language",
    ),
    RESPONSES_CUT,
)


def text_figures(
    examples: Sequence[Demonstration], tokenizer: PreTrainedTokenizerBase, *, embedding_rows: int
) -> dict[str, float]:
    """What TEXT_RULES judge of some examples."""
    pairs = [(example.prompt.text, " " + example.response.strip()) for example in examples]
    wholes = [prompt + response for prompt, response in pairs]
    encoded = [encode(tokenizer, text) for text in wholes]
    special = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    parts = [encode(tokenizer, prompt) + encode(tokenizer, response) for prompt, response in pairs]
    usable = tokenizer.eos_token_id < embedding_rows and tokenizer.eos_token_id != tokenizer.pad_token_id
    return {
        "text/end_token_usable": float(usable),
        "text/special_share": _share(not special.isdisjoint(tokens) for tokens in encoded),
        "text/changed_share": _share(
            _decoded(tokenizer, tokens) != text for text, tokens in zip(wholes, encoded, strict=True)
        ),
        "text/boundary_share": _share(split != whole for split, whole in zip(parts, encoded, strict=True)),
    }


def cut_figures(examples: Sequence[Demonstration], *, template: Template, eos_id: int) -> dict[str, float]:
    """Shares of prompts that lack a part of their record, and of responses that don't end with EOS."""
    prompts = [example.prompt for example in examples]
    return {
        "text/prompts_cut_share": _share(format_prompt(prompt.record, template) != prompt.text for prompt in prompts),
        "text/responses_cut_share": _share(example.response_tokens[-1] != eos_id for example in examples),
    }


def _decoded(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    return str(tokenizer.decode(tokens, clean_up_tokenization_spaces=False))


def _share(matches: Iterable[bool]) -> float:
    found = list(matches)
    return sum(found) / max(len(found), 1)
