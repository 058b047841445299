"""The one place where turns become token ids, and a loss mask for training.

The model's own chat template is rendered around placeholders instead of the turns' texts. The result is cut
at the placeholders: what the template wrote may name special tokens, what people or models wrote never does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

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
_THOUGHT_END = "</think>"
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Special:
    """A control token, and whether it swallows the spaces beside it."""

    token: int
    strips_before: bool = False
    strips_after: bool = False


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
    def space_prefix(self) -> bool:
        """Whether `tokenize` puts a space in front of its text."""

    def control(self, text: str) -> Mapping[str, Special]:
        """The control tokens that are written out in `text`, by how they are written."""

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


class _Runs:
    """Gathers token ids and their mask, one run of text between special tokens at a time.

    A run is tokenised in one piece, as it was when the model was trained, except that a reply stands alone:
    the model wrote it from its first token on.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._run = ""
        self._own = 0
        """The mask of the run: 1 for a reply."""
        self._open = False
        """Whether a reply still waits for the token that ends it."""
        self.ids: list[int] = []
        self.mask: list[int] = []

    def text(self, text: str) -> None:
        """What a person wrote."""
        self._begin(0)
        self._run += text

    def reply(self, text: str) -> None:
        """What an assistant wrote."""
        if self._tokenizer.space_prefix:
            # The tokenizer itself puts this space in front of the reply.
            self._run = self._run.removesuffix(" ")
        self.flush()
        self._own, self._run, self._open = 1, text, True

    def frame(self, text: str) -> None:
        """What the template wrote, without special tokens."""
        if not (self._own and self._tokenizer.space_prefix and text.isspace()):
            self._begin(0)
        self._run += text
        self._open = self._open and text.isspace()

    def special(self, special: Special) -> None:
        """A special token that the template named."""
        if special.strips_before:
            self._run = self._run.rstrip()
        self.flush()
        self.ids.append(special.token)
        self.mask.append(int(self._open and self._tokenizer.is_end(special.token)))
        self._open = False

    def _begin(self, own: int) -> None:
        if self._own != own:
            self.flush()

    def flush(self) -> None:
        """End the run."""
        if self._run:
            fresh = self._tokenizer.tokenize(self._run)
            self.ids.extend(fresh)
            self.mask.extend([self._own] * len(fresh))
        self._run, self._own = "", 0


class Prompter:
    """Renders conversations for one model. `template` None: the file has none."""

    def __init__(self, tokenizer: Tokenizer, template: str | None) -> None:
        self._tokenizer = tokenizer
        self._template, self._stop, self.notice = self._choose(template)
        self._end = self._find_end()

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
        if len(self._tokenizer.control("<|im_start|><|im_end|>")) == 2:
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
        # A template that drops what was thought over earlier replies finds no thoughts in a placeholder.
        if _THOUGHT_END in self._template:
            turns = _without_thoughts(turns)
        parts, shaped = self._shaped(turns, reply)
        ids, mask = self._tokens(parts, shaped)
        return Prompt(tuple(ids), tuple(mask), self._end, self._stop, notice=self.notice)

    def fit(self, turns: Sequence[Turn], limit: int) -> Prompt:
        """As `render`, with the oldest turns dropped until it is at most `limit` tokens long.

        A leading system turn stays, and what follows it begins with a user turn.
        Errors: `PromptTooLong` when the last user turn alone does not fit.
        """

        def short(kept: Sequence[Turn]) -> Prompt | None:
            prompt = self.render(kept)
            return replace(prompt, dropped_turns=len(turns) - len(kept)) if len(prompt.ids) <= limit else None

        found = first_that_fits(without_oldest(turns), short)
        if found is None:
            raise PromptTooLong(f"the message does not fit: at most {limit} tokens are free for the prompt")
        return found

    def begun(self, text: str) -> tuple[int, ...]:
        """What follows a prompt that opens the assistant's turn where the reply begins with `text`."""
        if self._tokenizer.space_prefix:
            # The space that the tokenizer puts in front is how the first word came.
            text = text.removeprefix(" ")
        return tuple(self._tokenizer.tokenize(text)) if text else ()

    def _find_end(self) -> int | None:
        """The token that the template puts after a reply, None when it is none that ends one."""
        try:
            parts, shaped = self._shaped((Turn("user", "a"), Turn("assistant", "b")), reply=False)
        except ModelError:
            return None
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
        """Token ids and mask of the rendered parts."""
        runs = _Runs(self._tokenizer)
        for part in parts:
            if part.turn is None:
                for piece, special in self._pieces(part.text):
                    if special is None:
                        runs.frame(piece)
                    else:
                        runs.special(special)
            elif turns[part.turn].role == "assistant":
                runs.reply(part.text)
            else:
                runs.text(part.text)
        runs.flush()
        return self._one_bos(runs.ids, runs.mask)

    def _pieces(self, text: str) -> list[tuple[str, Special | None]]:
        """`text` of the template cut into special tokens and what is between them."""
        named = self._tokenizer.control(text) if text else {}
        if not named:
            return [(text, None)] if text else []
        pattern = "|".join(re.escape(name) for name in sorted(named, key=len, reverse=True))
        pieces: list[tuple[str, Special | None]] = []
        for piece in re.split(f"({pattern})", text):
            special = named.get(piece)
            if special is None and pieces and (before := pieces[-1][1]) and before.strips_after:
                piece = piece.lstrip()
            if piece:
                pieces.append((piece, special))
        return pieces

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


def without_oldest(turns: Sequence[Turn]) -> list[Sequence[Turn]]:
    """All of `turns`, then without more and more of the oldest, at last a user's last turn with what follows.
    A leading system turn stays, and what follows it begins with a user turn once something is left out."""
    head = 1 if turns and turns[0].role == "system" else 0
    starts = [at for at in range(head, len(turns)) if at == head or turns[at].role == "user"]
    return [(*turns[:head], *turns[start:]) for start in starts]


def first_that_fits(
    shorter: Sequence[Sequence[Turn]], made: Callable[[Sequence[Turn]], _Made | None]
) -> _Made | None:
    """What is `made` of the first of those that `without_oldest` gave of which something can be; None where
    even the last is too long."""
    low, high = 0, len(shorter) - 1
    middle = 0  # everything fits most of the time
    best: _Made | None = None
    # The length falls with each turn that is left out, so bisection finds it.
    while low <= high:
        found = made(shorter[middle])
        if found is not None:
            best, high = found, middle - 1
        else:
            low = middle + 1
        middle = (low + high) // 2
    return best


def _without_thoughts(turns: Sequence[Turn]) -> Sequence[Turn]:
    """Each reply but one that stands last, from behind the end of its thoughts on."""
    return [
        replace(turn, text=turn.text.rpartition(_THOUGHT_END)[2].lstrip())
        if turn.role == "assistant" and _THOUGHT_END in turn.text and at < len(turns) - 1
        else turn
        for at, turn in enumerate(turns)
    ]


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
