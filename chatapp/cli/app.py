"""The root of the command line: global options, the chat when no command is named, how errors are told."""

from __future__ import annotations

import difflib
import io
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from chatapp.cli import adapters, ask, bench, doctor, eval, history, models, rank, rankings, train
from chatapp.cli.arguments import (
    AdapterOption,
    ModelOption,
    choose_demo,
    house_of,
    is_terminal,
    with_optional_value,
)
from chatapp.cli.output import note
from chatapp.core.errors import ChatappError, UsageError, in_words

_TEXT = "chatapp.text"


class ChatByDefault(TyperGroup):
    """A group whose first word may also be the first message of a chat."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = args = _debug_first(args)
        after_resume = args[args.index("--resume") + 1 :][:1] if "--resume" in args else []
        if next((each for each in args if not each.startswith("-")), None) not in self.commands:
            args = with_optional_value(args, frozenset({"--resume"}), "last")
        _, words, _ = self.make_parser(ctx).parse_args(list(args))
        # After `--` every word is text, also one that is a command's name.
        is_text = "--" in args and words == args[args.index("--") + 1 :]
        if words and (is_text or words[0] not in self.commands):
            if not is_text and len(words) == 1:
                self._refuse_typo(words[0])
                # Where a value was filled in, the word there was none.
                if args != given and words == after_resume and len(words[0].split()) == 1:
                    _refuse(
                        f"{words[0]!r} is no id of a conversation",
                        f"to send it as a message: chatapp --resume last {words[0]}",
                    )
            ctx.allow_interspersed_args = True
            super().parse_args(ctx, args)
            ctx.meta[_TEXT] = " ".join([*ctx._protected_args, *ctx.args])
            ctx._protected_args, ctx.args = [], []
            return []
        return super().parse_args(ctx, args)

    def _refuse_typo(self, word: str) -> None:
        close = difflib.get_close_matches(word, self.commands, n=1, cutoff=0.75)
        if close:
            _refuse(
                f"no command {word!r}; did you mean {close[0]!r}?",
                f"to send it as a message: chatapp -- {word}",
            )

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ChatappError, OSError) as error:
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            tell(in_words(error))
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error


def _refuse(problem: str, hint: str) -> NoReturn:
    tell(UsageError(problem, hint))
    raise typer.Exit(2)


def _debug_first(args: list[str]) -> list[str]:
    """`--debug` may stand anywhere before `--`; the root is who reads it."""
    end = args.index("--") if "--" in args else len(args)
    if "--debug" not in args[:end]:
        return args
    return ["--debug", *(each for each in args[:end] if each != "--debug"), *args[end:]]


def tell(error: ChatappError) -> None:
    """The two lines that an error is: what happened, what to do."""
    note(f"error: {error}")
    note(f"hint: {error.hint}")


app = typer.Typer(
    cls=ChatByDefault,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="[TEXT | COMMAND [ARGS]...]",
)


def _version(wanted: bool) -> None:
    if wanted:
        from chatapp import __version__

        print(f"chatapp {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def chat(
    ctx: typer.Context,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    system: Annotated[
        str | None,
        typer.Option("-s", "--system", metavar="TEXT", help="System prompt of a new conversation."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="[ID|last]",
            help="Go on with a conversation; without an id, with the last one.",
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Scripted replies and a folder that is thrown away; no model.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; with any command.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A terminal chat that learns from you, on this machine, offline.

    Without a command it opens the chat; TEXT is sent as the first message.

    \b
    Examples:
      chatapp
      chatapp "What can you do?"
      chatapp --resume last
      chatapp ask "How do I rank replies?" -n 4
    """
    if demo:
        choose_demo(ctx)
    given = {"model": model, "adapter": adapter, "system": system}
    given = {name: value for name, value in given.items() if value is not None}
    if ctx.invoked_subcommand is not None:
        if stray := [*given, *(["resume"] if resume is not None else [])]:
            command = f"chatapp {ctx.invoked_subcommand}"
            raise UsageError(
                f"--{stray[0]} before {ctx.invoked_subcommand} would do nothing",
                f"put it behind: see `{command} --help`",
            )
        return
    if not is_terminal():
        raise ChatappError("the chat needs a terminal", '`chatapp ask "…"` works without one')
    house = house_of(ctx)
    house.with_settings(**given)
    from chatapp.cli.arguments import conversation_of
    from chatapp.tui.app import ChatApp

    # What is asked for and cannot be used is said here: no other one stands in for it.
    if model is not None:
        house.spec()
    if adapter is not None:
        house.adapter()
    store = house.store()  # what cannot be opened is said in the terminal, before there is a screen
    where = None if resume is None else conversation_of(house, resume).id
    if where is not None:
        store.conversations.require_open(where)
    chat_app = ChatApp(house, first_message=ctx.meta.get(_TEXT), resume=where)
    chat_app.run()
    raise typer.Exit(chat_app.return_code or 0)


app.command("ask", cls=ask.AskCommand)(ask.ask)
app.add_typer(history.app, name="history")
app.command("rank")(rank.rank)
app.add_typer(rankings.app, name="rankings")
app.command("train")(train.train)
app.command("eval")(eval.evaluate)
app.add_typer(adapters.app, name="adapters")
app.add_typer(models.app, name="models")
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """The console script. What nobody foresaw is told in one line too; `--debug` shows all of it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what the locale cannot encode
    try:
        app(prog_name="chatapp")
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        tell(in_words(error))
        sys.exit(1)
