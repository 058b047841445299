"""What `models pull` understands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.errors import UsageError
from chatapp.library.wanted import Wanted, is_plain_path, read_wanted

WORDS = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda text: ".." not in text
)
FILES = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a/b-GGUF", Wanted("a/b-GGUF")),
        ("a/b:q4_k_m", Wanted("a/b", "Q4_K_M")),
        (" a/b:UD-Q4_K_XL ", Wanted("a/b", "UD-Q4_K_XL")),
        ("a/b/c.gguf", Wanted("a/b", file="c.gguf")),
        ("a/b:c.gguf", Wanted("a/b", file="c.gguf")),
        ("a/b/Q8_0/my model.GGUF", Wanted("a/b", file="Q8_0/my model.GGUF")),
        ("hf.co/a/b:Q8_0", Wanted("a/b", "Q8_0")),
        ("https://huggingface.co/a/b/", Wanted("a/b")),
        ("https://huggingface.co/a/b/tree/main", Wanted("a/b")),
        ("https://huggingface.co/a/b/blob/main/c.gguf", Wanted("a/b", file="c.gguf")),
        ("https://huggingface.co/a/b/resolve/main/c.gguf?download=true", Wanted("a/b", file="c.gguf")),
    ],
)
def test_forms(text: str, wanted: Wanted) -> None:
    assert read_wanted(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a",
        "a/",
        "/b",
        "a/b:",
        "a/b/",
        "a/b/c.bin",
        "a/b/../c.gguf",
        "a/b//c.gguf",
        "a/b/c\\d.gguf",
        "a/b:Q4 K",
        "a--b/c",
        "../c",
        "a/..",
        "-a/b",
        "https://example.com/a/b",
        "https://huggingface.co/a/b/resolve/other/c.gguf",
        "a/b/\x1b[31m.gguf",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError) as error:
        read_wanted(text)
    assert "OWNER/NAME" in error.value.hint


@given(WORDS, WORDS, st.one_of(st.none(), WORDS))
def test_what_is_written_is_read_again(owner: str, name: str, quantisation: str | None) -> None:
    if quantisation is not None and quantisation.lower().endswith(".gguf"):
        return
    wanted = Wanted(f"{owner}/{name}", quantisation and quantisation.upper())
    assert read_wanted(str(wanted)) == wanted


@given(WORDS, WORDS, FILES)
def test_files_are_read_again_or_refused(owner: str, name: str, path: str) -> None:
    file = f"{path}x.gguf"
    try:
        wanted = read_wanted(f"{owner}/{name}/{file}")
    except UsageError:
        assert not is_plain_path(file)
    else:
        assert wanted == Wanted(f"{owner}/{name}", file=file)
        assert read_wanted(str(wanted)) == wanted


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("ab:/.-_gguf"))))
def test_any_text_is_harmless(text: str) -> None:
    try:
        wanted = read_wanted(text)
    except UsageError:
        return
    owner, name = wanted.repo.split("/")
    assert is_plain_path(owner) and is_plain_path(name) and wanted.repo.isascii()
    assert wanted.file is None or is_plain_path(wanted.file)
    assert str(wanted).isprintable()
