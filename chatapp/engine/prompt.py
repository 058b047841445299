"""The one place where turns become token ids, and a loss mask for training.

The model's own chat template is rendered around placeholders instead of the turns' texts. The result is cut
at the placeholders: what the template wrote may name special tokens, what people or models wrote never does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chatapp.core.errors import ModelError, PromptTooLong
from chatapp.core.types import Turn
from chatapp.engine.template import render

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}\n\n"
    "{% else %}{{ message.role | capitalize }}: {{ message.content }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
PLAIN_STOP = ("\nUser:", "\nAssistant:", "\nSystem:")

_PAD = "\u2003"
"""A space that no template writes: whether it is still there shows whether the template trims the text."""
_OPEN, _CLOSE = "\ue0c1", "\ue0c2"
_PLACEHOLDER = re.compile(f"({_PAD}?){_OPEN}(\\d+){_CLOSE}({_PAD}?)")


class Tokenizer(Protocol):
    """What the rendering needs of a model's vocabulary; `llama.Vocabulary` is one."""

    @property
    def bos(self) -> int | None: ...
    @property
    def eos(self) -> int | None: ...
    @property
    def eot(self) -> int | None: ...
    @property
    def add_bos(self) -> bool: ...
    @property
    def control(self) -> dict[str, tuple[int, bool, bool]]:
        """Written form of each control token -> (id, swallows spaces before it, swallows spaces after it)."""

    def tokenize(self, text: str, parse_special: bool = False) -> list[int]: ...
    def text(self, token: int) -> str: ...
    def is_end(self, token: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as the model sees it."""

    ids: tuple[int, ...]
    mask: tuple[int, ...]
    """1 on the tokens of assistant replies and on the token that ends each, 0 elsewhere; as long as `ids`."""
    end: int | None
    """The token that ends a reply; None when the template ends it in plain text."""
    stop: tuple[str, ...] = ()
    """Strings that end a reply, where the format has no token for it."""
    dropped_turns: int = 0
    notice: str | None = None
    """One line for the user when the file's own template was not used."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of the rendered text: the template's (`turn` None) or that of a turn."""

    text: str
    turn: int | None = None


class Prompter:
    """Renders conversations for one model. `template` None: the file has none."""

    def __init__(self, tokenizer: Tokenizer, template: str | None) -> None:
        self._tokenizer = tokenizer
        self._template, self._stop, self.notice = self._choose(template)

    def _choose(self, template: str | None) -> tuple[str, tuple[str, ...], str | None]:
        """The template to use, its stop strings, and a notice when it is not the file's own."""
        probe = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
        why = "the model file has no chat template"
        if template is not None:
            try:
                self._parts(template, probe, reply=True)
                return template, (), None
            except ModelError as error:
                why = str(error)
        if {"<|im_start|>", "<|im_end|>"} <= self._tokenizer.control.keys():
            return CHATML, (), f"{why}; using ChatML"
        return PLAIN, PLAIN_STOP, f"{why}; using a plain User:/Assistant: format"

    @property
    def template(self) -> str:
        """The source of the template in use."""
        return self._template

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings that end a reply, where the format has no token for it."""
        return self._stop

    def render(self, turns: Sequence[Turn], reply: bool = True) -> Prompt:
        """All of `turns` as token ids with their mask; `reply` opens the assistant's turn at the end.

        Errors: `ModelError` when the template cannot take them in any form.
        """
        parts, shaped = self._shaped(turns, reply)
        ids, mask = self._tokens(parts, shaped)
        return Prompt(tuple(ids), tuple(mask), self._end(), self._stop, notice=self.notice)

    def fit(self, turns: Sequence[Turn], limit: int) -> Prompt:
        """As `render`, with the oldest turns dropped until it is at most `limit` tokens long.

        A leading system turn stays, and what follows it begins with a user turn.
        Errors: `PromptTooLong` when the last user turn alone does not fit.
        """
        head = 1 if turns and turns[0].role == "system" else 0
        starts = [at for at in range(head, len(turns)) if at == head or turns[at].role == "user"]
        low, high = 0, len(starts) - 1
        best: Prompt | None = None
        # The length falls with each dropped turn, so the smallest cut that fits is found by bisection.
        while low <= high:
            # Everything fits most of the time.
            middle = 0 if best is None and low == 0 and high == len(starts) - 1 else (low + high) // 2
            cut = starts[middle]
            prompt = self.render((*turns[:head], *turns[cut:]))
            if len(prompt.ids) <= limit:
                best, high = replace(prompt, dropped_turns=cut - head), middle - 1
            else:
                low = middle + 1
        if best is None:
            raise PromptTooLong(f"the message does not fit: at most {limit} tokens are free for the prompt")
        return best

    def _end(self) -> int | None:
        parts, shaped = self._shaped((Turn("user", "a"), Turn("assistant", "b")), reply=False)
        ids, mask = self._tokens(parts, shaped)
        last = max((at for at, own in enumerate(mask) if own), default=-1)
        return ids[last] if last >= 0 and self._tokenizer.is_end(ids[last]) else None

    def _shaped(self, turns: Sequence[Turn], reply: bool) -> tuple[list[_Part], Sequence[Turn]]:
        """The rendered parts, with `turns` in the first shape that the template takes."""
        shapes = [turns]
        if turns and turns[0].role == "system":
            shapes.append(_fold_system(turns))
        shapes.append(_merge_roles(_fold_system(turns)))
        for shape in shapes[:-1]:
            try:
                return self._parts(self._template, shape, reply), shape
            except ModelError:
                continue
        return self._parts(self._template, shapes[-1], reply), shapes[-1]

    def _parts(self, template: str, turns: Sequence[Turn], reply: bool) -> list[_Part]:
        """The template's text around each turn. Errors: `ModelError` when it drops or reorders one."""
        messages = [
            {"role": turn.role, "content": f"{_PAD}{_OPEN}{at}{_CLOSE}{_PAD}"}
            for at, turn in enumerate(turns)
        ]
        text = render(
            template,
            messages,
            bos=self._written(self._tokenizer.bos),
            eos=self._written(self._tokenizer.eos),
            reply=reply,
        )
        parts: list[_Part] = []
        place = 0
        for expected, found in enumerate(_PLACEHOLDER.finditer(text)):
            if int(found[2]) != expected or expected >= len(turns):
                raise ModelError("the chat template repeats or reorders the turns")
            own = turns[expected].text
            own = own if found[1] else own.lstrip()
            own = own if found[3] else own.rstrip()
            parts += [_Part(text[place : found.start()]), _Part(own, expected)]
            place = found.end()
        if sum(part.turn is not None for part in parts) != len(turns):
            raise ModelError("the chat template leaves a turn out")
        return [*parts, _Part(text[place:])]

    def _written(self, token: int | None) -> str:
        return "" if token is None else self._tokenizer.text(token)

    def _tokens(self, parts: Sequence[_Part], turns: Sequence[Turn]) -> tuple[list[int], list[int]]:
        """Token ids and mask. Text between special tokens is tokenised in one piece, as it is in training,
        except that an assistant's reply stands alone: the model wrote it from its first token on."""
        ids: list[int] = []
        mask: list[int] = []
        run = ""

        def flush(own: int) -> None:
            nonlocal run
            fresh = self._tokenizer.tokenize(run) if run else []
            ids.extend(fresh)
            mask.extend([own] * len(fresh))
            run = ""

        control = self._tokenizer.control
        ended = True
        for part in parts:
            if part.turn is not None:
                if turns[part.turn].role == "assistant":
                    flush(0)
                    run = part.text
                    flush(1)
                    ended = False
                else:
                    run += part.text
                continue
            for piece in self._pieces(part.text):
                if piece not in control:
                    run += piece
                    ended = ended or bool(piece.strip())
                    continue
                token, strips_before, _ = control[piece]
                if strips_before:
                    run = run.rstrip()
                flush(0)
                ids.append(token)
                # The first special token after a reply is what ends it.
                mask.append(int(not ended and self._tokenizer.is_end(token)))
                ended = True
        flush(0)
        return self._one_bos(ids, mask)

    def _pieces(self, text: str) -> list[str]:
        """`text` of the template cut into special tokens and what is between them."""
        control = self._tokenizer.control
        if not text or not control:
            return [text] if text else []
        names = [name for name in control if name in text]
        if not names:
            return [text]
        pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        pieces = [piece for piece in re.split(f"({pattern})", text) if piece]
        for at, piece in enumerate(pieces[:-1]):
            if piece in control and control[piece][2]:
                pieces[at + 1] = pieces[at + 1].lstrip()
        return [piece for piece in pieces if piece]

    def _one_bos(self, ids: list[int], mask: list[int]) -> tuple[list[int], list[int]]:
        """Exactly one BOS in front when the template writes one or the vocabulary asks for it."""
        bos = self._tokenizer.bos
        leading = 0
        while leading < len(ids) and ids[leading] == bos:
            leading += 1
        if leading == 0 and not (self._tokenizer.add_bos and bos is not None):
            return ids, mask
        assert bos is not None
        return [bos, *ids[leading:]], [0, *mask[leading:]]


def _fold_system(turns: Sequence[Turn]) -> Sequence[Turn]:
    """The system turn put in front of the first user turn's text."""
    if len(turns) < 2 or turns[0].role != "system" or turns[1].role != "user":
        return turns
    folded = Turn("user", f"{turns[0].text.strip()}\n\n{turns[1].text}")
    return (folded, *turns[2:])


def _merge_roles(turns: Sequence[Turn]) -> Sequence[Turn]:
    """Neighbouring turns of one role as one, for templates that insist on taking turns."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, f"{merged[-1].text}\n\n{turn.text}")
        else:
            merged.append(turn)
    return merged
