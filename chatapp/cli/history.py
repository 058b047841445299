"""`chatapp history`: stored conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatapp.cli.arguments import MOST, conversation_of, house_of, number
from chatapp.cli.output import iso, moment, note, say, say_json, say_table
from chatapp.core.paths import expanded

if TYPE_CHECKING:
    from chatapp.core.types import Conversation, Message

app = typer.Typer(
    help="""Stored conversations: list, read, search, move.

    \b
    Example:
      chatapp history show last
    """,
    no_args_is_help=True,
)

Which = Annotated[str, typer.Argument(metavar="ID", help="Of a conversation; `last` is the newest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_conversations(
    ctx: typer.Context,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, max=MOST, help="Only so many.")
    ] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that were deleted instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List conversations, last changed first.

    \b
    Example:
      chatapp history list --limit 10
    """
    found = house_of(ctx).store().conversations.list(limit, deleted)
    if as_json:
        say_json([_summary(each) for each in found])
        return
    rows = [
        (each.id, each.title or "untitled", each.messages, each.model or "", moment(each.updated))
        for each in found
    ]
    say_table(("id", "title", "messages", "model", "changed"), rows)


@app.command("show")
def show(ctx: typer.Context, which: Which, as_json: AsJson = False) -> None:
    """Print a conversation with all of its branches.

    Where a message has several versions, each is numbered and what follows it is indented.

    \b
    Example:
      chatapp history show last
    """
    house = house_of(ctx)
    store = house.store()
    conversation = conversation_of(house, which)
    messages = store.conversations.messages(conversation.id)
    ranks = store.rankings.ranks(conversation.id)
    thumbs = {each.reply: each.value for each in store.rankings.thumbs(conversation.id)}
    judged = {each.id: (ranks.get(each.id), thumbs.get(each.id, 0)) for each in messages}
    if as_json:
        shown = [_message(each, *judged[each.id]) for each in messages]
        say_json(_summary(conversation) | {"system": conversation.system, "messages": shown})
        return
    say(
        f"{conversation.title or 'untitled'} (conversation {conversation.id}, {moment(conversation.created)})"
    )
    if conversation.system:
        say(f"\nSystem: {conversation.system}")
    for line in _tree(messages, judged):
        say(line)


@app.command("search")
def search(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words that a message must hold.")],
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=MOST, help="Only so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Search in all messages, newest first.

    \b
    Example:
      chatapp history search "lake coffee"
    """
    hits = house_of(ctx).store().search.query(query, limit)
    if as_json:
        say_json(
            [
                {
                    "conversation": hit.conversation,
                    "message": hit.message,
                    "title": hit.title,
                    "role": hit.role,
                    "snippet": hit.snippet,
                    "created": iso(hit.created),
                }
                for hit in hits
            ]
        )
        return
    rows = [
        (hit.conversation, hit.title, hit.message, hit.role, hit.snippet, moment(hit.created)) for hit in hits
    ]
    say_table(("id", "title", "message", "who", "text", "written"), rows)


@app.command("rename")
def rename(
    ctx: typer.Context,
    which: Which,
    title: Annotated[list[str], typer.Argument(metavar="TITLE", help="The new title.")],
) -> None:
    """Give a conversation another title.

    \b
    Example:
      chatapp history rename 12 "Coffee in Oakland"
    """
    house = house_of(ctx)
    conversation = conversation_of(house, which)
    house.store().conversations.rename(conversation.id, " ".join(title))


@app.command("delete")
def delete(ctx: typer.Context, which: Which) -> None:
    """Delete a conversation. It can be restored.

    \b
    Example:
      chatapp history delete 12
    """
    house = house_of(ctx)
    conversation = conversation_of(house, which)
    house.store().conversations.delete(conversation.id)
    note(
        f"deleted conversation {conversation.id}; `chatapp history restore {conversation.id}` brings it back"
    )


@app.command("restore")
def restore(ctx: typer.Context, which: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Bring a deleted conversation back.

    \b
    Example:
      chatapp history restore 12
    """
    house_of(ctx).store().conversations.restore(number(which))


@app.command("export")
def export(
    ctx: typer.Context,
    which: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Of conversations; without one, all of them."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="The file to write; standard output without it, or for -."
        ),
    ] = None,
    format: Annotated[
        Literal["jsonl", "markdown"] | None,
        typer.Option(
            "--format",
            help="jsonl holds every branch and judgement; markdown what one sees. Without it markdown for a "
            "FILE that ends in .md, else jsonl.",
        ),
    ] = None,
) -> None:
    """Write conversations to a file that `history import` reads, or to Markdown.

    \b
    Examples:
      chatapp history export -o all.jsonl
      chatapp history export last -o chat.md
      chatapp history export last --format markdown
    """
    from chatapp.session.conversation_file import as_jsonl, as_markdown, format_of, write_file

    house = house_of(ctx)
    store = house.store()
    chosen = [conversation_of(house, each) for each in which] if which else store.conversations.list()[::-1]
    if (format or (format_of(out) if out else None)) != "markdown":
        written = as_jsonl(store, chosen)
    else:
        written = (as_markdown(each, store.conversations.path(each.id)) + "\n" for each in chosen)
    if out is None or str(out) == "-":
        for text in written:
            say(text, end="")
        return
    write_file(expanded(out), written, "choose another file with --out")
    note(f"wrote {len(chosen)} conversations to {out}")


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `history export` wrote as jsonl.")],
    as_json: AsJson = False,
) -> None:
    """Read conversations that `history export` wrote, with their branches and judgements.

    What is there already is passed over, so an import that was stopped goes on when it is repeated. A
    conversation that was deleted here comes back as a new one.

    \b
    Example:
      chatapp history import all.jsonl
    """
    from chatapp.cli.history_files import Imported, read_jsonl
    from chatapp.cli.import_display import shown_import

    result = Imported()
    try:
        with shown_import(as_json) as told:
            read_jsonl(house_of(ctx).store(), expanded(file), result, told)
    except KeyboardInterrupt:
        note(
            f"stopped; {len(result.conversations)} conversations were read, {result.known} were there "
            "already; the same command goes on with the rest"
        )
        raise typer.Exit(130) from None
    if as_json:
        say_json(asdict(result))
        return
    note(f"read {len(result.conversations)} conversations; {result.known} were there already")
    if result.problems:
        note(f"{len(result.problems)} lines were passed over")
    for problem in result.problems:
        note(problem)


