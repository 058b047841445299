"""Which file of a repository is taken."""

from __future__ import annotations

import pytest

from chatapp.core.errors import NotFound
from chatapp.library.choice import RemoteFile, choose
from chatapp.library.wanted import read_wanted


def listed(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path, 1_000_000_000 * (at + 1), "0" * 64) for at, path in enumerate(paths)]


USUAL = listed(
    "README.md",
    "m-Q2_K.gguf",
    "m-Q4_K_S.gguf",
    "m-Q4_K_M.gguf",
    "m-Q8_0.gguf",
    "mmproj-m-f16.gguf",
    "m-f16.gguf",
)


@pytest.mark.parametrize(
    ("name", "quantisation"),
    [
        ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q5_0.gguf", "Q5_0"),
        ("tinyllama.Q4_K_M.gguf", "Q4_K_M"),
        ("model-IQ4_XS.gguf", "IQ4_XS"),
        ("Qwen3-4B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("q8-model-fp16.gguf", "F16"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("model_q4_k_m_imatrix.gguf", "Q4_K_M"),
        ("model-q4_0-00001-of-00002.gguf", "Q4_0"),
        ("FAQ8.gguf", ""),
        ("ggml-model.gguf", ""),
    ],
)
def test_the_name_says_the_quantisation(name: str, quantisation: str) -> None:
    assert listed(name)[0].quantisation == quantisation


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a/b", "m-Q4_K_M.gguf"),
        ("a/b:q8_0", "m-Q8_0.gguf"),
        ("a/b:F16", "m-f16.gguf"),
        ("a/b/m-Q2_K.gguf", "m-Q2_K.gguf"),
    ],
)
def test_the_usual_repository(text: str, path: str) -> None:
    assert choose(USUAL, read_wanted(text)).path == path


def test_the_only_file_needs_no_name() -> None:
    assert choose(listed("x/only-Q6_K.gguf", "mmproj.gguf"), read_wanted("a/b")).path == "x/only-Q6_K.gguf"
    assert choose(listed("x/only-Q6_K.gguf"), read_wanted("a/b/only-Q6_K.gguf")).path == "x/only-Q6_K.gguf"
    assert (
        choose(listed("UD-Q4_K_XL.gguf", "Q2_K.gguf"), read_wanted("a/b:Q4_K_XL")).path == "UD-Q4_K_XL.gguf"
    )


@pytest.mark.parametrize(
    ("paths", "text", "message", "hint"),
    [
        (("m-Q2_K.gguf", "m-Q8_0.gguf"), "a/b", "none of them is Q4_K_M", ":Q2_K (1.0 GB), :Q8_0 (2.0 GB)"),
        (("m-Q2_K.gguf",), "a/b:Q8_0", "none of them is Q8_0", ":Q2_K (1.0 GB)"),
        (("1/m-Q4_K_M.gguf", "2/m-Q4_K_M.gguf"), "a/b", "2 files that are Q4_K_M", "1/m-Q4_K_M.gguf"),
        (("m-Q2_K.gguf",), "a/b/n.gguf", "no file 'n.gguf'", ":Q2_K"),
        (("README.md", "model.safetensors"), "a/b", "no GGUF files", "-GGUF"),
        (
            ("m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf", "m-Q2_K.gguf"),
            "a/b",
            "one of 2 parts",
            "llama-gguf-split --merge, or put one of these after a/b: :Q2_K (3.0 GB)",
        ),
        (("m-00002-of-00002.gguf",), "a/b/m-00002-of-00002.gguf", "one of 2 parts", "llama-gguf-split"),
    ],
)
def test_what_cannot_be_had_is_said(paths: tuple[str, ...], text: str, message: str, hint: str) -> None:
    with pytest.raises(NotFound) as error:
        choose(listed(*paths), read_wanted(text))
    assert message in str(error.value)
    assert hint in error.value.hint
