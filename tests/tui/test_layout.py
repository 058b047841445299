"""What fits, at which size, and what the last line promises."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.containers import Horizontal
from textual.widgets import Input, OptionList

from chatapp.tui.screens.chats import ChatsScreen
from chatapp.tui.screens.edit import EditScreen
from chatapp.tui.screens.help import HelpScreen
from chatapp.tui.widgets.lanes import columns, row_height, stacked_heights

from .conftest import Chat, Open

SIZES = [(40, 12), (80, 24), (120, 36), (200, 50)]


def nothing_is_cut(chat: Chat) -> None:
    """The last line shows whole entries only, and the bound keys among them work now."""
    bar = chat.app.screen.query_one("KeyBar")
    line = bar.render().plain
    assert cell_len(line) <= bar.content_size.width
    kept, last = bar.fitting(bar.content_size.width)
    for entry in [*kept, *last]:
        assert f"{entry.shown_keys} {entry.label}" in line
        assert entry.press in chat.app.screen.active_bindings


@pytest.mark.parametrize("size", SIZES)
async def test_the_key_line_fits_everywhere(open_chat: Open, size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        nothing_is_cut(chat)
        assert "F1 help" in chat.key_line()
        await chat.send("hello")
        nothing_is_cut(chat)
        await chat.press("up")
        nothing_is_cut(chat)
        await chat.press("escape")
        await chat.compare()
        nothing_is_cut(chat)
        await chat.press("1", "2", "3")
        await chat.ranked()
        nothing_is_cut(chat)
        await chat.press("f1")
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))
        nothing_is_cut(chat)


async def test_at_80_columns_all_keys_of_ranking_are_there(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.press("1")
        for entry in (
            "1-4 best",
            "= tie",
            "x all bad",
            "e edit",
            "⌫ undo",
            "Enter done",
            "s/Esc later",
            "F1 help",
        ):
            assert entry in chat.key_line()


async def test_at_80_columns_the_keys_of_a_selected_reply_are_there(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        await chat.press("up")
        for entry in ("r alternatives", "+/- thumb", "e edit", "d delete", "u undo", "Esc back", "F1 help"):
            assert entry in chat.key_line()


async def test_at_100_columns_the_key_that_ranks_what_is_there_is_named(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.press("up")
        assert "R rank" not in chat.key_line()
        await chat.press("escape")
        await chat.rank("escape")
        await chat.press("up")
        assert "R rank" in chat.key_line() and "y copy" in chat.key_line()


async def test_the_help_names_the_keys_that_scroll_it(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.press("f1")
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))
        await chat.until(lambda: "↑/↓ scroll  PgUp/PgDn page  Esc close" in chat.key_line())
        page = chat.app.screen.query_one(".dialog")
        await chat.press("pagedown")
        await chat.until(lambda: page.scroll_y > 5)
        await chat.pilot.resize_terminal(200, 60)
        await chat.until(lambda: "scroll" not in chat.key_line() and "Esc close" in chat.key_line())


@pytest.mark.parametrize(("width", "layout"), [(80, "vertical"), (120, "horizontal")])
async def test_the_help_never_changes_its_columns(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch, width: int, layout: str
) -> None:
    drawn: list[str] = []
    mounted = HelpScreen.on_mount

    def on_mount(screen: HelpScreen) -> None:
        def after_layout(_: object) -> None:
            drawn.append(screen.query_one(Horizontal).styles.layout.name)

        screen.screen_layout_refresh_signal.subscribe(screen, after_layout, immediate=True)
        mounted(screen)

    monkeypatch.setattr(HelpScreen, "on_mount", on_mount)
    async with open_chat(size=(width, 24)) as chat:
        await chat.press("f1")
        await chat.until(lambda: "Esc close" in chat.key_line() and len(drawn) > 1)
    assert set(drawn) == {layout}


@pytest.mark.parametrize("theme", ["chatapp-dark", "ansi-dark"])
async def test_only_what_is_selected_has_a_bar(open_chat: Open, theme: str) -> None:
    async with open_chat(size=(80, 24)) as chat:
        chat.app.theme = theme
        await chat.send("hello")
        await chat.until(lambda: "alpha one" in chat.shown())
        assert "▌" not in chat.shown()
        await chat.press("up")
        await chat.until(lambda: "▌" in chat.shown())


async def test_a_click_on_the_key_line_presses_the_key(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        at = chat.key_line().index("F1 help")
        await chat.pilot.click("KeyBar", offset=(at + 2, 0))
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))


@pytest.mark.parametrize(
    ("key", "width"), [("f1", 150), ("f2", 100), ("ctrl+s", 100), ("ctrl+o", 90)], ids=lambda each: str(each)
)
async def test_each_dialog_has_a_width_of_its_own(open_chat: Open, key: str, width: int) -> None:
    async with open_chat(size=(200, 50)) as chat:
        await chat.press(key)
        await chat.until(lambda: len(chat.app.screen_stack) == 3 and chat.app.screen.query(".dialog"))
        await chat.until(lambda: chat.app.screen.query_one(".dialog").size.width > 0)
        assert chat.app.screen.query_one(".dialog").outer_size.width == width


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_wide_titles_are_cut_by_cells(open_chat: Open, size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await chat.send("湖のそばで美味しいコーヒーが飲める店を教えてください。" * 3)
        await chat.until(lambda: "ctx" in chat.shown().splitlines()[0])
        assert "guide" in chat.shown().splitlines()[0] and "湖のそば" in chat.shown().splitlines()[0]
        await chat.press("ctrl+s")
        await chat.until(lambda: isinstance(chat.app.screen, ChatsScreen) and chat.app.screen._found)
        await chat.until(lambda: "2 messages" in chat.shown())
        [line] = [each for each in chat.shown().splitlines() if "2 messages" in each]
        assert "● 湖のそば" in line
        await chat.pilot.resize_terminal(size[0] - 15, size[1])
        await chat.until(lambda: chat.app.screen.query_one(OptionList).virtual_size.height == 1)
        chat.app.screen.query_one(Input).value = "コーヒー"
        await chat.until(lambda: any(each.snippet for each in chat.app.screen._found))
        await chat.until(lambda: chat.app.screen.query_one(OptionList).virtual_size.height == 2)


async def test_text_stays_narrow_in_a_wide_terminal(open_chat: Open) -> None:
    async with open_chat(size=(200, 50), script=["word " * 200]) as chat:
        await chat.send("hello")
        body = chat.screen.transcript.last_reply.query_one(".body")
        assert body.size.width <= 102


async def test_a_terminal_that_is_too_small_says_so(open_chat: Open) -> None:
    async with open_chat(size=(39, 11)) as chat:
        assert "needs at least 40 columns" in " ".join(chat.shown().split())
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: "F1 help" in chat.shown())


async def test_keys_work_again_after_the_terminal_was_too_small(open_chat: Open) -> None:
    async def too_small_for_a_moment() -> None:
        await chat.pilot.resize_terminal(30, 8)
        await chat.until(lambda: "needs at least 40 columns" in " ".join(chat.shown().split()))
        await chat.until(lambda: chat.app.focused is None)
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: "F1 help" in chat.shown() and chat.app.focused is not None)

    async with open_chat(size=(80, 24)) as chat:
        await chat.send("hello")
        await too_small_for_a_moment()
        await chat.press("a", "backspace")
        assert chat.app.focused is chat.screen.composer
        await chat.press("up")
        await too_small_for_a_moment()
        assert chat.app.focused is chat.screen.transcript.last_reply
        await chat.press("escape")
        await chat.compare()
        await too_small_for_a_moment()
        await chat.press("e", "1")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        await chat.pilot.resize_terminal(30, 8)
        await chat.until(lambda: chat.screen.has_class("-tiny"))
        await chat.press("escape")
        await chat.until(lambda: "needs at least 40 columns" in " ".join(chat.shown().split()))
        await chat.press("d")  # goes to nothing that is hidden
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: chat.app.focused is chat.ranker)
        await chat.press("2", "1", "3")
        await chat.ranked()
        assert len(chat.store.rankings.list()) == 1
        assert len(chat.store.conversations.path(1)) == 2


async def test_the_prompt_grows_to_a_third_of_the_screen(open_chat: Open) -> None:
    async with open_chat(size=(80, 30)) as chat:
        assert chat.screen.composer.size.height == 1
        await chat.write("a\nb\nc")
        await chat.until(lambda: chat.screen.composer.size.height == 3)
        await chat.write("\n" * 40)
        await chat.until(lambda: chat.screen.composer.size.height > 3)
        assert chat.screen.composer.size.height <= 10


async def test_the_view_follows_only_from_the_bottom(open_chat: Open) -> None:
    words = "\n\n".join(f"word{n}" for n in range(60))
    async with open_chat(size=(80, 24), script=[words], pace=0) as chat:
        await chat.send("one")
        transcript = chat.screen.transcript
        await chat.until(lambda: transcript.scroll_y == transcript.max_scroll_y > 0)
        chat.engine._pace = 0.01
        await chat.write("two")
        await chat.press("enter")
        await chat.until(lambda: len(chat.texts()) == 4 and "word3" in chat.texts()[-1])
        # A scroll is done after the next refresh: meanwhile so little comes that the view that follows is
        # never a page behind.
        chat.engine._pace = 0.5
        await chat.press("pageup")
        await chat.until(lambda: transcript.max_scroll_y - transcript.scroll_y > 15)
        at = transcript.scroll_y
        chat.engine._pace = 0.01
        await chat.until(lambda: "word20" in chat.texts()[-1])
        assert transcript.scroll_y == at
        await chat.press("escape")
        await chat.settled()


async def test_earlier_messages_come_while_scrolling_up(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        conversation = chat.store.conversations.create("long").id
        parent = None
        for number in range(150):
            role = "assistant" if number % 2 else "user"
            origin = "import" if number % 2 else "typed"
            parent = chat.store.conversations.add(conversation, parent, role, f"message {number}", origin).id
        await chat.screen.open(conversation)
        transcript = chat.screen.transcript
        assert len(transcript.views) == 60
        assert transcript.views[-1].text == "message 149"
        await chat.until(lambda: transcript.max_scroll_y > 0)
        transcript.scroll_to(y=3, animate=False)
        await chat.until(lambda: len(transcript.views) == 120)
        assert transcript.views[0].text == "message 30"


@pytest.mark.parametrize(
    ("width", "lanes", "across"), [(98, 4, 4), (98, 9, 3), (118, 9, 5), (198, 9, 5), (198, 8, 8), (98, 2, 2)]
)
def test_columns(width: int, lanes: int, across: int) -> None:
    assert columns(width, lanes) == across


def test_heights() -> None:
    assert row_height([3, 9], 40, 1) == 11
    assert row_height([3, 90], 40, 2) == 20
    assert stacked_heights([2, 2], 20, 0) == [4, 4]
    assert stacked_heights([2, 2], 7, 0) == [3, 3]
    assert stacked_heights([30, 30, 30], 20, 1) == [3, 14, 3]
    assert sum(stacked_heights([30, 1, 30], 20, 0)) == 20
