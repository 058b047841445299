"""A bracketed paste arrives in one piece and in its order, whatever stands in it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

from textual import events
from textual._parser import ParseEOF, ParseTimeout, Peek1, Read1, TokenCallback
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.message import Message


class WholePasteParser(XTermParser):
    """Textual's parser looks for escape sequences inside a paste too, and what it does not know becomes keys.
    Here it sees where a paste begins and ends, and nothing of its text."""

    def parse(self, token_callback: TokenCallback) -> Generator[Read1 | Peek1, str, None]:
        pasted = ""

        def on_token(token: Message) -> None:
            token_callback(events.Paste(pasted) if isinstance(token, events.Paste) else token)

        around = super().parse(on_token)
        awaited = next(around)
        latest = ""
        with suppress(ParseEOF, StopIteration):  # the end of what is read
            while True:
                try:
                    character = yield awaited
                except ParseTimeout as timeout:  # an escape that stands alone: what follows begins anew
                    latest = ""
                    awaited = around.throw(timeout)
                    continue
                awaited = around.send(character)
                latest = (latest + character)[-len(BRACKETED_PASTE_START) :]
                if latest == BRACKETED_PASTE_START:
                    pasted = yield from self._until_end()
                    for character in BRACKETED_PASTE_END:
                        awaited = around.send(character)

    def _until_end(self) -> Generator[Read1 | Peek1, str, str]:
        """The text up to the end of the paste, without NUL, as Textual gives it."""
        text: list[str] = []
        size = len(BRACKETED_PASTE_END)
        while "".join(text[-size:]) != BRACKETED_PASTE_END:
            text.append((yield self.read1()))
        return "".join(text[:-size]).replace("\0", "")
