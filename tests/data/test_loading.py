"""Rows to examples, on files made here; each kind of bad input has one clear message."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlhf_engine.config import CleaningConfig, ColumnConfig, DataConfig, TokenizerConfig
from rlhf_engine.data.api import load_comparisons, load_demonstrations, load_documents, load_prompts, raw_texts
from rlhf_engine.data.cache import cache_key
from rlhf_engine.data.tokenizers import check_vocabulary, load_tokenizer, train_tokenizer
from rlhf_engine.errors import ConfigError, DataError
from rlhf_engine.hooks import NoHooks

HOOKS = NoHooks()
POST = {"subreddit": "advice", "title": "a title", "post": "first line\nsecond line\nthird line", "summary": "short"}
PAIR = {"subreddit": "advice", "title": "t", "post": "the post", "chosen": "good", "rejected": "bad"}


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    config = TokenizerConfig(train_vocab_size=400)
    return load_tokenizer(config, "", lambda: ["first line second third post short good bad TL;DR:"] * 5)


def jsonl(path: Path, rows: Sequence[Any]) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def data(source: str, **changes: Any) -> DataConfig:
    return DataConfig(source=[source], **changes)


def test_the_prompt_is_the_papers_and_the_response_starts_with_a_blank_and_ends_with_eos(
    tokenizer: Any, tmp_path: Path
) -> None:
    (example,) = load_demonstrations(
        data(jsonl(tmp_path / "a.jsonl", [POST])), tokenizer, hooks=HOOKS, cache_dir=tmp_path
    )
    expected = "SUBREDDIT: r/advice\n\nTITLE: a title\n\nPOST: first line\nsecond line\nthird line\n\nTL;DR:"
    assert example.prompt.text == expected
    assert tokenizer.decode(example.prompt.tokens) == expected
    assert tokenizer.decode(example.response_tokens) == " short" + tokenizer.eos_token
    assert example.response_tokens[-1] == tokenizer.eos_token_id != tokenizer.pad_token_id


def test_a_long_post_loses_whole_lines_from_its_end(tokenizer: Any, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", [POST])
    (whole,) = load_prompts(data(source), tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    config = data(source, max_prompt_tokens=len(whole.tokens) - 1)
    examples = load_prompts(config, tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    assert "POST: first line\nsecond line\n\nTL;DR:" in examples[0].text
    assert examples.report.counts["prompts cut"] == 1


def test_a_long_response_is_cut_and_loses_its_eos(tokenizer: Any, tmp_path: Path) -> None:
    row = POST | {"summary": "good bad good bad good bad"}
    config = data(jsonl(tmp_path / "a.jsonl", [row]), max_response_tokens=3)
    examples = load_demonstrations(config, tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    assert len(examples[0].response_tokens) == 3
    assert examples[0].response_tokens[-1] != tokenizer.eos_token_id
    assert examples.report.counts["responses cut"] == 1


def test_every_format_gives_the_same_examples(tokenizer: Any, tmp_path: Path) -> None:
    import datasets

    rows = [POST, POST | {"post": "another post"}]
    jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    table = datasets.Dataset.from_list(rows)
    table.to_parquet(str(tmp_path / "a.parquet"))
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(POST))
        writer.writeheader()
        writer.writerows(rows)
    table.save_to_disk(str(tmp_path / "saved"))
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    sources = [tmp_path / f"a.{end}" for end in ("jsonl", "jsonl.gz", "json", "parquet", "csv")] + [arrow]
    loaded = [
        [e.prompt.tokens for e in load_demonstrations(data(str(s)), tokenizer, hooks=HOOKS, cache_dir=tmp_path / "c")]
        for s in sources
    ]
    assert len(loaded[0]) == 2
    assert all(tokens == loaded[0] for tokens in loaded)


def test_bad_rows_are_listed_with_reasons_and_the_rest_is_used(tokenizer: Any, tmp_path: Path) -> None:
    rows = [PAIR | {"post": f"post {i}"} for i in range(10)]
    bad: list[Any] = ["{not json", PAIR | {"chosen": None}, PAIR | {"rejected": "  "}, PAIR | {"rejected": "good "}]
    source = jsonl(tmp_path / "a.jsonl", [*rows, *bad, PAIR | {"post": ""}])
    groups = load_comparisons(data(source, max_bad_share=0.4), tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    assert len(groups) == 10
    groups.report.write_skipped(tmp_path / "skipped.jsonl")
    listed = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    reasons = ["not JSON", "chosen is null", "rejected is empty", "chosen = rejected", "post is empty"]
    assert [row["reason"] for row in listed] == reasons
    assert [row["row"] for row in listed] == [11, 12, 13, 14, 15]


def test_too_many_bad_rows_are_an_error_that_names_the_first(tokenizer: Any, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", [PAIR, "nonsense"])
    with pytest.raises(DataError, match=r"1 of 2 rows can't be used.*a\.jsonl:2: not JSON"):
        load_comparisons(data(source), tokenizer, hooks=HOOKS, cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jsonl", "", "is empty"),
        ("columns.jsonl", '{"titel": "x", "body": "y"}\n', "there is titel, body"),
        ("list.json", '{"a": 1}', "expected a list"),
        ("broken.parquet", "not parquet", "can't be read as .parquet"),
        ("notes.txt", "x", "unknown format"),
    ],
)
def test_a_bad_file_has_one_clear_message(tokenizer: Any, tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as raised:
        load_demonstrations(data(str(tmp_path / name)), tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_names_its_nearest_neighbour(tokenizer: Any, tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", [POST])
    with pytest.raises(DataError, match=r"no such file.*Did you mean 'train.jsonl'"):
        load_prompts(data(str(tmp_path / "tran.jsonl")), tokenizer, hooks=HOOKS, cache_dir=tmp_path)


def test_columns_can_be_named_and_a_wrong_name_lists_what_is_there(tokenizer: Any, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", [{"question": "q ?", "better": "yes", "worse": "no"}])
    columns = ColumnConfig(prompt="question", chosen="better", rejected="worse")
    config = data(source, template="plain", columns=columns)
    (group,) = load_comparisons(config, tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    assert (group.prompt.text, group.responses, group.pairs) == ("q ?", ["yes", "no"], [(0, 1)])
    wrong = data(source, template="plain", columns=ColumnConfig(prompt="qestion"))
    with pytest.raises(DataError, match=r"no column 'qestion'; there is question.*Did you mean 'question'"):
        load_comparisons(wrong, tokenizer, hooks=HOOKS, cache_dir=tmp_path)


def test_whole_transcripts_are_split_at_the_assistants_last_turn(tokenizer: Any, tmp_path: Path) -> None:
    head = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: how?\n\nAssistant:"
    source = jsonl(tmp_path / "a.jsonl", [{"chosen": head + " so", "rejected": head + " no"}])
    (group,) = load_comparisons(data(source, template="dialogue"), tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    assert group.prompt.text == head
    assert group.responses == ["so", "no"]


def test_pairs_on_one_post_join_into_a_group_of_its_different_responses(tokenizer: Any, tmp_path: Path) -> None:
    pairs = [("a", "b"), ("a", "c"), ("c", "b")]
    rows = [PAIR | {"chosen": chosen, "rejected": rejected} for chosen, rejected in pairs]
    source = jsonl(tmp_path / "a.jsonl", rows)
    (group,) = load_comparisons(data(source), tokenizer, hooks=HOOKS, cache_dir=tmp_path, group_by_prompt=True)
    assert group.responses == ["a", "b", "c"]
    assert group.pairs == [(0, 1), (0, 2), (2, 1)]


def test_duplicates_and_posts_seen_elsewhere_are_left_out_and_counted(tokenizer: Any, tmp_path: Path) -> None:
    seen = jsonl(tmp_path / "seen.jsonl", [POST | {"post": "SEEN  before\n"}])
    source = jsonl(tmp_path / "a.jsonl", [POST, POST, POST | {"post": "seen before"}])
    config = data(source, exclude=[seen])
    examples = load_prompts(config, tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    assert len(examples) == 1
    assert examples.report.counts == {"duplicates": 1, "posts seen elsewhere": 1}
    everything = data(source, exclude=[seen], cleaning=CleaningConfig(duplicates=False, overlap=False))
    assert len(load_prompts(everything, tokenizer, hooks=HOOKS, cache_dir=tmp_path)) == 3


def test_text_is_mended_and_counted(tokenizer: Any, tmp_path: Path) -> None:
    row = POST | {"post": "cafe\u0301\x07  \n\n\n\nend "}
    (example,) = load_prompts(data(jsonl(tmp_path / "a.jsonl", [row])), tokenizer, hooks=HOOKS, cache_dir=tmp_path)
    assert "POST: café\n\nend\n\nTL;DR:" in example.text


def test_documents_are_packed_with_eos_between(tokenizer: Any, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", [{"text": "good bad"}, {"text": "post", "title": "short"}] * 4)
    config = data(source, template="plain", cleaning=CleaningConfig(duplicates=False))
    sequences = load_documents(config, tokenizer, 8, hooks=HOOKS, cache_dir=tmp_path)
    joined = tokenizer.decode([token for sequence in sequences for token in sequence])
    eos = tokenizer.eos_token
    assert all(len(sequence) == 8 for sequence in sequences)
    assert (f"good bad{eos}TITLE: short\n\nPOST: post{eos}" * 4).startswith(joined)
    assert next(iter(raw_texts(config, HOOKS))) == "good bad"


def test_the_cache_misses_when_anything_that_matters_changes(tokenizer: Any, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", [POST])
    base = data(source)
    key = cache_key("prompts", base, tokenizer)
    assert key == cache_key("prompts", data(source, max_bad_share=0.5), tokenizer)
    changed = [
        data(source, max_prompt_tokens=99),
        data(source, max_response_tokens=9),
        data(source, template="plain"),
        data(source, cleaning=CleaningConfig(unicode=False)),
        data(source, columns=ColumnConfig(post="post")),
        data(source, max_rows=1),
    ]
    other = train_tokenizer(["x y z"], 300, word_level=True)
    keys = [cache_key("prompts", config, tokenizer) for config in changed]
    keys += [cache_key("other", base, tokenizer), cache_key("prompts", base, other)]
    jsonl(tmp_path / "a.jsonl", [POST | {"post": "changed"}])
    keys.append(cache_key("prompts", base, tokenizer))
    assert len({key, *keys}) == len(keys) + 1


def test_tokenizers_without_an_end_and_with_one_for_padding_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.eos_token: '<nope>'"):
        load_tokenizer(TokenizerConfig(train_vocab_size=300, eos_token="<nope>"), "", lambda: ["a"])
    with pytest.raises(ConfigError, match=r"pad_token: .* is the end token"):
        load_tokenizer(TokenizerConfig(train_vocab_size=300, pad_token="<|endoftext|>"), "", lambda: ["a"])
    with pytest.raises(ConfigError, match="none given"):
        load_tokenizer(TokenizerConfig(), "", lambda: ["a"])
    with pytest.raises(ConfigError, match="can't be loaded"):
        load_tokenizer(TokenizerConfig(path=str(tmp_path / "nowhere")), "", lambda: ["a"])
    with pytest.raises(ConfigError, match="the model embeds 10"):
        check_vocabulary(tokenizer, 10)
    check_vocabulary(tokenizer, len(tokenizer) - 1)


def test_a_trained_tokenizer_is_the_same_to_plain_transformers(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    plain = AutoTokenizer.from_pretrained(tmp_path)
    text = "SUBREDDIT: r/x\n\nPOST: good  bad é\n\nTL;DR: short"
    assert plain(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (plain.eos_token_id, plain.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
