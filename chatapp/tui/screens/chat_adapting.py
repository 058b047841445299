"""The chat's learning: the training screen, which adapter answers, and what the reward model says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import work
from textual.content import Content

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Ranking
from chatapp.session import adapters
from chatapp.session.scoring import Scoring
from chatapp.session.updates import Scored
from chatapp.tui.screens.chat_writing import ChatWriting
from chatapp.tui.widgets.notice import Notice

if TYPE_CHECKING:
    from chatapp.session.session import Session

_BEST_OF = 4


class ChatAdapting(ChatWriting):
    """What trainings made, at work."""

    def action_train(self) -> None:
        from chatapp.tui.screens.train import TrainScreen

        if any(isinstance(each, TrainScreen) for each in self.app.screen_stack):
            return
        if not self.training.command:
            self.say("The demo has no model that could be trained: start chatapp without --demo.")
            return
        self.app.push_screen(TrainScreen(self.house, self.session, self.training), self._back_from)

    async def _back_from(self, _: object) -> None:
        await self.show_path()

    # Which adapter answers

    @work(group="adapters")
    async def action_adapters(self) -> None:
        from chatapp.tui.screens.adapters import AdaptersScreen

        try:
            rounds = await self.session.do(lambda session: adapters.rounds(self.house, session))
        except ChatappError as error:
            self.complain(error)
            return
        if not rounds:
            self.say("There is no adapter for this model yet. ^T trains one from what you ranked.")
            return
        used = self.snapshot.adapter if self.snapshot else None
        chosen = await self.app.push_screen_wait(AdaptersScreen(rounds, used))
        if chosen is not None:
            name = chosen.name
            await self._answer_with(
                adapters.round_before
                if chosen.before
                else lambda house, now: adapters.switch(house, now, name)
            )

    async def action_round_before(self) -> None:
        await self._answer_with(adapters.round_before)

    async def _answer_with(self, step: Any) -> None:
        """Change the adapter, show it, and load it, so that the next reply need not wait."""
        await self.stopped()
        try:
            await self.session.do(lambda session: step(self.house, session))
        except ChatappError as error:
            self.complain(error)
            return
        await self.show_path()
        if await self.load():
            name = self.snapshot.adapter if self.snapshot else None
            self.say(
                f"{one_line(name, 40)} answers from now on." if name else "The base answers, no adapter."
            )

    # The reward model

    @work(group="agreement")
    async def show_agreement(self, ranking: Ranking, order: str) -> None:
        """Add to the line of this ranking, while it is there, how far the reward model agrees with it."""
        notice = self.query_one(Notice)
        said = notice.said

        def agreement(session: Session) -> Any:
            return Scoring(session, self.house.paths.adapters).agreement(ranking)

        try:
            found = await self.session.do(agreement)
        except ChatappError:
            return  # nobody asked for it
        if found is not None and notice.said is said:
            right, pairs = found
            notice.say(
                Content.assemble(
                    (order, "$accent"),
                    f"   saved as ranking {ranking.id}   reward model agrees with {right} of {pairs} pairs",
                ),
                offers=notice.offers,
            )

    @work(group="reply")
    async def best(self, wanted: str) -> None:
        """Let the reward model choose among N replies to the last prompt."""
        if self.still_writing():
            return
        n = int(wanted) if wanted.isascii() and wanted.isdigit() else 0 if wanted else _BEST_OF
        if not 2 <= n <= 9:
            self.say("Write how many after it, from 2 to 9: /best 4")
            return
        asked = (
            [item.message for item in self.snapshot.items if item.message.role == "user"]
            if self.snapshot
            else []
        )
        if not asked:
            self.say("There is no prompt yet to answer.")
            return
        prompt = asked[-1].id
        self._set_writing(True)
        self.say(f"Writing {n} replies ...")
        scored: Scored | None = None
        try:
            if not await self.load():
                return
            async for batch in self.session.stream(
                lambda session: Scoring(session, self.house.paths.adapters).best_of(prompt, n)
            ):
                scored = next((each for each in batch if isinstance(each, Scored)), scored)
        except ChatappError as error:
            self.complain(error)
            return
        finally:
            self._set_writing(False)
        await self.show_path()
        self.transcript.anchor()
        if scored is not None:
            self.say(scored.in_words)
