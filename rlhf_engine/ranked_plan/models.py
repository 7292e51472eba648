"""The models of a run as tensors with a place. Torch-free."""

from __future__ import annotations

from rlhf_engine.config import LoraConfig
from rlhf_engine.known_models import ModelShape
from rlhf_engine.ranked_plan.placing import ALONE, Place, Placed
from rlhf_engine.ranked_plan.tensors import adapter_tensors, block_tensors, root_tensors, score_tensors


def language_model(
    shape: ModelShape,
    place: Place = ALONE,
    *,
    trained: bool = False,
    lora: LoraConfig | None = None,
    values: bool = False,
) -> Placed:
    """With `lora` the adapters alone are trained; `values`: scalar heads on its trunk, which are trained with it."""
    return Placed(
        block=block_tensors(shape),
        blocks=shape.layers,
        root=root_tensors(shape, output_head=True),
        whole=[*(adapter_tensors(shape, lora) if lora else ()), *(score_tensors(shape) if values else ())],
        trained=trained and lora is None,
        whole_trained=trained,
        apart=values,
        place=place,
    )


def scalar_model(
    shape: ModelShape, place: Place = ALONE, *, trained: bool = False, lora: LoraConfig | None = None
) -> Placed:
    """A reward model or critic: its heads instead of the output head."""
    return Placed(
        block=block_tensors(shape),
        blocks=shape.layers,
        root=root_tensors(shape, output_head=False),
        whole=[*(adapter_tensors(shape, lora) if lora else ()), *score_tensors(shape)],
        trained=trained and lora is None,
        whole_trained=trained,
        place=place,
    )


def adapter(
    shape: ModelShape, place: Place, lora: LoraConfig, *, scores: bool = False, trained: bool = False
) -> Placed:
    """An adapter on another role's backbone; `scores`: with scalar heads."""
    heads = score_tensors(shape) if scores else ()
    return Placed(whole=[*adapter_tensors(shape, lora), *heads], whole_trained=trained, place=place)
