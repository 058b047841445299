"""`chatapp rank`: one prompt after the other from stored conversations, the same ranker for each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Message, Ranking, Turn
from chatapp.session.scoring import Scoring
from chatapp.tui.session_thread import SessionThread
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.ranker import Ranker
from chatapp.tui.widgets.status import StatusBar
from chatapp.tui.widgets.surplus import SurplusDigit

if TYPE_CHECKING:
    from chatapp.session.rank_queue import RankRequest
    from chatapp.session.session import Session
    from chatapp.session.wiring import House


class OneOfMany(Ranker):
    """A ranker after which another one comes."""

    BINDINGS = [
        Binding("s", "skip", "next"),
        Binding("escape", "leave", "end", key_display="Esc"),
        Binding("escape", "cancel", "cancel", key_display="Esc"),
    ]


class RankScreen(Screen[None]):
    BINDINGS = [
        # Not Enter: whoever presses it after the last number means that ranking.
        Binding("escape,q", "close", "quit", key_display="Esc"),
        Binding("u", "undo", "undo the last"),
    ]

    def __init__(self, house: House, session: SessionThread, request: RankRequest) -> None:
        super().__init__()
        self.house = house
        self.session = session
        self._request = request
        self._prompts: list[int] = []
        self._at = 0
        self._ranked: list[Ranking] = []
        self._skipped = 0
        self.ranker: Ranker | None = None
        self._surplus = SurplusDigit()

    def compose(self) -> ComposeResult:
        yield StatusBar()
        with Container(id="page"):
            yield Static("Looking for replies to rank ...", classes="summary quiet", markup=False)
        notice = Notice()
        notice.can_focus = False  # its keys are the chat's
        yield notice
        yield KeyBar()

    def on_mount(self) -> None:
        status = self.query_one(StatusBar)
        status.model = self.house.settings.model
        self.begin()

    @work(group="rank")
    async def begin(self) -> None:
        from chatapp.session.rank_queue import prompts_to_rank

        request, adapters = self._request, self.house.paths.adapters

        def prompts(session: Session) -> list[int]:
            scoring = Scoring(session, adapters)
            score = scoring.doubt if request.pick == "uncertain" and scoring.available else None
            return list(prompts_to_rank(session.store, request, score=score))

        try:
            self._prompts = await self.session.do(prompts)
        except ChatappError as error:
            self.say(error)
        await self._next()

    async def _next(self) -> None:
        if self.ranker is not None:
            old, self.ranker = self.ranker, None
            await old.remove()
        group = None
        while group is None and self._at < len(self._prompts):
            take = partial(_group, prompt=self._prompts[self._at], k=self._request.k)
            self._at += 1
            try:
                group = await self.session.do(take)
            except ChatappError as error:
                self.say(error)
        if group is None:
            await self._sum_up()
            return
        message, kept, before = group
        status = self.query_one(StatusBar)
        status.title = f"Ranking   {self._at} of {len(self._prompts)}"
        self.query_one(".summary").display = False
        more = max(0, self._request.k - len(kept))
        self.ranker = OneOfMany(self.session, message, kept, more, before)
        await self.query_one("#page").mount(self.ranker)
        self.ranker.focus()

    @on(Ranker.Closed)
    async def _closed_one(self, event: Ranker.Closed) -> None:
        event.stop()
        outcome = event.outcome
        if outcome.ranking is not None:
            self._ranked.append(outcome.ranking)
            self.query_one(Notice).say(Content(f"{outcome.order}   saved as ranking {outcome.ranking.id}"))
        elif outcome.error is not None:
            self.say(outcome.error)
        else:
            self._skipped += 1
            self.query_one(Notice).say("")
        if outcome.ranking is None and outcome.error is None and not outcome.skipped:
            self._skipped -= 1
            self._at = len(self._prompts)
        await self._next()
        self._surplus = SurplusDigit(outcome.placed_itself)

    def on_key(self, event: events.Key) -> None:
        if self._surplus.is_it(event.key):
            event.stop()

    async def _sum_up(self) -> None:
        """The end of the session, or of what there was to rank."""
        self.query_one(StatusBar).title = "Ranking   done"
        lines = [f"{len(self._ranked)} ranked, {self._skipped} left for later, of {len(self._prompts)}."]
        if not self._prompts:
            lines = ["Nothing to rank: no stored reply is unranked. Chat first, then come back."]
        elif self._ranked:
            lines.append("chatapp rankings stats counts them all; chatapp train learns from them.")
        summary = self.query_one(".summary", Static)
        summary.update(Content("\n".join(lines)))
        summary.display = True
        self.refresh_bindings()
        self.show_agreement(lines)

    @work(group="agreement", exclusive=True)
    async def show_agreement(self, lines: list[str]) -> None:
        """Add to the summary how far the reward model, where there is one, agrees with this session."""
        rankings = list(self._ranked)
        right = pairs = 0
        for ranking in rankings:  # one by one, so that nothing else has to wait for all of them

            def agreement(session: Session, ranking: Ranking = ranking) -> tuple[int, int] | None:
                return Scoring(session, self.house.paths.adapters).agreement(ranking)

            try:
                found = await self.session.do(agreement)
            except ChatappError:
                return  # nobody asked for it
            right, pairs = right + (found or (0, 0))[0], pairs + (found or (0, 0))[1]
        if pairs and rankings == self._ranked:
            text = f"The reward model agrees with {right} of the {pairs} pairs that you ordered."
            self.query_one(".summary", Static).update(Content("\n".join([*lines, text])))

    @property
    def over(self) -> bool:
        return self._at >= len(self._prompts) and self.ranker is None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "undo":
            untouched = self.ranker is not None and self.ranker.untouched
            return bool(self._ranked) and (self.over or untouched)
        return self.over if action == "close" else True

    async def action_close(self) -> None:
        await self.app.run_action("quit")

    async def action_undo(self) -> None:
        """Take the last ranking or edit of this session back."""
        try:
            what = await self.session.do(lambda session: session.undo())
        except ChatappError as error:
            self.say(error)
            return
        if what == "the ranking":
            self._ranked.pop()
        self.query_one(Notice).say(f"Taken back: {what}." if what else "Nothing to take back.")
        if self.over:
            await self._sum_up()
        else:
            self.refresh_bindings()

    def say(self, error: ChatappError) -> None:
        self.query_one(Notice).say(one_line(f"{error}: {error.hint}", 300), error=True)

    def interrupt(self) -> None:
        """Ctrl+C where nothing is selected."""
        self.query_one(Notice).say("Ctrl+Q quits.")


def _group(session: Session, prompt: int, k: int) -> tuple[Message, list[Message], list[Turn]]:
    """The prompt, at most `k` of its replies, the newest, each text once, and what stands before the prompt.

    Errors: `NotFound` where the conversation was deleted meanwhile.
    """
    message = session.store.conversations.message(prompt)
    session.store.conversations.require_open(message.conversation)
    replies: dict[str, Message] = {}
    for each in session.store.conversations.children(message.conversation, prompt):
        if each.role == "assistant" and each.finish_reason != "error" and each.text.strip():
            replies.setdefault(" ".join(each.text.split()).casefold(), each)
    return message, list(replies.values())[-k:], session.turns(prompt)[:-1]
