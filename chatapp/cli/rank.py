"""`chatapp rank`: a ranking session over stored conversations."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from chatapp.cli.arguments import MOST, house_of, is_terminal
from chatapp.core.errors import ChatappError, NotFound


def rank(
    ctx: typer.Context,
    k: Annotated[
        int, typer.Option("-k", metavar="N", min=2, max=9, help="How many replies beside each other.")
    ] = 4,
    pick: Annotated[
        Literal["random", "uncertain", "recent"],
        typer.Option(
            "--pick",
            help="Which messages first; uncertain: where the reward model is least sure of the order "
            "of their replies, or where there is none, where they differ most.",
        ),
    ] = "random",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, max=MOST, help="End after this many; by default when none is left."
        ),
    ] = None,
) -> None:
    """Go through stored messages, sample alternatives to each and put them in order.

    \b
    Example:
      chatapp rank -k 4 --pick recent --limit 10
    """
    if not is_terminal():
        raise ChatappError("ranking needs a terminal", "`chatapp rankings add` works without one")
    from chatapp.session.rank_queue import RankRequest, prompts_to_rank

    house = house_of(ctx)
    request = RankRequest(k, pick, limit)
    if next(prompts_to_rank(house.store(), request), None) is None:
        raise NotFound("there is nothing left to rank", "chat first: every reply of a model can be ranked")
    house.adapter(model=house.spec())  # what cannot be used is said here: no other one stands in for it
    from chatapp.tui.app import ChatApp

    ranking_app = ChatApp(house, rank=request)
    ranking_app.run()
    raise typer.Exit(ranking_app.return_code or 0)
