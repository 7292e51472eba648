"""The Tiny TL;DR world: a small, endless Reddit in which the quality of every summary is known."""

from rlhf_engine.data.world.annotators import Annotators, title_overlap
from rlhf_engine.data.world.comparisons import demonstrations, group_candidates, label_group
from rlhf_engine.data.world.gold import GoldReport, gold_report, gold_score
from rlhf_engine.data.world.posts import Post, generate_posts
from rlhf_engine.data.world.writers import (
    edit_one_fact,
    ideal_summary,
    write_careful,
    write_reference,
    write_sloppy,
)

__all__ = [
    "Annotators",
    "GoldReport",
    "Post",
    "demonstrations",
    "edit_one_fact",
    "generate_posts",
    "gold_report",
    "gold_score",
    "group_candidates",
    "ideal_summary",
    "label_group",
    "title_overlap",
    "write_careful",
    "write_reference",
    "write_sloppy",
]
