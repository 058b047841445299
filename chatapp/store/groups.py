"""Rankings, demonstrations and thumbs with their texts instead of ids: out of the database and into it."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import replace

from chatapp.core.errors import UsageError
from chatapp.core.types import FinishReason, Group, GroupReply, Message, Provenance, Turn
from chatapp.store.connection import Connection, storable
from chatapp.store.conversations import Conversations
from chatapp.store.rankings import Rankings


class Groups:
    def __init__(self, connection: Connection, conversations: Conversations, rankings: Rankings) -> None:
        self._connection = connection
        self._conversations = conversations
        self._rankings = rankings

    def list(self) -> list[Group]:
        """Everything in force: rankings, then demonstrations, then thumbs, each oldest first.

        The prompt of each has the system prompt that its replies were written under; where that differs, of
        the newest reply that a model wrote.
        """
        groups = []
        for ranking in self._rankings.list():
            place = {reply: index for index, reply in enumerate(ranking.shown)}
            shown = self._messages(ranking.shown)
            groups.append(
                Group(
                    self._turns(ranking.prompt, shown),
                    tuple(_reply(reply) for reply in shown),
                    tuple(tuple(place[reply] for reply in tier) for tier in ranking.tiers),
                    ranking.all_bad,
                    None,
                    ranking.tags,
                    ranking.milliseconds,
                    ranking.created,
                    ranking.source,
                )
            )
        for made in self._rankings.demonstrations():
            replies = self._messages((made.reply, *made.replaces))
            groups.append(
                Group(
                    self._turns(made.prompt, replies),
                    tuple(_reply(reply) for reply in replies),
                    demonstration=0,
                    created=made.created,
                )
            )
        for thumb in self._rankings.thumbs():
            message = self._conversations.message(thumb.reply)
            if message.parent is not None:
                turns = self._turns(message.parent, [message])
                reply = replace(_reply(message), thumb=thumb.value)
                groups.append(Group(turns, (reply,), created=thumb.created))
        return groups

    def _messages(self, ids: Iterable[int]) -> builtins.list[Message]:
        return [self._conversations.message(id) for id in ids]

    def _turns(self, prompt: int, replies: Iterable[Message]) -> tuple[Turn, ...]:
        newest = max(replies, key=lambda each: (each.origin == "model", each.id))
        return self._conversations.turns(prompt, newest.system)

    def add(self, groups: Iterable[Group], title: str, source: str) -> int:
        """Put groups into one new conversation named `title`, all of them or none; how many there were.

        Groups that begin with the same turns share these turns, so dialogue trees become trees again.
        `source` is noted with each ranking, for example `import:FILE`.
        """
        with self._connection.transaction():
            conversation = self._conversations.create(title).id
            known: dict[tuple[int | None, str, str], int] = {}
            count = 0
            for group in groups:
                best = self._add(group, conversation, known, source)
                if count == 0:
                    self._conversations.activate(best)
                count += 1
            return count

    def _add(
        self, group: Group, conversation: int, known: dict[tuple[int | None, str, str], int], source: str
    ) -> int:
        """Id of the reply that the group says is best, or of its first one."""
        if not group.prompt or not group.replies:
            raise UsageError("a group needs a prompt and a reply")
        parent: int | None = None
        for turn in group.prompt:
            key = (parent, turn.role, storable(turn.text))
            if key not in known:
                known[key] = self._conversations.add(
                    conversation, parent, turn.role, turn.text, "import", activate=False
                ).id
            parent = known[key]
        assert parent is not None
        ids = []
        for reply in group.replies:
            provenance = None
            if reply.model is not None:
                provenance = Provenance(reply.model, adapter=reply.adapter)
            id = self._conversations.add(
                conversation,
                parent,
                "assistant",
                reply.text,
                reply.origin,
                finish_reason=_finish_reason(reply),
                provenance=provenance,
                activate=False,
            ).id
            known.setdefault((parent, "assistant", storable(reply.text)), id)
            ids.append(id)
            if reply.thumb:
                self._rankings.thumb(id, reply.thumb, group.created)
        if group.tiers or group.all_bad:
            self._rankings.add(
                parent,
                ids,
                tuple(tuple(ids[index] for index in tier) for tier in group.tiers),
                all_bad=group.all_bad,
                tags=group.tags,
                milliseconds=group.milliseconds,
                source=source,
                created=group.created,
            )
        if group.demonstration is not None:
            made = ids[group.demonstration]
            self._rankings.demonstrate(parent, made, [id for id in ids if id != made], group.created)
            return made
        return ids[group.tiers[0][0]] if group.tiers else ids[0]


def _finish_reason(reply: GroupReply) -> FinishReason | None:
    if not reply.finished:
        return "length"
    return "stop" if reply.origin == "model" else None


def _reply(message: Message) -> GroupReply:
    made, reason = message.provenance, message.finish_reason
    finished = reason == "stop" or (reason is None and message.origin != "model")
    if made is None:
        return GroupReply(message.text, message.origin, finished=finished)
    return GroupReply(message.text, message.origin, made.model, adapter=made.adapter, finished=finished)
