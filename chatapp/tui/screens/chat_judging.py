"""The chat's judging: versions, thumbs, edits, deletions, rankings, and how each is taken back."""

from __future__ import annotations

from typing import Any

from textual import on, work
from textual.content import Content

from chatapp.core.errors import ChatappError
from chatapp.core.types import Message, Ranking, Turn
from chatapp.tui.screens.chat_adapting import ChatAdapting
from chatapp.tui.widgets.message import MessageView
from chatapp.tui.widgets.ranker import Ranker


class ChatJudging(ChatAdapting):
    """What a person thinks of a reply, and what becomes of it."""

    @property
    def acting(self) -> bool:
        """Whether the ranker, or a dialog about a message, is open or about to be: one at a time."""
        return self.ranker is not None or any(
            each.node is self and each.group in ("edit", "tags") and not each.is_finished
            for each in self.workers
        )

    async def walk(self, view: MessageView, step: int) -> None:
        """Show the version before or after this one."""
        message = view.message
        if self.still_writing():
            return

        def move(session: Any) -> int | None:
            family = session.store.conversations.children(message.conversation, message.parent)
            ids = [each.id for each in family]
            if message.id not in ids:
                return None  # deleted a moment ago
            to = ids[(ids.index(message.id) + step) % len(ids)]
            session.activate(to)
            return to

        await self._change(move, stay=view is self.focused, reveal=True)

    async def thumb(self, view: MessageView, value: int) -> None:
        """The same thumb again takes it back."""
        wanted: Any = 0 if view.item.thumb == value else value
        reply = view.message.id
        await self._change(lambda session: session.thumb(reply, wanted) and reply, stay=True)

    async def delete(self, view: MessageView) -> None:
        message = view.message
        if not self.still_writing() and await self._change(lambda session: session.delete(message.id)):
            self.offer("Deleted.", "undo")

    async def _change(self, step: Any, stay: bool = False, reveal: bool = False) -> bool:
        """Do something to the conversation and show it; `stay` selects the message that `step` names,
        `reveal` scrolls to its beginning."""
        try:
            message = await self.session.do(step)
        except ChatappError as error:
            self.complain(error)
            return False
        await self.show_path()
        if stay and message is not None:
            self.select(self.transcript.view_of(message))
        if reveal and (view := self.transcript.view_of(message)):
            self.call_after_refresh(self.transcript.reveal, view)
        return True

    @work(group="edit")
    async def edit(self, view: MessageView) -> None:
        """One's own message becomes a new branch that is sent, a reply becomes what it should have said."""
        from chatapp.tui.screens.edit import EditScreen

        if self.still_writing():
            return
        own = view.message.role != "assistant"
        title = "Edit your message" if own else "What it should have said"
        about = (
            "Sent as a new version; the old one and its replies are kept."
            if own
            else "Saved as a demonstration to learn from; the old reply is kept."
        )
        text = await self.app.push_screen_wait(EditScreen(title, view.text, about))
        message = view.message
        if text is None or text == message.text.strip():
            return
        await self._idle.wait()
        try:
            new = await self.session.do(lambda session: session.edit(message.id, text))
        except ChatappError as error:
            self.to_prompt(text)
            self.complain(error)
            return
        await self.show_path()
        if own:
            self.to_prompt()
            self.answer(new)
        else:
            self.offer("Saved as a demonstration.", "undo")

    async def action_undo(self) -> None:
        try:
            what = await self.session.do(lambda session: session.undo())
        except ChatappError as error:
            self.complain(error)
            return
        self.to_prompt()
        self.say(f"Taken back: {what}." if what else "Nothing to take back.")
        await self.show_path()

    @work(group="tags")
    async def action_tags(self) -> None:
        """Say why, for the last ranking of this conversation."""
        from chatapp.tui.screens.edit import LineScreen, parts

        open_one = self.snapshot.conversation if self.snapshot else None
        if open_one is None:
            return
        last = await self.session.do(lambda session: session.store.rankings.latest(open_one.id))
        if last is None:
            self.say("There is no ranking in this conversation yet.")
            return
        reasons = ("correct", "concise", "tone", "made up", "off topic")
        line = await self.app.push_screen_wait(
            LineScreen("Why this order", ", ".join(last.tags), reasons, self._kept_lines, ("tags", last.id))
        )
        self._tag(last, last.tags if line is None else tuple(parts(line)))

    @work(group="tagging")  # not "tags": the dialog is closed, and may be asked for again meanwhile
    async def _tag(self, ranking: Ranking, tags: tuple[str, ...]) -> None:
        if tags != ranking.tags and await self._change(lambda session: session.tag(ranking.id, tags)):
            self._kept_lines.pop(("tags", ranking.id), None)
            self.say(f"Tagged: {', '.join(tags)}." if tags else "Tags taken off.")
        self.to_prompt()

    # Ranking

    async def action_alternatives(self) -> None:
        view = self.selected or self.transcript.last_reply
        last = self.transcript.views[-1] if self.transcript.views else None
        if last is not None and last.message.role == "user" and self.selected in (None, last):
            self.answer(last.message)  # a prompt that was never answered
            return
        if view is not None and view.message.role == "user":
            view = self.transcript.step(view, 1)
        if view is not None and view.message.role == "assistant":
            await self.compare(view)

    async def action_continue(self) -> None:
        """Go on with the selected reply, or the last one, where it was cut."""
        views = self.transcript.views
        view = self.selected or (views[-1] if views else None)
        if view is not None and view.message.role == "user":
            view = self.transcript.step(view, 1)
        if self.still_writing():
            return
        if view is None:
            self.say("There is no reply to continue yet.")
            return
        self._set_writing(True)  # here: the next command may be on its way
        self.to_prompt()
        self.write_on(view.message)

    async def action_rank_again(self) -> None:
        view = self.selected or self.transcript.last_reply
        if view is not None and view.item.versions > 1:
            await self.compare(view, sample=False)
        else:
            self.say("There is only one version. ^R writes more.")

    async def compare(self, view: MessageView, sample: bool = True) -> None:
        """The ranker in the transcript's place: this reply with new ones, or all versions that are there."""
        parent = view.message.parent
        if self.writing or self.ranker is not None or parent is None:
            return
        conversation = view.message.conversation

        def read(session: Any) -> tuple[Message, list[Message], list[Turn]]:
            conversations = session.store.conversations
            family = conversations.children(conversation, parent)
            return conversations.message(parent), family, session.turns(parent)[:-1]

        prompt, family, before = await self.session.do(read)
        kept = [each for each in family if each.finish_reason is not None or each.provenance is None]
        if sample:
            kept = [each for each in kept if each.id == view.message.id and each.text.strip()]
        more = min(self.house.settings.alternatives, 9 - len(kept)) if sample else 0
        shown = kept
        if len(kept) > 9:
            looked_at = [each for each in kept[:-9] if each.id == view.message.id]
            shown = looked_at + kept[len(looked_at) - 9 :]
        self.say(f"9 of {len(kept)} versions: this one and the newest." if shown is not kept else "")
        self.transcript.display = False
        self.query_one("#prompt").display = False
        self._ranker = ranker = Ranker(self.session, prompt, shown, more, before)
        await self.query_one("#page").mount(ranker)
        ranker.focus()

    @on(Ranker.Writing)
    def _ranker_writes(self) -> None:
        self.refresh_bindings()

    @on(Ranker.Closed)
    async def _ranked(self, event: Ranker.Closed) -> None:
        event.stop()
        outcome = event.outcome
        if ranker := self.ranker:
            self._ranker = None
            await ranker.remove()
        self.transcript.display = True
        self.query_one("#prompt").display = True
        await self.show_path()
        self.transcript.anchor()
        if outcome.ranking is not None:
            said = f"   saved as ranking {outcome.ranking.id}"
            last = self.snapshot.items[-1] if self.snapshot and self.snapshot.items else None
            if last is not None and last.message.id in outcome.ranking.shown and last.elsewhere:
                said += f"   {last.branches}"  # the conversation seems to end here
            line = Content.assemble((outcome.order, "$accent"), said)
            self.offer(line, "undo", "tags", placed_itself=outcome.placed_itself)
            self.show_agreement(outcome.ranking, outcome.order)
            return
        self.to_prompt()
        if outcome.error is not None:
            self.complain(outcome.error)
        elif ranker is not None:
            self.count_kept(ranker.prompt.id)

    @work(group="kept", exclusive=True)
    async def count_kept(self, prompt: int) -> None:
        """Say how many replies there are, once those that were stopped are sealed or taken out."""
        await self.session.idle()
        await self.show_path()
        items = self.snapshot.items if self.snapshot else ()
        versions = next((each.versions for each in items if each.message.parent == prompt), 1)
        if versions > 1 and self.ranker is None and not self.writing:
            last = items[-1].message.parent == prompt
            keys = "← → walks them. ↑ R ranks them." if last else "R on the reply ranks them."
            self.say(f"{versions} versions are kept, nothing was ranked. {keys}")
