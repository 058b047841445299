"""Text that a model wrote, as Markdown that cannot do anything by itself."""

from __future__ import annotations

from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from textual.content import Content
from textual.widgets import Markdown
from textual.widgets._markdown import MarkdownFence, MarkdownStream, MarkdownTable, MarkdownTableContent

from chatapp.core.sanitize import terminal_safe

_TAB = 4
"""Cells."""


def _keep_line_breaks(state: StateCore) -> None:
    """Chat replies mean their line breaks, unlike Markdown documents."""
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


def parser() -> MarkdownIt:
    """GitHub's Markdown; HTML stays visible as the text that it is."""
    made = MarkdownIt("gfm-like", {"html": False})
    made.core.ruler.push("keep_line_breaks", _keep_line_breaks)
    return made


class _TableContent(MarkdownTableContent):
    """Without the tooltips, which would read the text of a cell as console markup."""

    def _without_tooltips(self) -> None:
        for cell in self.children:
            cell.tooltip = None

    def on_mount(self) -> None:
        super().on_mount()
        self._without_tooltips()

    async def _update_rows(self, updated_rows: list[list[Content]]) -> None:
        await super()._update_rows(updated_rows)
        self._without_tooltips()


class _Table(MarkdownTable):
    def compose(self) -> Iterable[MarkdownTableContent]:
        self._headers, self._rows = self._get_headers_and_rows()
        yield _TableContent(self._headers, self._rows)


class _Fence(MarkdownFence):
    """Without tabs: Textual expands those of coloured text and leaves the colours where they were."""

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        return super().highlight(code.expandtabs(_TAB), language, ansi, dark)


class ReplyMarkdown(Markdown):
    """A reply. Takes raw text, shows it terminal-safe; links are reported and never opened from here.

    Every block has one empty line under it, the last one too: a rule for the last child would style all
    blocks anew with each one that comes.
    """

    BLOCKS = {**Markdown.BLOCKS, "table_open": _Table, "fence": _Fence, "code_block": _Fence}
    DEFAULT_CSS = """
    ReplyMarkdown {
        padding: 0;
        background: transparent;
        & > MarkdownParagraph { margin: 0 0 1 0; }
        & MarkdownBulletList, & MarkdownOrderedList { margin: 0 0 1 0; }
        & MarkdownH1, & MarkdownH2, & MarkdownH3, & MarkdownH4 { margin: 0 0 1 0; content-align: left top; }
        & MarkdownFence { margin: 0 0 1 0; background: $panel 40%; color: $foreground; overflow: hidden; }
        & MarkdownFence > Label { width: 100%; padding: 0 1; }
        & MarkdownBullet { color: $secondary; }
        & MarkdownBlockQuote { margin: 0 0 1 0; background: transparent; border-left: outer $panel; }
        & MarkdownTable { background: transparent; }
        & MarkdownHorizontalRule { border-bottom: solid $panel; padding-top: 0; }
    }
    """

    def __init__(self, text: str = "", *, classes: str | None = None) -> None:
        super().__init__(terminal_safe(text), classes=classes, parser_factory=parser, open_links=False)
        self._writer: MarkdownStream | None = None

    async def write(self, text: str) -> None:
        """More text of a reply that is being written; writes are drawn together when drawing is slow."""
        if self._writer is None:
            self._writer = Markdown.get_stream(self)
        await self._writer.write(terminal_safe(text))

    async def settle(self, text: str) -> None:
        """The whole text of a reply that is complete. It is drawn anew where it is not what was streamed, and
        where there is a fence, which streaming leaves empty when it was not closed."""
        if self._writer is not None:
            await self._writer.stop()
            self._writer = None
        safe = terminal_safe(text)
        if safe != self.source or "```" in safe or "~~~" in safe:
            await self.update(safe)
