"""Text from outside (model output, files, model metadata) made safe to write to a terminal.

Every mapping but that of CRLF is of one character, so a stream can be made safe chunk by chunk where no chunk
ends between the two. A control character becomes its picture (U+2400 block), so nothing is hidden from the
reader; bidirectional overrides and other invisible format characters that can reorder or disguise text become
U+FFFD.
"""

from __future__ import annotations

_KEPT = {"\n", "\t"}
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _KEPT}
_HIDDEN = (
    *range(0x80, 0xA0),  # C1 controls
    0x061C,  # Arabic letter mark
    0x200E,  # left-to-right mark
    0x200F,  # right-to-left mark
    *range(0x2028, 0x202F),  # line and paragraph separators, bidirectional embeddings and overrides
    *range(0x2066, 0x206A),  # bidirectional isolates
    *range(0xD800, 0xE000),  # surrogates, which no encoder takes
    0xFEFF,  # byte order mark
    *range(0xFFF9, 0xFFFC),  # interlinear annotation
    *range(0xE0000, 0xE0080),  # tags
)
_TABLE = {**dict.fromkeys(_HIDDEN, "\N{REPLACEMENT CHARACTER}"), **_PICTURES, 0x7F: "\N{SYMBOL FOR DELETE}"}


def terminal_safe(text: str) -> str:
    """`text` with each character that could steer a terminal replaced by a visible one.

    A carriage return before a line feed is dropped, so that text with CRLF endings reads as it should.
    """
    return text.replace("\r\n", "\n").translate(_TABLE)


def one_line(text: str, limit: int = 200) -> str:
    """`text` as one terminal-safe line of at most `limit` characters."""
    line = " ".join(terminal_safe(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
