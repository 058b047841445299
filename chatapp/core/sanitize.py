"""Text from outside (model output, files, model metadata) made safe to write to a terminal.

Every mapping is of one character, so a stream can be made safe chunk by chunk. A control character becomes
its picture (U+2400 block), so nothing is hidden from the reader; bidirectional overrides and other invisible
format characters that can reorder or disguise text become U+FFFD.
"""

from __future__ import annotations

_KEPT = {"\n", "\t"}
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _KEPT}
_C1 = {code: "\N{REPLACEMENT CHARACTER}" for code in range(0x80, 0xA0)}
_FORMAT = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (
        0x061C,  # Arabic letter mark
        0x200E,  # left-to-right mark
        0x200F,  # right-to-left mark
        *range(0x2028, 0x202F),  # line and paragraph separators, bidirectional embeddings and overrides
        *range(0x2066, 0x206A),  # bidirectional isolates
        0xFEFF,  # byte order mark
        *range(0xFFF9, 0xFFFC),  # interlinear annotation
        *range(0xE0000, 0xE0080),  # tags
    )
}
_SURROGATES = {code: "\N{REPLACEMENT CHARACTER}" for code in range(0xD800, 0xE000)}
_TABLE = {**_PICTURES, 0x7F: "\N{SYMBOL FOR DELETE}", **_C1, **_FORMAT, **_SURROGATES}


def terminal_safe(text: str) -> str:
    """`text` with each character that could steer a terminal replaced by a visible one.

    Carriage returns before a line feed are dropped first, so that files with CRLF endings read as they should.
    """
    return text.replace("\r\n", "\n").translate(_TABLE)


def one_line(text: str, limit: int = 200) -> str:
    """`text` as one terminal-safe line of at most `limit` characters."""
    line = " ".join(terminal_safe(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
