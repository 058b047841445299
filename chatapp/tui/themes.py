"""The two themes of the house: quiet grounds, one accent colour. Textual's own themes stay available."""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme


def _theme(
    name: str,
    dark: bool,
    ground: str,
    surface: str,
    panel: str,
    text: str,
    muted: str,
    accent: str,
    error: str,
    warning: str,
) -> Theme:
    return Theme(
        name=name,
        dark=dark,
        primary=accent,
        secondary=muted,
        accent=accent,
        success=accent,
        warning=warning,
        error=error,
        foreground=text,
        background=ground,
        surface=surface,
        panel=panel,
        variables={
            "border": accent,
            "border-blurred": panel,
            "block-cursor-background": panel,
            "block-cursor-foreground": text,
            "block-cursor-text-style": "none",
            "block-cursor-blurred-background": panel,
            "block-cursor-blurred-foreground": text,
            "footer-background": ground,
            "footer-key-foreground": accent,
            "input-cursor-background": accent,
            "input-cursor-foreground": ground,
            "input-selection-background": f"{accent} 30%",
            "screen-selection-background": f"{accent} 30%",
            "link-color": accent,
            "link-style": "underline",
            "link-background-hover": panel,
            "link-color-hover": accent,
            "markdown-h1-color": text,
            "markdown-h1-background": "transparent",
            "markdown-h1-text-style": "bold underline",
            "markdown-h2-color": text,
            "markdown-h2-text-style": "bold",
            "markdown-h3-color": text,
            "markdown-h3-text-style": "bold",
            "markdown-h4-color": muted,
            "markdown-h4-text-style": "bold",
            "scrollbar": panel,
            "scrollbar-hover": muted,
            "scrollbar-active": accent,
            "scrollbar-background": ground,
            "scrollbar-background-hover": ground,
            "scrollbar-background-active": ground,
            "scrollbar-corner-color": ground,
        },
    )


THEMES = (
    _theme(
        "chatapp-dark",
        True,
        ground="#15171b",
        surface="#1b1e23",
        panel="#2a2e36",
        text="#dcdfe4",
        muted="#8b929e",
        accent="#74c0ae",
        error="#e58a85",
        warning="#d8b26e",
    ),
    _theme(
        "chatapp-light",
        False,
        ground="#fbfaf7",
        surface="#f3f1ec",
        panel="#e2dfd7",
        text="#26282c",
        muted="#6b6f76",
        accent="#0b7261",
        error="#b3362f",
        warning="#8a5a00",
    ),
)
"""`secondary` is the colour of everything that is not the conversation itself."""


def is_theme(name: str) -> bool:
    return name in BUILTIN_THEMES or any(each.name == name for each in THEMES)
