"""The typed messages of a run: one JSON line each in `events.jsonl`, written by the worker alone.

`decode_event` never fails on what a newer writer added: an unknown kind comes back as `UnknownEvent` with its fields.
Non-finite numbers travel as the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec

from rlhf_sdk.bounds import LATEST, Count, Difference, Seconds, check_depth
from rlhf_sdk.non_finite import restore_numbers, spell_non_finite
from rlhf_sdk.scrubbing import scrub

SCHEMA = 1

Severity = Literal["info", "warning", "error"]
CheckStatus = Literal["ok", "warn", "fail"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every event carries.

    `seq` counts the events of a run and never restarts; `attempt` counts starts of the worker; `step` is the number of
    finished steps when the event was written; `time` is Unix time in seconds.
    """

    schema: Annotated[int, msgspec.Meta(le=SCHEMA)] = SCHEMA
    seq: int = 0
    attempt: int = 1
    time: Seconds = 0.0
    step: Count = 0


class Started(Event, frozen=True, tag="started"):
    """The worker begins or goes on (`resumed_from` names the checkpoint) towards `total_steps`.

    Metrics, phases and checks of earlier attempts with a `seq` above `resumed_seq` are superseded, and so are samples
    above `resumed_sample_seq`: they will be made again.
    """

    plugin: str
    total_steps: Count
    resumed_from: str | None = None
    resumed_seq: int = 0
    resumed_sample_seq: int = 0


class StateChanged(Event, frozen=True, tag="state"):
    """The run is now in `state` (see `states.py`)."""

    state: str
    reason: str = ""


class MetricsLogged(Event, frozen=True, gc=False, tag="metrics"):
    """What a finished step measured, units in the names (`kl/sequence_nats`); `seconds` is the step's wall time."""

    values: dict[str, float]
    seconds: float


class PhaseEnded(Event, frozen=True, gc=False, tag="phase"):
    """One named phase of a step ended: wall seconds, and memory in bytes, as `Runtime.memory` names it.

    `count`: how many phases of this name the outermost one had; seconds are their sum, peaks the highest.
    """

    name: str
    seconds: Seconds
    memory: dict[str, Count]
    count: Count = 1


class Progress(Event, frozen=True, gc=False, tag="progress"):
    """Within a long step or set-up: `done` of `total` (None: unknown) units of `what`."""

    what: str
    done: Count
    total: Count | None = None


class Note(Event, frozen=True, tag="note"):
    """A fact worth keeping in the record, in words (rows dropped, a cache that was used)."""

    text: str


class Example(msgspec.Struct, frozen=True):
    """A prompt with the response to it, as evidence."""

    prompt: str
    response: str


class Alert(Event, frozen=True, tag="alert"):
    """Something a person should look at: `code` is stable, `advice` says what to do.

    `phase` is where it was seen, `figures` has what was measured (bytes, steps, nats) by name, `examples` a few
    responses that show it.
    """

    severity: Severity
    code: str
    message: str
    advice: str = ""
    phase: str = ""
    figures: dict[str, float] = {}
    examples: list[Example] = []


class MemoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one role (`policy`, `value_model`, ...) keeps of one kind, in bytes, from the tensors themselves."""

    role: str
    kind: Literal["weights", "gradients", "optimizer", "experience"]
    bytes: Count


class MemoryTable(Event, frozen=True, tag="memory_table"):
    """What the trainer keeps between steps; `unaccounted` is what else is in use, in bytes.

    On a device that is the allocator's other tensors, without one the libraries and whatever else the process holds.
    """

    rows: list[MemoryRow]
    unaccounted: Difference


class Check(Event, frozen=True, tag="check"):
    """A sanity light: the figure that was measured, the tolerance that it was held against."""

    name: str
    status: CheckStatus
    figure: float
    tolerance: float
    explanation: str = ""


class CheckpointSaved(Event, frozen=True, tag="checkpoint"):
    """`name` is the folder under `checkpoints/`; it is complete and verified when this is written."""

    name: str
    bytes: Count
    seconds: float
    reason: str = ""


class CommandAcknowledged(Event, frozen=True, tag="ack"):
    """An answer to one command: first accepted, refused or ignored; then, where it was accepted, done, or why not.

    `details` has what came of it as plain data: `checkpoint` (its name), `sample_seq` (first and last), `previous`.
    """

    command_id: str
    command: str
    outcome: Literal["accepted", "done", "refused", "ignored"]
    message: str = ""
    details: dict[str, Any] = {}


class ValueSet(Event, frozen=True, tag="value_set"):
    """A live hyper-parameter changed before the step that follows; `again`: repeated after a resume, as recorded."""

    key: str
    value: Any
    previous: Any
    again: bool = False


class ChildRun(Event, frozen=True, tag="child"):
    """A pipeline's stage: which run does it, and in what state it is."""

    stage: str
    run_id: str
    state: str


