"""What a contender is told: the same for all sides of a stage but for precision and layout. Torch-free."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from rlhf_engine.config import InitConfig, Precision

LR = 1e-5
PPO_EPOCHS = 4
TLDR_LENGTHS, TLDR_MEAN_RESPONSE = Path(__file__).with_name("tldr_lengths.json"), 33.6
"""Of 256 posts of the filtered TL;DR training set in its template, cut at 512; and with EOS, of their summaries."""
TLDR, ENDS = "-tldr", "-ends"
"""End the name of a shape with those lengths, and with those of responses alone."""
POLICY, REWARD_MODEL = "policy", "reward_model"
DEMONSTRATIONS, COMPARISONS = "demonstrations.jsonl", "comparisons.jsonl"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A model's sizes, and the rows of a step; comparisons count as one row each.

    `response`: tokens with the end token. `prompts`: tokens of one prompt after another, none: all have `prompt`.
    `mean_response`: that of sampled responses, which end with this mean; 0: none ends before `response`.
    """

    name: str
    init: InitConfig
    vocabulary: int
    supervised_rows: int
    ppo_rows: int
    micro_batch: int = 8
    prompt: int = 128
    response: int = 48
    prompts: list[int] = []
    mean_response: float = 0.0

    def of_tldr_lengths(self) -> Shape:
        """With prompts as long as those of TL;DR (Pythia's tokens), and responses that end as late on average."""
        return msgspec.structs.replace(
            self,
            name=self.name + TLDR,
            ppo_rows=self.ppo_rows // 2,
            prompt=512,
            response=53,
            prompts=json.loads(TLDR_LENGTHS.read_text()),
            mean_response=TLDR_MEAN_RESPONSE,
        )

    def of_ending_responses(self) -> Shape:
        """With responses that end as late on average as those of TL;DR."""
        return msgspec.structs.replace(self, name=self.name + ENDS, response=53, mean_response=TLDR_MEAN_RESPONSE)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One contender's work. `rows`: of a step or batch; `settings`: what this stage alone knows."""

    shape: Shape
    folder: str
    rows: int
    threads: int = 1
    device: str = "cpu"
    precision: Precision = "float32"
    settings: dict[str, Any] = {}

    def path(self, name: str) -> str:
        return str(Path(self.folder) / name)


def _init(architecture: str, hidden: int, layers: int, heads: int, **more: Any) -> InitConfig:
    sizes = {"architecture": architecture, "hidden_size": hidden, "layers": layers, "heads": heads}
    defaults = {"tie_embeddings": False, "max_positions": 2048}
    return msgspec.convert(sizes | defaults | more, InitConfig)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            name="tiny",
            init=_init("llama", 256, 4, 4, kv_heads=2, intermediate_size=704),
            vocabulary=4096,
            supervised_rows=8,
            ppo_rows=32,
        ),
        Shape(name="70m", init=_init("gpt_neox", 512, 6, 8), vocabulary=50304, supervised_rows=4, ppo_rows=16),
        Shape(name="160m", init=_init("gpt_neox", 768, 12, 12), vocabulary=50304, supervised_rows=4, ppo_rows=16),
        Shape(
            name="llama-1b",
            init=_init("llama", 2048, 16, 32, kv_heads=8, intermediate_size=8192, tie_embeddings=True),
            vocabulary=128256,
            supervised_rows=32,
            ppo_rows=512,
            micro_batch=16,
            prompt=512,
            response=53,
        ),
        Shape(
            name="pythia-1b",
            init=_init("gpt_neox", 2048, 16, 8),
            vocabulary=50304,
            supervised_rows=32,
            ppo_rows=512,
            micro_batch=16,
            prompt=512,
            response=53,
        ),
    )
}
