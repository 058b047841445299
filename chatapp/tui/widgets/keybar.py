"""The last line of every screen: the keys that work now, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.binding import ActiveBinding
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget

_GAP = 2
_LAST = ("command_palette", "help")
"""Actions that stand at the right end and are never left out."""


@dataclass(slots=True)
class _Entry:
    keys: list[str]
    """As shown: `^R`, `+`."""
    label: str
    press: str
    """The key that a click presses."""

    @property
    def shown_keys(self) -> str:
        if len(self.keys) > 2 and all(key.isdecimal() for key in self.keys):
            return f"{self.keys[0]}-{self.keys[-1]}"
        return "/".join(self.keys)

    @property
    def width(self) -> int:
        return cell_len(self.shown_keys) + 1 + cell_len(self.label)


class KeyBar(Widget):
    """Reads the screen's active bindings. Bindings with one description share an entry (`+/- thumb`); what
    does not fit is left out from the end, so widgets list their bindings by importance."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"keybar--key"}
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom;
        height: 1;
        padding: 0 1;
        color: $secondary;
        background: $background;
        text-wrap: nowrap;
        pointer: pointer;
        & > .keybar--key { color: $accent; text-style: bold; }
    }
    """

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _: Screen[object]) -> None:
        self.refresh()

    def entries(self) -> tuple[list[_Entry], list[_Entry]]:
        """(those that may be left out, in order of importance; those at the right end)"""
        first: dict[str, _Entry] = {}
        last: dict[str, _Entry] = {}
        for active in self._in_order():
            binding = active.binding
            if not binding.show or not binding.description or not active.enabled:
                continue
            action = binding.action.removeprefix("app.")
            side = last if action in _LAST else first
            display = self.app.get_key_display(binding)
            if entry := side.get(binding.description):
                if display not in entry.keys:
                    entry.keys.append(display)
            else:
                side[binding.description] = _Entry([display], binding.description, binding.key)
        return list(first.values()), list(last.values())

    def _in_order(self) -> list[ActiveBinding]:
        """From the focused widget outwards, and as each lists its own. The screen's order is not that: a
        binding with priority stands where the widget inside has the same key."""
        active = list(self.screen.active_bindings.values())
        inside = self.screen.focused or self.screen
        nodes = list(inside.ancestors_with_self)

        def place(each: ActiveBinding) -> tuple[int, int]:
            own = [binding.action for _, binding in each.node._bindings]
            return nodes.index(each.node) if each.node in nodes else len(nodes), own.index(
                each.binding.action
            )

        return sorted(active, key=place)

    def fitting(self, width: int) -> tuple[list[_Entry], list[_Entry]]:
        """The entries that fit into `width` cells."""
        first, last = self.entries()
        left = width - sum(entry.width + _GAP for entry in last)
        kept: list[_Entry] = []
        for entry in first:
            need = entry.width + (_GAP if kept else 0)
            if need > left:
                break
            kept.append(entry)
            left -= need
        return kept, last

    def render(self) -> Content:
        width = self.content_size.width
        key_style = self.get_visual_style("keybar--key", partial=True)
        kept, last = self.fitting(width)

        def drawn(entries: list[_Entry]) -> Content:
            parts = [
                Content.assemble((entry.shown_keys, key_style), " " + entry.label).stylize(
                    Style.from_meta({"press": entry.press})
                )
                for entry in entries
            ]
            return Content(" " * _GAP).join(parts)

        left, right = drawn(kept), drawn(last)
        return Content.assemble(
            left, " " * max(0, width - cell_len(left.plain) - cell_len(right.plain)), right
        )

    def on_click(self, event: events.Click) -> None:
        if key := event.style.meta.get("press"):
            event.stop()
            self.app.simulate_key(key)
