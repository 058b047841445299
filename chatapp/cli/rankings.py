"""`chatapp rankings`: what was said of replies, and the files that hold such data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatapp.cli.arguments import house_of
from chatapp.cli.output import iso, moment, note, say, say_json, say_table
from chatapp.core.errors import NotFound, UsageError
from chatapp.core.paths import expanded

if TYPE_CHECKING:
    from chatapp.core.types import Ranking
    from chatapp.store.database import Store

app = typer.Typer(
    help="""Rankings of replies: list, add, take back, move.

    \b
    Example:
      chatapp rankings list
    """,
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_ALL_OF_THEM = "list them with `chatapp rankings list --all`"


@app.command("list")
def list_rankings(
    ctx: typer.Context,
    conversation: Annotated[
        int | None, typer.Option("--conversation", metavar="ID", help="Only those of this one.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were taken back or replaced.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the rankings in force, oldest first.

    \b
    Example:
      chatapp rankings list --json
    """
    from chatapp.preferences.order import format_order

    store = house_of(ctx).store()
    if conversation is not None:
        store.conversations.get(conversation)
    found = store.rankings.list(conversation, include_retracted=everything)
    states = _states(store, found) if everything else {}
    if as_json:
        say_json([_as_json(each) | ({"state": states[each.id]} if states else {}) for each in found])
        return
    rows = [
        (
            each.id,
            each.prompt,
            "all bad" if each.all_bad else format_order(each.tiers),
            ", ".join(each.tags),
            each.source,
            moment(each.created),
            *([states[each.id]] if states else []),
        )
        for each in found
    ]
    columns = ("id", "prompt", "order", "tags", "source", "ranked", *(["state"] if everything else []))
    say_table(columns, rows)


@app.command("show")
def show(
    ctx: typer.Context,
    ranking: Annotated[int, typer.Argument(metavar="ID", help="Of a ranking.")],
    as_json: AsJson = False,
) -> None:
    """Print one ranking with the texts of its replies, best first.

    \b
    Example:
      chatapp rankings show 38
    """
    store = house_of(ctx).store()
    found = store.rankings.get(ranking)
    state = _states(store, [found])[found.id]
    if as_json:
        texts = {each: store.conversations.message(each).text for each in (found.prompt, *found.shown)}
        say_json(_as_json(found) | {"state": state, "texts": texts})
        return
    say(f"Ranking {found.id} of message {found.prompt}, {moment(found.created)}, {state}")
    say(f"\n{store.conversations.message(found.prompt).text}")
    places = {reply: place for place, tier in enumerate(found.tiers, start=1) for reply in tier}
    for reply in sorted(found.shown, key=lambda each: places.get(each, len(places) + 1)):
        place = "bad" if found.all_bad else str(places.get(reply, "not ranked"))
        say(f"\n{place}. (message {reply})\n{store.conversations.message(reply).text}")


