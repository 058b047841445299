"""`chatapp ask`: replies without a screen."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from chatapp.cli.arguments import (
    AdapterOption,
    ModelOption,
    choose_demo,
    conversation_of,
    house_of,
    in_range,
    with_optional_value,
)
from chatapp.cli.output import note, say, say_json
from chatapp.core.errors import ChatappError, UsageError

if TYPE_CHECKING:
    from chatapp.core.types import Message, Sampling
    from chatapp.session.session import Session
    from chatapp.session.updates import Scored
    from chatapp.session.wiring import House


_LONGEST = 16 << 20
"""Bytes that are read from a pipe."""
_CONTINUE = frozenset({"-c", "--continue"})


class AskCommand(TyperCommand):
    """Takes `--continue` with and without an id."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for option, word in pairwise(args[: args.index("--")] if "--" in args else args):
            if option in _CONTINUE and re.fullmatch(r"\d\S*", word) and not word.isdigit():
                raise UsageError(
                    f"{word!r} is not an id", f"as a part of the text: chatapp ask -c last {word} ..."
                )
        return super().parse_args(ctx, with_optional_value(args, _CONTINUE, "last"))


def ask(
    ctx: typer.Context,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="The message; piped input is put before it.")
    ] = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    system: Annotated[
        str | None, typer.Option("-s", "--system", metavar="TEXT", help="System prompt.")
    ] = None,
    alternatives: Annotated[
        int,
        typer.Option(
            "-n", "--alternatives", metavar="N", min=1, max=9, help="How many different replies to write."
        ),
    ] = 1,
    best: Annotated[
        int | None,
        typer.Option(
            "--best",
            metavar="N",
            min=2,
            max=9,
            help="Write N replies, give the one the reward model scores best.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", **in_range("seed"), help="The same seed gives the same replies."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature", metavar="T", **in_range("temperature"), help="0 always takes the likeliest."
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p", metavar="P", **in_range("top_p"), help="Share of probability to sample from."
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k", metavar="N", **in_range("top_k"), help="How many of the likeliest tokens; 0 is all."
        ),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            "--min-p",
            metavar="P",
            **in_range("min_p"),
            help="Leave out tokens below this share of the likeliest.",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            metavar="N",
            **in_range("max_tokens"),
            help="Length of a reply at most, in tokens.",
        ),
    ] = None,
    go_on: Annotated[
        str | None,
        typer.Option(
            "-c", "--continue", metavar="[ID]", help="Go on with a conversation, by default the last."
        ),
    ] = None,
    extract: Annotated[
        bool, typer.Option("-x", "--extract", help="Print the first code block alone.")
    ] = False,
    no_save: Annotated[bool, typer.Option("--no-save", help="Keep nothing of it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Scripted replies; no model, nothing is kept.")
    ] = False,
) -> None:
    """Write one reply, or several different ones, to standard output.

    \b
    Examples:
      chatapp ask "What can you do?"
      cat notes.txt | chatapp ask "Sum this up"
      chatapp ask "A name for a cat" -n 4 --seed 7 --json
      chatapp ask -c "And for a dog?"
      chatapp ask "A name for a cat" --best 4
    """
    if best is not None and alternatives > 1:
        raise UsageError("--best and -n do not go together", "--best N gives the best of N alone")
    message = _message(" ".join(text or []))
    if demo:
        choose_demo(ctx)
    house = house_of(ctx)
    given = {"model": model, "adapter": adapter, "system": system}
    # What is asked for is written by that adapter alone.
    house.with_settings(rival=False, **{name: value for name, value in given.items() if value is not None})
    where = None if go_on is None else conversation_of(house, go_on).id
    if no_save:
        house.forget(copy=where is not None)
    session = house.session(where)
    if where is not None and system is not None:
        session.set_system(system)
    sampling = session.sampling
    if alternatives > 1 or best is not None:
        sampling = replace(sampling, temperature=house.settings.alternatives_temperature)
    flags = {
        "seed": seed,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "max_tokens": max_tokens,
    }
    sampling = replace(sampling, **{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]

    if best is not None:
        from chatapp.session.scoring import Scoring

        Scoring(session, house.paths.adapters).require_fit(message)
    session.require_fit(message, sampling.max_tokens, best or alternatives)
    prompt = session.begin(message)
    plain, saved = not as_json and not extract, not no_save and not demo
    scored = None if best is None else _best(house, session, prompt, best, sampling)
    if scored is None:
        replies = _replies(session, prompt, alternatives, sampling, stream=plain)
    else:
        replies = list(scored.replies)
        note(f"note: {scored.in_words}")
    if not replies:
        raise ChatappError("no reply came", "try again, or another model with -m")
    if len(replies) < alternatives:
        note(f"note: {len(replies)} of {alternatives}: the others repeated one of these or were empty")
    if as_json:
        found = _as_json(prompt, replies, saved)
        say_json(found if scored is None else {**found, "scores": list(scored.scores)})
    elif extract:
        say(_first_code_block(replies[0].text))
    elif scored is not None:
        say(replies[0].text)
    elif alternatives > 1:
        for place, reply in enumerate(replies, start=1):
            id = f" (message {reply.id})" if saved else ""
            say(f"{place}.{id}\n{reply.text.strip()}\n")


def _message(text: str) -> str:
    """TEXT after what is piped in. Errors: `UsageError` for neither, `ChatappError` for too much."""
    piped = ""
    if sys.stdin is not None and not sys.stdin.isatty():
        read = sys.stdin.buffer.read(_LONGEST + 1)
        if len(read) > _LONGEST:
            raise ChatappError(
                f"more than {_LONGEST >> 20} MiB were piped in", "no model takes so much at once"
            )
        piped = read.decode("utf-8", "replace").strip()
    whole = "\n\n".join(part for part in (piped, text.strip()) if part)
    if not whole:
        raise UsageError("there is nothing to ask", 'give a text: chatapp ask "…", or pipe one in')
    return whole


def _replies(session: Session, prompt: Message, n: int, sampling: Sampling, stream: bool) -> list[Message]:
    """Run the request; with `stream`, a single reply is written as it comes."""
    from chatapp.session.updates import Dropped, Finished, Removed, Replaced, Text

    if n == 1:
        updates = session.stream(prompt.id, sampling=sampling)
    else:
        updates = session.alternatives(prompt.id, n, sampling=sampling)
    lanes: dict[int, Message] = {}
    last = "\n"
    try:
        with closing(_closable(updates)) as running:
            for update in running:
                match update:
                    case Text(delta=delta) if stream and n == 1:
                        say(delta, end="")
                        last = delta[-1:] or last
                    case Dropped(turns):
                        what = "oldest turn" if turns == 1 else f"oldest {turns} turns"
                        note(f"note: what did not fit into the context was left out: the {what}")
                    case Finished(reply, lane):
                        lanes[lane] = reply
                    case Replaced(lane=lane) | Removed(lane=lane):
                        lanes.pop(lane, None)
    finally:
        if last != "\n":
            say("")
    replies = [lanes[lane] for lane in sorted(lanes)]
    if n > 1 and replies:
        session.activate(replies[0].id)
    return replies


def _best(house: House, session: Session, prompt: Message, n: int, sampling: Sampling) -> Scored:
    """Errors: `ModelError` without a reward model; `ChatappError` when no reply came."""
    from chatapp.session.scoring import Scoring
    from chatapp.session.updates import Scored

    updates = Scoring(session, house.paths.adapters).best_of(prompt.id, n, sampling=sampling)
    with closing(_closable(updates)) as running:
        for update in running:
            if isinstance(update, Scored):
                return update
    raise ChatappError("no reply came", "try again, or another model with -m")


def _closable(updates: Iterator[Any]) -> Any:
    """The iterators of a session are generators; closing one seals what it has written."""
    return updates


def _as_json(prompt: Message, replies: list[Message], saved: bool) -> dict[str, Any]:
    sources = [reply.provenance for reply in replies if reply.provenance is not None]
    return {
        "conversation": prompt.conversation if saved else None,
        "prompt": prompt.id if saved else None,
        "replies": [
            {
                "id": reply.id if saved else None,
                "text": reply.text,
                "finish_reason": reply.finish_reason,
                "prompt_tokens": source.prompt_tokens,
                "completion_tokens": source.completion_tokens,
                "seconds": source.seconds,
                "first_token_seconds": source.first_token_seconds,
                "seed": source.sampling.seed,
            }
            for reply, source in zip(replies, sources, strict=True)
        ],
        "model": sources[0].model,
        "adapter": sources[0].adapter,
    }


def _first_code_block(text: str) -> str:
    """What stands in the first fence. Errors: `ChatappError` when there is none."""
    fence = re.search(
        r"^ {0,3}(`{3,}|~{3,})[^\n]*\n(.*?)(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", text, re.DOTALL | re.MULTILINE
    )
    if fence is None:
        raise ChatappError(
            "there is no code block in the reply", "leave out --extract to read the whole reply"
        )
    return fence.group(2).rstrip("\n")
