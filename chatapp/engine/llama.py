"""llama.cpp through llama-cpp-python's low-level C API: model, vocabulary, context, sampler chains.

Only the engine's child process makes contexts; `open_vocabulary` is for whoever needs token ids alone.
Importing this module imports llama_cpp, so set OMP_WAIT_POLICY before.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_cpp import llama_cpp as lib

from chatapp.core.errors import EngineError, ModelError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Sampling
from chatapp.engine.prompt import Special

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_WARNING, _ERROR, _CONTINUED = 3, 4, 5
_PENALTY_WINDOW = 64
_GREEDY = 1e-3
"""Below this temperature a division by it would overflow; it is greedy in all but name."""
_NO_TOKEN = -1
_LSTRIP, _RSTRIP = 1 << 7, 1 << 8
_CONTROL = 1 << 3
_DEFAULT_SEED = 0xFFFFFFFF
"""llama.cpp draws a seed of its own when it gets this one."""


class NativeLog:
    """Sends llama.cpp's warnings and errors to file descriptor 2 and remembers the last errors.

    llama.cpp has one log for the whole process: get it from `native_log`.
    """

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=8)
        self._level = 0
        self._callback = lib.llama_log_callback(self._take)
        lib.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _: Any) -> None:
        if level != _CONTINUED:
            self._level = level
        if self._level in (_WARNING, _ERROR):
            os.write(2, text)
        if self._level == _ERROR:
            self._errors.append(text.decode("utf-8", "replace"))

    def last_error(self) -> str:
        """The first of the remembered errors, closest to the cause, in one line; forgets them all."""
        errors, self._errors = list(self._errors), deque(maxlen=8)
        text = one_line(errors[0], 160) if errors else "no reason given"
        return text.split(": ", 1)[-1] if text.startswith("llama_") else text


@functools.cache
def native_log() -> NativeLog:
    """The log of this process; llama.cpp keeps a pointer into it, so it is never freed."""
    return NativeLog()


class CancelFlag:
    """A flag that llama.cpp reads in the middle of a decode without taking Python's lock."""

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)
        # strlen of the buffer is 0 or 1: an abort callback in C, so that no node waits for the interpreter.
        strlen = (ctypes.cdll.msvcrt if os.name == "nt" else ctypes.CDLL(None)).strlen
        self.callback = ctypes.cast(strlen, lib.ggml_abort_callback)
        self.data = ctypes.cast(self._text, ctypes.c_void_p)

    def set(self) -> None:
        self._text[0] = b"x"

    def clear(self) -> None:
        self._text[0] = b"\0"

    def is_set(self) -> bool:
        return self._text[0] != b"\0"