@app.command("add")
def add(
    ctx: typer.Context,
    prompt: Annotated[
        int, typer.Option("--prompt", metavar="MESSAGE", help="Id of the message that the replies answer.")
    ],
    order: Annotated[
        str | None,
        typer.Option("--order", metavar="ORDER", help='Ids of replies, best first: "7>5=8>6"; = is a tie.'),
    ] = None,
    all_bad: Annotated[bool, typer.Option("--all-bad", help="None of its replies is any good.")] = False,
    tags: Annotated[
        str, typer.Option("--tags", metavar="TAGS", help="Reasons, with commas between them.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Put the replies to a message in order; the best one becomes the one that is shown.

    \b
    Examples:
      chatapp rankings add --prompt 4 --order "7>5=8>6" --tags "shorter,kinder"
      chatapp rankings add --prompt 4 --all-bad
    """
    from chatapp.preferences.order import parse_order
    from chatapp.session.judging import rank_and_show

    if (order is not None) == all_bad:
        raise UsageError("name either --order or --all-bad", 'for example --order "7>5=8>6"')
    store = house_of(ctx).store()
    tiers = parse_order(order) if order is not None else ()
    shown = sorted(reply for tier in tiers for reply in tier) or _replies(store, prompt)
    reasons = tuple(tag.strip() for tag in tags.split(",") if tag.strip())
    ranking = rank_and_show(store, prompt, shown, tiers, all_bad, reasons, source="cli")
    if as_json:
        say_json(_as_json(ranking))
    else:
        note(f"saved as ranking {ranking.id}; `chatapp rankings undo {ranking.id}` takes it back")


@app.command("undo")
def undo(
    ctx: typer.Context,
    ranking: Annotated[
        int | None, typer.Argument(metavar="ID", help="Of a ranking; without it, the newest.")
    ] = None,
) -> None:
    """Take a ranking back. What it had replaced is in force again.

    \b
    Example:
      chatapp rankings undo 38
    """
    store = house_of(ctx).store()
    if ranking is None:
        latest = store.rankings.latest()
        if latest is None:
            raise NotFound("there is no ranking to take back", _ALL_OF_THEM)
        ranking = latest.id
    if not store.rankings.retract(ranking):
        raise NotFound(f"ranking {ranking} was taken back already", _ALL_OF_THEM)
    note(f"took back ranking {ranking}")


@app.command("export")
def export(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A .jsonl or .parquet file; - is standard output.")
    ],
    format: Annotated[
        Literal["trl-preference", "trl-unpaired", "trl-sft", "rankings"],
        typer.Option("--format", help="`rankings` is the one that loses nothing."),
    ] = "rankings",
) -> None:
    """Write the preference data to a file.

    \b
    Example:
      chatapp rankings export pairs.jsonl --format trl-preference
    """
    from chatapp.preferences.formats.save import rows, save

    groups = house_of(ctx).store().groups.list()
    if str(out) == "-":
        for row in rows(groups, format):
            say_json(row, indent=None)
        return
    count = save(expanded(out), groups, format)
    note(f"wrote {count} rows to {out}")


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Lines of JSON, plain or gzip.")],
    format: Annotated[
        Literal[
            "auto", "trl-preference", "trl-unpaired", "trl-sft", "hh-rlhf", "oasst", "taskmaster", "rankings"
        ],
        typer.Option("--format", help="`auto` tells by the columns."),
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Read preference data from a file into a new conversation; what is there already is passed over.

    All of it or nothing: an import that is stopped leaves nothing behind.

    \b
    Example:
      chatapp rankings import en_trees.jsonl.gz --format oasst
    """
    from chatapp.cli.import_display import shown_import
    from chatapp.session.importing import import_rankings

    try:
        with shown_import(as_json) as told:
            result = import_rankings(house_of(ctx).store(), expanded(file), format, told)
    except KeyboardInterrupt:
        note("stopped; nothing of the file was taken, and nothing has changed")
        raise typer.Exit(130) from None
    if as_json:
        say_json(asdict(result))
        return
    note(f"read {result.groups} groups as {result.format}; {result.known} were there already")
    if result.unjudged:
        note(f"{result.unjudged} groups hold no judgement and were left out")
    if result.malformed:
        note(f"{len(result.malformed)} lines were passed over, the first: {result.malformed[0]}")


@app.command("stats")
def stats(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Count the preference data, and where it repeats or contradicts itself.

    \b
    Example:
      chatapp rankings stats
    """
    from chatapp.preferences.stats import stats as count

    counted = asdict(count(house_of(ctx).store().groups.list()))
    if as_json:
        say_json(counted)
        return
    for name, value in counted.items():
        say(f"{name.replace('_', ' ') + ':':<16}{value}")


def _states(store: Store, rankings: list[Ranking]) -> dict[int, str]:
    """Of each ranking, whether it counts."""
    in_force, retracted = {each.id for each in store.rankings.list()}, store.rankings.retracted()
    return {
        each.id: "in force" if each.id in in_force else "taken back" if each.id in retracted else "replaced"
        for each in rankings
    }


def _replies(store: Store, prompt: int) -> list[int]:
    """The finished replies to a message. Errors: `UsageError` when there are none."""
    message = store.conversations.message(prompt)
    found = [
        each.id
        for each in store.conversations.children(message.conversation, prompt)
        if each.role == "assistant" and (each.origin != "model" or each.finish_reason is not None)
    ]
    if not found:
        raise UsageError(
            f"message {prompt} has no replies", "see the ids with `chatapp history show ID --json`"
        )
    return found


def _as_json(ranking: Ranking) -> dict[str, Any]:
    return {
        "id": ranking.id,
        "prompt": ranking.prompt,
        "tiers": [list(tier) for tier in ranking.tiers],
        "shown": list(ranking.shown),
        "all_bad": ranking.all_bad,
        "tags": list(ranking.tags),
        "milliseconds": ranking.milliseconds,
        "created": iso(ranking.created),
        "source": ranking.source,
    }