@app.command("backup")
def backup(
    ctx: typer.Context,
    to: Annotated[Path, typer.Argument(metavar="FILE", help="A file that does not exist yet.")],
) -> None:
    """Copy the whole database, also while a chat is open.

    \b
    Example:
      chatapp history backup ~/chatapp-backup.db
    """
    house_of(ctx).store().backup(expanded(to).absolute())
    note(f"wrote {to}")


@app.command("path")
def path(ctx: typer.Context) -> None:
    """Print where the database lies.

    \b
    Example:
      sqlite3 "$(chatapp history path)" .schema
    """
    say(str(house_of(ctx).paths.database))


def _summary(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "title": conversation.title,
        "created": iso(conversation.created),
        "updated": iso(conversation.updated),
        "messages": conversation.messages,
        "model": conversation.model,
    }


def _message(message: Message, rank: int | None, thumb: int) -> dict[str, Any]:
    source = message.provenance
    return {
        "id": message.id,
        "parent": message.parent,
        "role": message.role,
        "text": message.text,
        "active": message.active,
        "origin": message.origin,
        "rank": rank,
        "thumb": thumb,
        "created": iso(message.created),
        "finish_reason": message.finish_reason,
        "model": source.model if source else None,
        "adapter": source.adapter if source else None,
    }


def _tree(messages: list[Message], judged: Mapping[int, tuple[int | None, int]]) -> list[str]:
    """The branches as text, depth first; a fork indents what follows each of its versions."""
    families: dict[int | None, list[Message]] = {}
    for message in messages:
        families.setdefault(message.parent, []).append(message)
    lines: list[str] = []
    waiting: list[tuple[Message, int, str]] = []

    def add(parent: int | None, depth: int) -> None:
        family = families.get(parent, [])
        forked = len(family) > 1
        for place, each in reversed(list(enumerate(family, start=1))):
            version = f"  {place}/{len(family)}{' shown' if each.active else ''}" if forked else ""
            waiting.append((each, depth + forked, version))

    add(None, 0)
    while waiting:
        message, depth, version = waiting.pop()
        indent = "  " * depth
        lines += ["", f"{indent}[{message.id}] {_who(message)}{version}{_judgement(*judged[message.id])}"]
        lines += [f"{indent}{line}" for line in message.text.splitlines()]
        add(message.id, depth)
    return lines


def _who(message: Message) -> str:
    if message.role == "user":
        return "You"
    if message.role == "system":
        return "System"
    if message.origin == "edit":
        return "You, as the reply should be"
    source = message.provenance
    name = "Reply" if source is None else source.model + (f" with {source.adapter}" if source.adapter else "")
    cut_off = message.finish_reason not in (None, "stop")
    return f"{name} ({message.finish_reason})" if cut_off else name


def _judgement(rank: int | None, thumb: int) -> str:
    return (f"  rank {rank}" if rank else "") + {1: "  thumb up", -1: "  thumb down", 0: ""}[thumb]