class Vocabulary:
    """The model's own tokenizer. Implements `prompt.Tokenizer`."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._vocab = lib.llama_model_get_vocab(model.pointer)
        self.size: int = lib.llama_vocab_n_tokens(self._vocab)
        self.bos = self._token(lib.llama_vocab_bos)
        self.eos = self._token(lib.llama_vocab_eos)
        self.eot = self._token(lib.llama_vocab_eot)
        self.add_bos = bool(lib.llama_vocab_get_add_bos(self._vocab))
        self.space_prefix = self.tokenize("a") != [] and self._piece(self.tokenize("a")[0]).startswith(b" ")
        """Whether `tokenize` puts a space in front of its text."""
        self.piece = functools.lru_cache(maxsize=1 << 16)(self._piece)

    def _token(self, which: Callable[[Any], int]) -> int | None:
        token = which(self._vocab)
        return None if token == _NO_TOKEN else token

    def tokenize(self, text: str, parse_special: bool = False) -> list[int]:
        """Token ids of `text`, without BOS or EOS; special tokens named in it only if `parse_special`."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            tokens = (lib.llama_token * room)()
            count = lib.llama_tokenize(self._vocab, data, len(data), tokens, room, False, parse_special)
            if count >= 0:
                return list(tokens[:count])
            if -count <= room:
                raise EngineError("the text is too long for the tokenizer", "shorten the message")
            room = -count

    def _piece(self, token: int) -> bytes:
        """The bytes that `token` stands for; empty for control tokens."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            length: int = lib.llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            room = -length

    def text(self, token: int) -> str:
        """How `token` is written in the vocabulary."""
        return (lib.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """Whether `token` ends a reply."""
        return bool(lib.llama_vocab_is_eog(self._vocab, token))

    def control(self, text: str) -> dict[str, Special]:
        """The control tokens that are written out in `text`, by how they are written."""
        found: dict[str, Special] = {}
        for token in set(self.tokenize(text, parse_special=True)):
            attributes = lib.llama_vocab_get_attr(self._vocab, token)
            if attributes & _CONTROL and (name := self.text(token)) in text:
                found[name] = Special(token, bool(attributes & _LSTRIP), bool(attributes & _RSTRIP))
        return found


class LlamaModel:
    """A loaded GGUF file and its LoRA adapter. `close` frees it."""

    def __init__(
        self,
        path: Path,
        *,
        extra_buffers: bool = True,
        gpu_layers: int = 0,
        vocab_only: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load `path`. Errors: `ModelError` with llama.cpp's reason."""
        self._adapters: dict[Path, tuple[tuple[int, int, int], Any]] = {}
        self._replaced: list[Any] = []
        native_log()
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        # A file that is cut short while it is mapped kills the process, so it is read into memory.
        params.load_mode = lib.LLAMA_LOAD_MODE_NONE
        params.use_extra_bufts = extra_buffers
        params.vocab_only = vocab_only
        # The callback must outlive the call.
        callback = lib.llama_progress_callback(functools.partial(_report, progress))
        params.progress_callback = callback
        self.pointer = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self.pointer:
            raise ModelError(f"llama.cpp cannot load {one_line(path.name, 80)}: {native_log().last_error()}")
        self.vocabulary = Vocabulary(self)
        self.n_ctx_train: int = lib.llama_model_n_ctx_train(self.pointer)
        self.parameters: int = lib.llama_model_n_params(self.pointer)
        if not vocab_only and lib.llama_model_has_encoder(self.pointer):
            self.close()
            raise ModelError(f"{one_line(path.name, 80)} has an encoder; only plain decoders can chat here")

    @property
    def description(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_desc(self.pointer, buffer, 256)
        return one_line(buffer.value.decode("utf-8", "replace"), 100)

    @property
    def template(self) -> str | None:
        """The file's own chat template."""
        text = lib.llama_model_chat_template(self.pointer, None)
        return text.decode("utf-8", "replace") if text else None

    def adapter(self, path: Path) -> Any:
        """The LoRA adapter in `path`, loaded once for each state of the file. Errors: `ModelError`."""
        try:
            status = path.stat()
        except OSError as error:
            raise ModelError(f"{one_line(path.name, 80)} cannot be read: {error.strerror}") from error
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        known, pointer = self._adapters.get(path, (None, None))
        if known != state:
            if known is not None:
                self._replaced.append(pointer)
                del self._adapters[path]
            pointer = lib.llama_adapter_lora_init(self.pointer, os.fsencode(path))
            if not pointer:
                raise ModelError(
                    f"llama.cpp refuses the adapter {one_line(path.name, 80)}: {native_log().last_error()}",
                    "choose another adapter or `base`",
                )
            self._adapters[path] = (state, pointer)
        return pointer

    def free_replaced(self) -> None:
        """Free the adapters whose files have changed since. No context may use them any more."""
        while self._replaced:
            lib.llama_adapter_lora_free(self._replaced.pop())

    def close(self) -> None:
        if self.pointer:
            lib.llama_model_free(self.pointer)
            self.pointer = None
            self._adapters.clear()
            self._replaced.clear()


def _report(progress: Callable[[float], None] | None, fraction: float, _: Any) -> bool:
    if progress is not None:
        progress(fraction)
    return True


def open_vocabulary(path: Path) -> Vocabulary:
    """The tokenizer of a GGUF file, without its weights. Errors: `ModelError`."""
    return LlamaModel(path, vocab_only=True).vocabulary


@dataclass(frozen=True, slots=True)
class Row:
    """One token to decode: where it stands in which sequence, and whether its logits are wanted."""

    token: int
    position: int
    sequence: int
    wanted: bool


class LlamaContext:
    """A KV cache of `cells` tokens shared by `sequences` sequences, and the decoding into it."""

    def __init__(
        self,
        model: LlamaModel,
        cells: int,
        sequences: int,
        batch: int,
        flag: CancelFlag,
        *,
        outputs: int = 0,
        unified: bool = True,
    ) -> None:
        """`outputs` rows of a batch may want logits (0: one for each sequence). Where not `unified`, each
        sequence has its own share of the cells.
        Errors: `ModelError` when there is not enough memory.
        """
        params = lib.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = batch
        params.n_ubatch = batch
        params.n_seq_max = sequences
        params.n_outputs_max = outputs or sequences
        params.kv_unified = unified
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.no_perf = True
        params.abort_callback = flag.callback
        params.abort_callback_data = flag.data
        self.batch = batch
        self.sequences = sequences
        self._flag = flag
        self.pointer = lib.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise ModelError(
                f"llama.cpp cannot make a context of {cells} tokens: {native_log().last_error()}",
                "lower n_ctx in config.toml",
            )
        self._vocab_size = model.vocabulary.size
        self._width: int = lib.llama_model_n_embd(model.pointer)
        self._memory = lib.llama_get_memory(self.pointer)
        self._batch = lib.llama_batch_init(batch, 0, 1)

    def set_threads(self, single: int, many: int) -> None:
        """How many threads decode one token, and how many decode a batch of several."""
        lib.llama_set_n_threads(self.pointer, single, many)

    def decode(self, rows: Sequence[Row]) -> int:
        """Decode at most `batch` rows. 0 done, 1 the cache is full, 2 cancelled. Errors: `EngineError`."""
        if not 0 < len(rows) <= self.batch:
            raise EngineError(f"a batch of {len(rows)} tokens was asked for")
        for place, row in enumerate(rows):
            self._batch.token[place] = row.token
            self._batch.pos[place] = row.position
            self._batch.n_seq_id[place] = 1
            self._batch.seq_id[place][0] = row.sequence
            self._batch.logits[place] = row.wanted
        self._batch.n_tokens = len(rows)
        status: int = lib.llama_decode(self.pointer, self._batch)
        if status in (0, 1, 2):
            return status
        if self._flag.is_set():
            return 2
        raise EngineError(f"llama.cpp failed to decode ({status})")

    def logits(self, count: int) -> NDArray[float32]:
        """(count, vocabulary) logits of the first wanted rows of the last batch; gone with the next one."""
        import numpy as np

        pointer = lib.llama_get_logits(self.pointer)
        return np.ctypeslib.as_array(pointer, (count, self._vocab_size))

    def keep_states(self, on: bool) -> None:
        """Whether the next batches keep hidden states. While they do, every row of a batch is wanted."""
        lib.llama_set_embeddings(self.pointer, on)

    def state(self, row: int) -> list[float]:
        """The last hidden state, after the final norm, of a wanted row of the last batch."""
        pointer = lib.llama_get_embeddings_ith(self.pointer, row)
        if not pointer:
            raise EngineError("llama.cpp gave no hidden state")
        return [float(each) for each in pointer[: self._width]]

    def wait(self) -> None:
        """Return when what was decoded is computed."""
        lib.llama_synchronize(self.pointer)

    def truncate(self, sequence: int, length: int) -> bool:
        """Forget what comes after the first `length` tokens of a sequence. False when the model cannot."""
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def copy(self, source: int, target: int) -> None:
        lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def drop(self, sequence: int) -> None:
        lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def clear(self) -> None:
        lib.llama_memory_clear(self._memory, True)

    def use_adapter(self, adapter: Any, scale: float) -> None:
        """Switch to `adapter`; None is the base. What is in the KV cache is the previous one's: clear it."""
        count = 0 if adapter is None else 1
        adapters = (lib.llama_adapter_lora_p_ctypes * 1)(adapter)
        scales = (ctypes.c_float * 1)(scale)
        if lib.llama_set_adapters_lora(self.pointer, adapters, count, scales) != 0:
            raise EngineError("llama.cpp refuses to switch the adapter", "choose another adapter or `base`")

    def close(self) -> None:
        if self.pointer:
            lib.llama_batch_free(self._batch)
            lib.llama_free(self.pointer)
            self.pointer = None


class SamplerChain:
    """One lane's sampler. `close` frees it."""

    def __init__(self, sampling: Sampling, seed: int, n_vocab: int) -> None:
        """Errors: `EngineError` for settings that llama.cpp would die of."""
        numbers = (
            sampling.temperature,
            sampling.top_p,
            sampling.min_p,
            sampling.repeat_penalty,
            sampling.xtc_probability,
            sampling.xtc_threshold,
        )
        if not all(map(math.isfinite, numbers)) or sampling.repeat_penalty <= 0:
            raise EngineError(
                "a sampling setting is out of its range",
                "temperature, top_p, min_p and xtc are finite, repeat_penalty is above 0",
            )
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        parts: list[Any] = []
        if sampling.repeat_penalty != 1:
            parts.append(
                lib.llama_sampler_init_penalties(n_vocab, _PENALTY_WINDOW, sampling.repeat_penalty, 0.0, 0.0)
            )
        if sampling.temperature < _GREEDY:
            parts.append(lib.llama_sampler_init_greedy())
        else:
            if sampling.top_k > 0:
                parts.append(lib.llama_sampler_init_top_k(min(sampling.top_k, n_vocab)))
            if sampling.top_p < 1:
                parts.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p > 0:
                parts.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
            if sampling.xtc_probability > 0:
                xtc = (sampling.xtc_probability, sampling.xtc_threshold)
                parts.append(lib.llama_sampler_init_xtc(*xtc, 1, seed % _DEFAULT_SEED))
            parts.append(lib.llama_sampler_init_temp(sampling.temperature))
            parts.append(lib.llama_sampler_init_dist(seed % _DEFAULT_SEED))
        for part in parts:
            lib.llama_sampler_chain_add(self._chain, part)

    def accept(self, token: int) -> None:
        """Penalties remember a token that is there already."""
        lib.llama_sampler_accept(self._chain, token)

    def sample(self, context: LlamaContext, output: int) -> int:
        """Sample from the logits of batch row `output` (-1: the last); penalties remember the token."""
        return int(lib.llama_sampler_sample(self._chain, context.pointer, output))

    def close(self) -> None:
        if self._chain:
            lib.llama_sampler_free(self._chain)
            self._chain = None
