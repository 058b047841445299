"""From the bytes of one lane's tokens to text: whole characters, nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class LaneText:
    """Decodes UTF-8 across tokens and ends at a stop string, however the tokens cut it.

    Text that may become a stop string is held back until it is decided, and a carriage return until it is
    known whether a line feed follows: `terminal_safe` takes the two together. Invalid bytes become U+FFFD; a
    character that the end of the reply cut is left out.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(each for each in stop if each)
        self._held = ""
        self.stopped = False
        """Whether a stop string was found; nothing more comes after it."""

    def begin(self, text: str) -> str:
        """As `feed`, of what was there before: a stop string that is in it did not end it."""
        return self._hold(text)

    def feed(self, piece: bytes) -> str:
        """The text that `piece` completes; empty when it completes none."""
        return self._advance(self._decoder.decode(piece), final=False)

    def finish(self) -> str:
        """What was held back, at the end of the reply."""
        return self._advance("", final=True)

    def _advance(self, text: str, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        found = [place for each in self._stop if (place := text.find(each)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        if final:
            self._held = ""
            return text
        return self._hold(text)

    def _hold(self, text: str) -> str:
        """Hold back what is undecided at the end of `text`; the rest."""
        kept = self._undecided(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def _undecided(self, text: str) -> int:
        """How many characters at the end of `text` could be the beginning of a stop string or of CRLF."""
        longest = 0
        for each in self._stop:
            for length in range(min(len(each) - 1, len(text)), longest, -1):
                if text.endswith(each[:length]):
                    longest = length
                    break
        return longest + text[: len(text) - longest].endswith("\r")