class Result(Event, frozen=True, tag="result"):
    """What the run found out, as plain data (the evaluation table, say); `name` tells readers how to show it."""

    name: str
    data: dict[str, Any]


class Finished(Event, frozen=True, tag="finished"):
    """The worker ends; `exit_code` as documented in `exit_codes.py`."""

    exit_code: int
    reason: str = ""


class UnknownEvent(Event, frozen=True, tag="unknown"):
    """An event of a kind that this version does not know, with everything it carried."""

    original_kind: str
    fields: dict[str, Any]


ASKED = "asked"
"""The tag of samples that somebody asked for."""


PROBE_TAG = "probe"
"""Tag of samples of a fixed set of prompts, answered again and again: readers show these first."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `samples.jsonl`: what the policy wrote for a prompt, and how it was scored.

    `tag` groups samples (`rollout`, `eval/ppo/temperature_1`, ...); `index` identifies the prompt within the tag, so
    that one prompt can be followed through time. `metrics` has scalars (`score`, `kl/sequence_nats`,
    `response_tokens`).

    `token_ends`: how many characters of `response` stand before the end of each token, the end token included;
    `token_values`: a figure for each of these tokens, by name, with its unit in it (`kl_nats`). No text of tokens: a
    key that is scrubbed from the response could be put together from them.
    """

    seq: int = 0
    attempt: int = 1
    time: float = 0.0
    step: int = 0
    tag: str
    index: int
    prompt: str
    response: str
    reference: str | None = None
    ended: bool = True
    metrics: dict[str, float] = {}
    token_ends: list[int] = []
    token_values: dict[str, list[float]] = {}


PlainEvent = (
    Started | StateChanged | MetricsLogged | PhaseEnded | Progress | Note | Alert | Check | CheckpointSaved
    | MemoryTable | ChildRun | Finished
)  # fmt: skip
"""Those without fields that may be nested to any depth."""

AnyEvent = PlainEvent | CommandAcknowledged | ValueSet | Result

_encoder = msgspec.json.Encoder()
_plain: msgspec.json.Decoder[Event] = msgspec.json.Decoder(PlainEvent)


def encode_line(record: msgspec.Struct) -> bytes:
    """One JSON line, newline included, without keys and passwords."""
    return _encoder.encode(scrub(spell_non_finite(msgspec.to_builtins(record)))) + b"\n"


def decode_event(line: bytes | str) -> Event:
    """The event of one line.

    Raises `ValueError` if the line is not a JSON object or is nested too deep; unknown kinds, ill-typed fields of known
    kinds and events of a newer schema, whose meaning may be another, come back as `UnknownEvent`.
    """
    with suppress(msgspec.ValidationError):
        return _plain.decode(line)
    fields = msgspec.json.decode(line, type=dict[str, Any])
    check_depth(fields)
    schema = fields.get("schema", SCHEMA)
    if isinstance(schema, int) and schema > SCHEMA:
        return _unknown_event(fields)
    try:
        event: Event = msgspec.convert(restore_numbers(fields), type=AnyEvent)
        return event
    except msgspec.ValidationError:
        return _unknown_event(fields)


def decode_events(lines: bytes) -> list[Event]:
    """The events of many lines, some ten times as fast. Raises `ValueError` where any is not as usual."""
    return _plain.decode_lines(lines)


def _unknown_event(fields: dict[str, Any]) -> UnknownEvent:
    def whole(key: str, default: int) -> int:
        value = fields.get(key, default)
        return value if isinstance(value, int) else default

    time = fields.get("time", 0.0)
    known_time = isinstance(time, int | float) and abs(time) <= LATEST
    return UnknownEvent(
        seq=whole("seq", 0),
        attempt=whole("attempt", 1),
        time=float(time) if known_time else 0.0,
        step=whole("step", 0),
        original_kind=str(fields.get("kind", "")),
        fields=fields,
    )


def decode_sample(line: bytes | str) -> Sample:
    """The sample of one line. Raises `ValueError` on a damaged one."""
    fields = msgspec.json.decode(line, type=dict[str, Any])
    return msgspec.convert(restore_numbers(fields), type=Sample)
