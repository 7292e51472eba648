"""Each hub profile runs two updates of every stage on a shrunken random checkpoint of its architecture.

Hub ids of models are replaced by local directories, those of data by small files; every other setting that decides what
is computed stays.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from rlhf_console.requests import resolve_request
from rlhf_sdk.discovery import load_attribute, load_spec

CHECKOUT = Path(__file__).parents[2]
TOKENIZERS = CHECKOUT.parent / "shared" / "data" / "tokenizers"
HUB_PROFILES = {
    "tldr-pythia-1b": ("gpt_neox", "gpt_neox_20b"),
    "hh-pythia-160m": ("gpt_neox", "gpt_neox_20b"),
    "tldr-gpt2": ("gpt2", "gpt2"),
    "tldr-llama-1b": ("llama", "gpt2"),
    "tldr-llama-1b-80gb": ("llama", "gpt2"),
    "tldr-tinyllama": ("llama", "gpt2"),
}
"""Profile -> family of its model, and a tokenizer (Llama's own is not to be had without the hub)."""
SIZES: dict[str, dict[str, Any]] = {
    "gpt_neox": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "llama": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 64,
    },
}  # fmt: skip
ROWS = 8
SMALL = {
    "sft": {"batch_size": 4, "micro_batch_size": 2, "max_steps": 2, "sample_count": 1, "eval_every": 0},
    "rm": {"batch_size": 4, "micro_batch_size": 2, "max_steps": 2, "norm_rows": 8, "eval_every": 0},
    "ppo": {"batch_size": 4, "micro_batch_size": 2, "total_episodes": 8, "rollout_batch_size": 2, "response_tokens": 6},
    "eval": {"batch_size": 4, "bootstrap": 100, "response_tokens": 6, "temperatures": [0.7]},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TOKENIZERS.is_dir(), reason="needs the tokenizers in ../shared/data"),
]


class QuietRun:
    """A run that keeps what it is told and never interrupts."""

    def __init__(self, config: Any, directory: Path) -> None:
        self.config, self.directory = config, directory
        self.seed, self.step = config.seed, 0
        self.checks: dict[str, str] = {}
        self.results: dict[str, dict[str, Any]] = {}
        directory.mkdir(parents=True)

    def safe_point(self) -> None: ...

    def token_point(self) -> None: ...

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def progress(self, what: str, done: int, total: int | None = None) -> None: ...

    def sample(self, **fields: Any) -> None: ...

    def alert(self, severity: str, code: str, message: str, advice: str = "") -> None:
        raise AssertionError(message)

    def note(self, text: str) -> None: ...

    def check(self, name: str, status: str, figure: float, tolerance: float, explanation: str = "") -> None:
        self.checks[name] = status

    def result(self, name: str, data: dict[str, Any]) -> None:
        self.results[name] = data


def write_checkpoint(folder: Path, family: str, tokenizer_name: str) -> None:
    """A random model of the family with a real tokenizer."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(TOKENIZERS / tokenizer_name / "tokenizer.json"), eos_token="<|endoftext|>"
    )
    config = AutoConfig.for_model(
        family, **SIZES[family], vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=tokenizer.eos_token_id
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def posts() -> list[dict[str, str]]:
    return [
        {
            "id": str(number),
            "subreddit": "running",
            "title": f"Week {number} of my plan",
            "post": f"I ran {number} miles.\nThen it rained, and I wondered whether to go on.",
            "summary": f"ran {number} miles in the rain, go on?",
        }
        for number in range(ROWS)
    ]


def write_tldr(folder: Path) -> dict[str, Path]:
    """Files in the layouts of the hub's data sets: posts with summaries, and OpenAI's comparisons."""
    comparisons = [
        {
            "info": {key: post[key] for key in ("id", "subreddit", "title", "post")},
            "summaries": [{"text": f" {post['title']}"}, {"text": f" {post['summary']}"}],
            "choice": 1,
        }
        for post in posts()
    ]
    return {
        "posts": write_lines(folder / "posts.jsonl", posts()),
        "comparisons": write_lines(folder / "comparisons.jsonl", comparisons),
    }


def write_dialogues(folder: Path) -> dict[str, Path]:
    """HH transcripts: chosen and rejected share all but the last reply."""
    rows = []
    for number in range(ROWS):
        talk = f"\n\nHuman: How far is {number} miles?\n\nAssistant:"
        rows.append({"chosen": f"{talk} About {number * 1.6:.1f} km.", "rejected": f"{talk} Who knows, {number}?"})
    file = write_lines(folder / "dialogues.jsonl", rows)
    return {"posts": file, "comparisons": file}


def write_lines(file: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def localised(value: Any, files: dict[str, Path]) -> Any:
    """The config with hub data replaced by files."""
    if isinstance(value, dict):
        return {key: localised(item, files) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, str) and "/" in item for item in value):
        is_comparison = any(item.startswith("cleanrl/") for item in value)
        return [str(files["comparisons" if is_comparison else "posts"])]
    return value


def with_models(value: Any, models: dict[str, str]) -> Any:
    """The config with links to stages, and hub ids of models, replaced by directories."""
    if isinstance(value, dict):
        return {
            key: models["hub"] if is_hub_id(key, item) else with_models(item, models) for key, item in value.items()
        }
    return models[value.removeprefix("stage:")] if isinstance(value, str) and value.startswith("stage:") else value


def is_hub_id(key: str, value: Any) -> bool:
    return key == "path" and "/" in value and not value.startswith("stage:")


def run_stage(plugin: str, config: dict[str, Any], folder: Path) -> tuple[QuietRun, list[dict[str, float]]]:
    """Two updates and the end of one stage; its model lies in `folder`/saved/model."""
    spec = load_spec(plugin)
    run = QuietRun(msgspec.convert(config, spec.config), folder)
    trainer = load_attribute(spec.trainer)()
    trainer.runtime.start(run.seed)
    trainer.setup(run)
    steps = []
    while (metrics := trainer.step()) is not None:
        steps.append(dict(metrics))
        run.step += 1
    if hasattr(trainer, "finish"):
        trainer.finish()
    (folder / "saved").mkdir()
    trainer.save(folder / "saved")
    return run, steps


@pytest.mark.parametrize("profile", HUB_PROFILES)
def test_two_updates_of_every_stage(profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    family, tokenizer_name = HUB_PROFILES[profile]
    write_checkpoint(tmp_path / "hub", family, tokenizer_name)
    files = write_dialogues(tmp_path) if profile.startswith("hh") else write_tldr(tmp_path)
    models = {"hub": str(tmp_path / "hub")}
    stages = resolve_request("pipeline", profile, [], [], None, tmp_path / "runs").config["stages"]
    runs = {}
    for name, stage in stages.items():
        config = with_models(localised(stage["config"], files), models) | SMALL[stage["plugin"]]
        run, steps = run_stage(stage["plugin"], config, tmp_path / name)
        runs[name] = run
        models[name] = str(tmp_path / name / "saved" / "model")
        assert len(steps) >= 2, name
        assert all(torch.tensor(list(step.values())).isfinite().all() for step in steps), name
    lights = runs["ppo"].checks
    assert {lights[name] for name in ("kl_before_first_update", "ratio_on_first_minibatch")} == {"ok"}
    assert runs["eval"].results
