#!/usr/bin/env python3
"""One run of the peer on one document length; prints a JSON object with the names of
`longleaf-eval bench --json`.

The document is read step by step for at most --budget seconds. What is left is not read: the
state is stretched to the document's length (peer_state.py) and single steps are timed at its end,
at half of it, at a quarter and so on. The rest of the prefill is then the area under those steps'
times ("prefill_measured_tokens" says what was really read). Decoding, the first token and the state
file are always measured at the full length.
"""
import argparse
import json
import os
import pathlib
import time

import numpy as np
from peer_llama import Peer, PeerOptions, description
from peer_state import stretch


def status_bytes(name: str) -> int:
    """A line of /proc/self/status that is given in kB."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def drop_page_cache(path: pathlib.Path) -> None:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


class Measurement:
    """The steps share the peer, the document and what they have measured so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.length: int = args.length
        self.answer: int = args.decode_tokens
        options = PeerOptions(args.threads, args.cache, args.flash_attention == "on", args.chunk)
        # The peer's cache comes in blocks of 256; a step may be sampled at the end.
        context = -(-(self.length + max(args.question_tokens + self.answer, 1)) // 256) * 256
        self.peer = Peer(args.model, context, options)
        self.chunk = options.chunk
        random = np.random.default_rng(1)
        self.document: list[int] = random.integers(3, self.peer.vocab, self.length).tolist()
        self.question: list[int] = random.integers(3, self.peer.vocab,
                                                   args.question_tokens).tolist()
        self.file: pathlib.Path = args.folder / f"state-{os.getpid()}.bin"
        self.short_file = self.file.with_suffix(".short")
        self.result: dict = {
            "tokens": self.length, "peer": description(), "threads": options.threads,
            "cache": options.cache, "flash_attention": args.flash_attention,
            "chunk": options.chunk, "load_seconds": self.peer.load_seconds,
        }

    def run(self, budget: float) -> dict:
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        try:
            first_token = self.read_document(budget)
            self.result["state_bytes"] = self.file.stat().st_size
            self.restore(first_token)
            self.decode()
            self.extrapolate()
        finally:
            self.file.unlink(missing_ok=True)
            self.short_file.unlink(missing_ok=True)
        self.result["peak_memory_bytes"] = status_bytes("VmHWM")
        return self.result

    def step(self, position: int) -> float:
        tokens = self.document[position:position + self.chunk]
        return self.peer.read(tokens, position, outputs=1)

    def first_token(self) -> tuple[int, float]:
        begin = time.perf_counter()
        self.peer.read(self.question, self.length)
        token = self.peer.next_token()
        return token, time.perf_counter() - begin

    def read_document(self, budget: float) -> int | None:
        """Leaves a state file of the whole length; gives the live answer where all was read."""
        self.step(0)  # a server has long taken its first step when a document comes
        self.peer.forget(0)
        self.steps: list[tuple[int, float]] = []  # position of the step, seconds
        self.done = 0
        spent = 0.0
        while self.done < self.length and spent < budget:
            seconds = self.step(self.done)
            self.steps.append((self.done, seconds))
            spent += seconds
            self.done += min(self.chunk, self.length - self.done)
        self.result["prefill_measured_tokens"] = self.done
        if self.done < self.length:
            known = min(self.done, self.chunk)
            self.peer.forget(known)
            self.peer.save(self.short_file, self.document[:known])
            stretch(self.short_file, self.file, self.length)
            return None
        token, _ = self.first_token()
        self.peer.forget(self.length)
        begin = time.perf_counter()
        self.peer.save(self.file, self.document)
        drop_page_cache(self.file)
        self.result["save_seconds"] = time.perf_counter() - begin
        return token

    def restore(self, live_token: int | None) -> None:
        self.peer.forget(0)
        drop_page_cache(self.file)
        begin = time.perf_counter()
        if self.peer.load(self.file, self.length) != self.length:
            raise RuntimeError("the peer restored another length")
        self.result["restore_seconds"] = time.perf_counter() - begin
        token, seconds = self.first_token()
        self.result["ttft_disk_seconds"] = self.result["restore_seconds"] + seconds
        if live_token not in (None, token):
            raise RuntimeError("the peer's restored state gives another answer than the live one")

    def decode(self) -> None:
        self.peer.forget(self.length)
        token, self.result["ttft_memory_seconds"] = self.first_token()
        position = self.length + len(self.question)
        begin = time.perf_counter()
        for step in range(self.answer):
            self.peer.read([token], position + step)
            token = self.peer.next_token()
        seconds = time.perf_counter() - begin
        self.result["decode_tokens_per_second"] = self.answer / seconds

    def extrapolate(self) -> None:
        """Steps where the document was not read, from its end on, and the whole prefill's time."""
        sampled: list[tuple[int, float]] = []
        position = self.length - self.chunk
        while position > self.done:
            self.peer.forget(position)
            sampled.insert(0, (position, self.step(position)))
            position = position // 2 // self.chunk * self.chunk
        seconds = sum(seconds for _, seconds in self.steps)
        if self.done < self.length:
            # The last measured steps, as one point, and the sampled ones: straight lines between.
            last = self.steps[-4:]
            points = [tuple(np.mean(last, axis=0)), *sampled]
            rest = np.arange(self.done, self.length, self.chunk)
            seconds += float(np.interp(rest, *zip(*points)).sum())
        self.result["prefill_seconds"] = seconds
        self.result["prefill_tokens_per_second"] = self.length / seconds
        self.result["steps"] = self.steps
        self.result["sampled_steps"] = sampled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, help="GGUF file")
    parser.add_argument("length", type=int, help="tokens of the document")
    parser.add_argument("--cache", default="f16", help="type of keys and values")
    parser.add_argument("--flash-attention", choices=("on", "off"), default="on")
    parser.add_argument("--chunk", type=int, default=512, help="n_batch and n_ubatch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--budget", type=float, default=60, help="seconds of reading")
    parser.add_argument("--question-tokens", type=int, default=24)
    parser.add_argument("--decode-tokens", type=int, default=32)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("."),
                        help="where the state file lies meanwhile")
    args = parser.parse_args()
    print(json.dumps(Measurement(args).run(args.budget)))


if __name__ == "__main__":
    main()
