"""A thin hold on the peer's library: a model, a context of one sequence, and their state files.

Token ids go in, seconds and logits come out. Nothing here decides what to measure.
"""
import ctypes
import importlib.metadata
import os
import pathlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import llama_cpp
import numpy as np

# Of a key or value in the peer's cache, by the names its own programs use.
CACHE_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}


@dataclass(frozen=True)
class PeerOptions:
    """What the peer's own benchmark would take as flags."""

    threads: int
    cache: str = "f16"
    flash_attention: bool = True
    chunk: int = 512  # its n_batch and n_ubatch


def description() -> str:
    """Version, instruction sets it was compiled for, and options of the build."""
    info = llama_cpp.llama_print_system_info().decode()
    return (f"llama.cpp of llama-cpp-python {importlib.metadata.version('llama-cpp-python')}; "
            f"{' '.join(info.split())}")


@llama_cpp.llama_log_callback
def _quiet(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    if level == 4:  # errors
        os.write(2, text)


class Peer:
    """One model and one context. Not for several threads."""

    def __init__(self, path: pathlib.Path, context: int, options: PeerOptions) -> None:
        llama_cpp.llama_log_set(_quiet, None)
        llama_cpp.llama_backend_init()
        self.options = options
        begin = time.perf_counter()
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"the peer cannot load {path}")
        self.load_seconds = time.perf_counter() - begin
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = options.chunk
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = 1 if options.flash_attention else 0
        params.type_k = params.type_v = CACHE_TYPES[options.cache]
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError(f"the peer has no memory for a context of {context} tokens")
        self._memory = llama_cpp.llama_get_memory(self._context)
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocab: int = llama_cpp.llama_vocab_n_tokens(vocab)
        self._batch = llama_cpp.llama_batch_init(options.chunk, 0, 1)

    def close(self) -> None:
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def read(self, tokens: Sequence[int], position: int, outputs: int = 1) -> float:
        """One step with at most `chunk` tokens from `position` on, logits for the last `outputs`.

        Returns seconds.
        """
        batch = self._batch
        batch.n_tokens = len(tokens)
        for row, token in enumerate(tokens):
            batch.token[row] = token
            batch.pos[row] = position + row
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = 0
            batch.logits[row] = row >= len(tokens) - outputs
        begin = time.perf_counter()
        code = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_synchronize(self._context)
        seconds = time.perf_counter() - begin
        if code != 0:
            raise RuntimeError(f"the peer's step at {position} failed with {code}")
        return seconds

    def logits(self, row: int) -> np.ndarray:
        """Of a row of the last step that wanted them, f32 [vocab]; a copy."""
        values = llama_cpp.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(values, (self.vocab,)).copy()

    def next_token(self) -> int:
        """The likeliest after the last step, which had one output."""
        values = llama_cpp.llama_get_logits_ith(self._context, -1)
        return int(np.ctypeslib.as_array(values, (self.vocab,)).argmax())

    def forget(self, position: int) -> None:
        """Drops all tokens from `position` on."""
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, position, -1):
            raise RuntimeError(f"the peer cannot forget from {position} on")

    def save(self, path: pathlib.Path, tokens: Sequence[int]) -> int:
        """Writes the sequence's state, as the peer's server does for a slot. Returns bytes."""
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        size = llama_cpp.llama_state_seq_save_file(self._context, str(path).encode(), 0, array,
                                                   len(tokens))
        if not size:
            raise RuntimeError(f"the peer cannot write {path}")
        return size

    def load(self, path: pathlib.Path, capacity: int) -> int:
        """The reverse; the file may have `capacity` tokens. Returns how many it had."""
        array = (llama_cpp.llama_token * capacity)()
        count = ctypes.c_size_t(0)
        if not llama_cpp.llama_state_seq_load_file(self._context, str(path).encode(), 0, array,
                                                   capacity, ctypes.byref(count)):
            raise RuntimeError(f"the peer cannot read {path}")
        return count.value
