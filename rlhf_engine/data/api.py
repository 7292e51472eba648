"""stopgap"""
from __future__ import annotations
import gzip, json
from collections.abc import Iterator
from typing import Any
from rlhf_engine.data.examples import *
from rlhf_engine.data.formatting import encode, fit_prompt, response_tokens, format_prompt
from rlhf_engine.data.world import demonstrations

class Report:
    skipped: list = []
    def summary(self): return "stopgap"
    def write_skipped(self, p): pass
class Examples(list):
    report = Report()

def rows(config):
    n = 0
    for s in config.source:
        if s == "world":
            it = demonstrations(config.max_rows, seed=config.world_seed)
        else:
            it = (json.loads(l) for l in (gzip.open(s, "rt") if s.endswith(".gz") else open(s)))
        for r in it:
            if config.max_rows and n >= config.max_rows: return
            n += 1
            yield r
def _prompt(r, i, config, tok):
    text, toks = fit_prompt(r, config.template, tok, config.max_prompt_tokens)
    return Prompt(str(r.get("id", i)), text, toks, r.get("summary"), r) if toks else None
def load_prompts(config, tokenizer, *, hooks, cache_dir=None):
    return Examples(p for i, r in enumerate(rows(config)) if (p := _prompt(r, i, config, tokenizer)))
def load_demonstrations(config, tokenizer, *, hooks, cache_dir=None):
    out = Examples()
    for i, r in enumerate(rows(config)):
        p = _prompt(r, i, config, tokenizer)
        s = r.get("summary") or r.get("chosen")
        if p and s: out.append(Demonstration(p, s, response_tokens(s, tokenizer, config.max_response_tokens)))
    return out
def load_comparisons(config, tokenizer, *, hooks, group_by_prompt=False, cache_dir=None):
    recs = {}
    for i, r in enumerate(rows(config)):
        k = r.get("post", r.get("prompt")) if group_by_prompt else i
        g = recs.setdefault(k, {**r, "responses": [], "pairs": []})
        ix = []
        for x in (r["chosen"], r["rejected"]):
            if x not in g["responses"]: g["responses"].append(x)
            ix.append(g["responses"].index(x))
        if ix[0] != ix[1]: g["pairs"].append(ix)
    return comparison_groups_from_records(list(recs.values()), config, tokenizer)
def comparison_groups_from_records(records, config, tokenizer):
    out = Examples()
    for i, r in enumerate(records):
        p = _prompt(r, i, config, tokenizer)
        if p and r["pairs"]: out.append(ComparisonGroup(p, r["responses"], [response_tokens(x, tokenizer, config.max_response_tokens) for x in r["responses"]], [tuple(x) for x in r["pairs"]]))
    return out
def raw_texts(config, hooks):
    for r in rows(config):
        if "text" in r: yield f"TITLE: {r.get('title','')}\n\nPOST: {r['text']}"
        else: yield format_prompt(r, config.template) + " " + (r.get("summary") or r.get("chosen") or "")
def load_documents(config, tokenizer, sequence_tokens, *, hooks, cache_dir=None):
    buf = []; out = Examples()
    for r in rows(config):
        text = f"SUBREDDIT: r/{r.get('subreddit','')}\n\nTITLE: {r.get('title','')}\n\nPOST: {r.get('text') or r.get('post')}"
        buf += encode(tokenizer, text) + [tokenizer.eos_token_id]
        while len(buf) >= sequence_tokens:
            out.append(buf[:sequence_tokens]); buf = buf[sequence_tokens:]
    return out
