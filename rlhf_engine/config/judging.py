"""Who says which of two responses is better, and at what price."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from rlhf_engine.config.sections import Section

JudgeKind = Literal["none", "scores", "claude", "command", "python", "recorded"]
JudgeApi = Literal["auto", "messages", "batches"]


class JudgeConfig(Section, frozen=True, kw_only=True):
    """Compares each policy's responses with the baseline's and with the references, in both orders."""

    kind: Annotated[
        JudgeKind,
        Meta(description="scores: gold or the reward model; claude: a Claude model; recorded: a file of verdicts"),
    ] = "none"
    criterion: Annotated[str, Meta(description="claude: which response is the better one; empty: see judging.md")] = ""
    model: Annotated[str, Meta(description="claude: the model's name")] = "claude-sonnet-4-6"
    api: Annotated[
        JudgeApi, Meta(description="claude: auto is batches (half the price, up to a day) above 100 questions")
    ] = "auto"
    max_output_tokens: Annotated[
        int, Meta(ge=64, description="claude: longest answer, thinking included; what is cut off is no vote")
    ] = 1024
    concurrency: Annotated[int, Meta(ge=1, le=64, description="claude: requests at a time (messages)")] = 8
    retries: Annotated[
        int, Meta(ge=0, description="claude: further attempts where the service is busy or can't be reached")
    ] = 6
    timeout_seconds: Annotated[
        float, Meta(gt=0, description="claude: of one request; command: of silence while answers are missing")
    ] = 120.0
    input_usd_per_mtok: Annotated[
        float, Meta(ge=0, description="claude: USD for a million input tokens; 0: the price known for the model")
    ] = 0.0
    output_usd_per_mtok: Annotated[float, Meta(ge=0, description="claude: the same for output tokens")] = 0.0
    spend_limit_usd: Annotated[
        float, Meta(gt=0, description="claude: nothing is asked that could take the run above it")
    ] = 5.0
    command: Annotated[list[str], Meta(description="command: program and arguments; JSON lines in, JSON lines out")] = (
        field(default_factory=list)
    )
    function: Annotated[str, Meta(description='python: "module:function" of an installed package')] = ""
    recorded: Annotated[str, Meta(description="recorded: JSON lines with prompt, first, second, choice")] = ""
