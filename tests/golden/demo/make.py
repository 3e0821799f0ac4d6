#!/usr/bin/env python3
"""Writes answers.tsv, and SHA256SUMS of the built-in model: run it when model/demo has changed.

    python3 tests/golden/demo/make.py [--model model/demo]

Needs Python's numpy and sentencepiece; takes a minute or so. Computes in float64 and shares no code
with the engine. With another model it prints the table and writes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[2] / "model" / "demo"
CHECKED = ("config.json", "model.safetensors", "prompt.json", "tokenizer.model")
CHUNK = 256  # tokens computed at a time
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Attention:
    """What query i (counted from 1) sees: `cores(i)` core tokens, and raw tokens from `first(i)` on."""

    window: int
    group: int  # 0: no core tokens, so nothing of what lies before the window

    def cores(self, i: int) -> int:
        return max(0, i - self.window) // self.group if self.group else 0

    def first(self, i: int) -> int:
        return self.cores(i) * self.group if self.group else max(0, i - self.window)


@dataclass(frozen=True)
class Reply:
    """A greedy answer, and by how much its closest choice of a token was decided (logits)."""

    text: str
    margin: float


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a file, in float64."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        raw = data[begin + first : begin + last]
        if entry["dtype"] == "BF16":  # the upper half of a float32
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"]).astype(np.float64)
    return tensors


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Cache:
    """Keys and values of one layer, [head, token, width]: raw ones, and core tokens by group."""

    def __init__(self, heads: int, width: int, tokens: int, group: int) -> None:
        cores = tokens // group if group else 0
        self.k, self.v = np.zeros((2, heads, tokens, width))
        self.core_k, self.core_v = np.zeros((2, heads, cores, width))


class Llama:
    """The checkpoint of a folder; `cache` holds what was read, one `Cache` a layer.

    Writing at a position overwrites what was read there before, so questions may follow a document
    in turn without copies of it.
    """

    def __init__(self, folder: Path, attention: Attention, tokens: int) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        if self.config.get("rope_scaling") is not None:
            raise SystemExit("rope_scaling is not computed here")
        self.weights = read_safetensors(folder / "model.safetensors")
        self.attention = attention
        self.heads = self.config["num_attention_heads"]
        if self.config["num_key_value_heads"] != self.heads:
            raise SystemExit("key heads shared by query heads are not computed here")
        self.width = self.config["head_dim"]
        self.cache = [Cache(self.heads, self.width, tokens, attention.group)
                      for _ in range(self.config["num_hidden_layers"])]

    def read(self, ids: list[int], begin: int) -> np.ndarray:
        """Reads tokens from position `begin` on; the last one's logits."""
        for at in range(0, len(ids), CHUNK):
            x = self._chunk(np.array(ids[at : at + CHUNK]), begin + at)
        output = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        return output @ self._norm(x[-1], "model.norm.weight")

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        mean = np.mean(x * x, -1, keepdims=True)
        return x / np.sqrt(mean + self.config["rms_norm_eps"]) * self.weights[name]

    def _chunk(self, ids: np.ndarray, begin: int) -> np.ndarray:
        x = self.weights["model.embed_tokens.weight"][ids]
        positions = np.arange(begin, begin + len(ids))
        for number, cache in enumerate(self.cache):
            prefix = f"model.layers.{number}."

            def linear(y: np.ndarray, name: str) -> np.ndarray:
                return y @ self.weights[f"{prefix}{name}.weight"].T

            y = self._norm(x, f"{prefix}input_layernorm.weight")
            q, k, v = (self._by_head(linear(y, f"self_attn.{name}_proj")) for name in "qkv")
            q, k = self._rotate(q, positions), self._rotate(k, positions)
            cache.k[:, positions], cache.v[:, positions] = k, v
            self._pool(cache, q, begin)
            seen = self._attend(cache, q, begin)
            x = x + linear(seen.transpose(1, 0, 2).reshape(len(ids), -1), "self_attn.o_proj")
            y = self._norm(x, f"{prefix}post_attention_layernorm.weight")
            gate = linear(y, "mlp.gate_proj")
            x = x + linear(gate / (1 + np.exp(-gate)) * linear(y, "mlp.up_proj"), "mlp.down_proj")
        return x

    def _by_head(self, y: np.ndarray) -> np.ndarray:
        return y.reshape(len(y), self.heads, self.width).transpose(1, 0, 2)

    def _rotate(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
        half = self.width // 2
        turns = self.config["rope_theta"] ** (-np.arange(half) / half)
        cos, sin = np.cos(np.outer(positions, turns)), np.sin(np.outer(positions, turns))
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def _pool(self, cache: Cache, q: np.ndarray, begin: int) -> None:
        """Core tokens of the groups that end in this chunk, weighted as their last queries attend."""
        size = self.attention.group
        for group in range(begin // size, (begin + q.shape[1]) // size) if size else ():
            rows = slice(group * size, group * size + size)
            last = q[:, (group + 1) * size - 1 - begin]
            k, v = cache.k[:, rows], cache.v[:, rows]
            weights = softmax(np.einsum("hw,htw->ht", last, k) / np.sqrt(self.width))
            cache.core_k[:, group] = np.einsum("ht,htw->hw", weights, k)
            cache.core_v[:, group] = np.einsum("ht,htw->hw", weights, v)

    def _attend(self, cache: Cache, q: np.ndarray, begin: int) -> np.ndarray:
        """One softmax over the core tokens and the raw tokens that each query sees."""
        queries = range(begin + 1, begin + q.shape[1] + 1)
        cores = np.array([self.attention.cores(i) for i in queries])[:, None]
        firsts = np.array([self.attention.first(i) for i in queries])[:, None]
        raw = np.arange(firsts.min(), queries[-1])
        most = cores.max()
        seen = np.concatenate([np.arange(most) < cores,
                               (raw >= firsts) & (raw < np.array(queries)[:, None])], 1)
        keys = np.concatenate([cache.core_k[:, :most], cache.k[:, raw]], 1)
        values = np.concatenate([cache.core_v[:, :most], cache.v[:, raw]], 1)
        scores = q @ keys.transpose(0, 2, 1) / np.sqrt(self.width)
        return softmax(np.where(seen, scores, -np.inf)) @ values


class Demonstration:
    """The document and the questions of a model's folder, answered greedily."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text())
        self.prompt = json.loads((folder / "prompt.json").read_text())
        if self.prompt["preamble"] or self.prompt["stop"]:
            raise SystemExit("a preamble or stop strings are not computed here")
        self.pieces = sentencepiece.SentencePieceProcessor(
            model_file=str(folder / "tokenizer.model"))
        lines = (folder / "questions.tsv").read_text(encoding="utf-8").splitlines()
        self.questions = [line.split("\t")[1:] for line in lines]

    def question_ids(self, question: str) -> list[int]:
        """Its tokens as they continue a text: without the space that the library puts before one."""
        text = self.prompt["question_prefix"] + question + self.prompt["question_suffix"]
        ids = self.pieces.encode(text)
        if self.pieces.id_to_piece(ids[0]) != "\u2581":
            raise SystemExit("the question's first token is not the library's space alone")
        return ids[1:]

    def answers(self, attention: Attention) -> list[Reply]:
        """To every question, after the document was read once."""
        document = (self.folder / "document.txt").read_text(encoding="utf-8")
        ids = [self.config["bos_token_id"]] + self.pieces.encode(document)
        asked = [self.question_ids(question) for question, _ in self.questions]
        most = self.prompt["max_answer_tokens"]
        model = Llama(self.folder, attention, len(ids) + max(map(len, asked)) + most)
        model.read(ids, 0)
        return [self._answer(model, question, len(ids), most) for question in asked]

    def _answer(self, model: Llama, question: list[int], begin: int, most: int) -> Reply:
        logits = model.read(question, begin)
        begin += len(question)
        answer: list[int] = []
        margin = np.inf
        while True:
            token = int(np.argmax(logits))
            margin = min(margin, logits[token] - np.delete(logits, token).max())
            if token == self.config["eos_token_id"]:
                break
            answer.append(token)
            if len(answer) == most:
                break
            logits = model.read([token], begin)
            begin += 1
        return Reply(self.pieces.decode(answer), float(margin))


def escaped(text: str) -> str:
    """On one line, without tabs."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEMO, help="another model's folder, to look at")
    folder = parser.parse_args().model.resolve()
    demonstration = Demonstration(folder)
    cca = demonstration.config["cca"]
    cores = demonstration.answers(Attention(cca["window"], cca["group_size"]))
    window = demonstration.answers(Attention(cca["window"], 0))

    rows = [f"# model.safetensors {sha256(folder / 'model.safetensors')}"]
    right = {True: [0, 0, 0], False: [0, 0, 0]}  # by stated: questions, right with cores, window
    for (question, truth), core, alone in zip(demonstration.questions, cores, window):
        rows.append("\t".join([question, truth, escaped(core.text), f"{core.margin:.4f}",
                               escaped(alone.text), f"{alone.margin:.4f}"]))
        counts = right[truth != NOT_STATED]
        counts[:] = np.add(counts, [1, core.text == truth, alone.text == truth])
    text = "\n".join(rows) + "\n"
    print(text)
    for stated, (asked, with_cores, with_window) in right.items():
        print(f"{'stated' if stated else 'not stated'}: of {asked} right {with_cores}, "
              f"with the window alone {with_window}")
    if folder == DEMO:
        (HERE / "answers.tsv").write_text(text, encoding="utf-8")
        sums = "".join(f"{sha256(folder / name)}  {name}\n" for name in CHECKED)
        (folder / "SHA256SUMS").write_text(sums)


if __name__ == "__main__":
    main()
