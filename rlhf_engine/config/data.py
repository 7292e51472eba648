"""Where examples come from, and what is mended or left out."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from rlhf_engine.config.sections import HUANG, Section


class ColumnConfig(Section, frozen=True, kw_only=True):
    """Names of the columns in the data; the defaults are tried in order where a value is empty."""

    prompt: Annotated[str, Meta(description="the whole prompt, ready made")] = ""
    subreddit: Annotated[str, Meta(description="where a post was made, without r/")] = ""
    title: Annotated[str, Meta(description="title of a post")] = ""
    post: Annotated[str, Meta(description="body of a post")] = ""
    summary: Annotated[str, Meta(description="the response to learn, or the reference")] = ""
    chosen: Annotated[str, Meta(description="the preferred response, or the transcript that ends in it")] = ""
    rejected: Annotated[str, Meta(description="the other response, or the transcript that ends in it")] = ""
    text: Annotated[str, Meta(description="a document (pretrain)")] = ""
    id: Annotated[str, Meta(description="identifies a row in reports")] = ""


class CleaningConfig(Section, frozen=True, kw_only=True):
    """What is mended or left out before training; every count is recorded."""

    unicode: Annotated[bool, Meta(description="normalise to NFC, drop control characters")] = True
    whitespace: Annotated[bool, Meta(description="strip ends, at most two newlines in a row")] = True
    duplicates: Annotated[bool, Meta(description="keep the first of identical rows")] = True
    overlap: Annotated[
        bool, Meta(description="leave out rows whose post is in any of `exclude`, by normalised text")
    ] = True


class DataConfig(Section, frozen=True, kw_only=True):
    """One set of examples."""

    source: Annotated[
        list[str],
        Meta(description="world, preferences (votes), hub ids (org/name, org/name:config), files; several are joined"),
    ] = field(default_factory=list)
    split: Annotated[str, Meta(description="split of a hub dataset")] = "train"
    exclude: Annotated[list[str], Meta(description="sources whose posts must not be in this set (evaluation)")] = field(
        default_factory=list
    )
    template: Annotated[
        Literal["tldr", "post", "plain", "dialogue"],
        Meta(
            description="tldr: SUBREDDIT/TITLE/POST/TL;DR; post: the same without the lines that a row lacks; plain: "
            "the prompt as it is; dialogue: Human/Assistant"
        ),
    ] = "tldr"
    columns: Annotated[ColumnConfig, Meta(description="names of the columns; empty means the usual ones")] = (
        ColumnConfig()
    )
    cleaning: Annotated[CleaningConfig, Meta(description="what is mended or left out")] = CleaningConfig()
    max_rows: Annotated[int, Meta(ge=0, description="use at most this many rows; 0 means all")] = 0
    world_seed: Annotated[int, Meta(description="seed of the built-in world's posts; another seed, other posts")] = 0
    max_prompt_tokens: Annotated[
        int, Meta(ge=8, description="longer posts are cut at their last newline until they fit", extra=HUANG)
    ] = 512
    max_response_tokens: Annotated[int, Meta(ge=1, description="longer responses are cut, EOS included")] = 53
    max_bad_share: Annotated[
        float, Meta(ge=0, le=1, description="an error when more than this share of rows can't be used")
    ] = 0.05


COMPARISONS = DataConfig(max_response_tokens=169)
PEOPLE = DataConfig(template="post", max_response_tokens=169)
