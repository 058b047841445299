"""What a model file recommends for its sampling, and what is made of nonsense."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import gguf
from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.settings import Settings, load_settings
from chatapp.core.types import Sampling
from chatapp.engine.gguf import read_header
from chatapp.engine.recommended import recommended_sampling

KEYS = ("temp", "top_k", "top_p", "min_p", "penalty_repeat", "xtc_probability", "xtc_threshold")


def test_a_file_written_by_the_gguf_package_is_understood(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_sampling_temp(0.6)
    writer.add_sampling_top_k(20)
    writer.add_sampling_penalty_repeat(1.05)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = recommended_sampling(read_header(tmp_path / "a.gguf").metadata)
    assert found == Sampling(temperature=0.6, top_k=20, repeat_penalty=1.05)


@given(
    st.dictionaries(st.sampled_from(KEYS), st.one_of(st.floats(), st.integers(), st.text(), st.booleans()))
)
def test_anything_else_is_left_out(said: dict[str, object]) -> None:
    found = recommended_sampling({f"general.sampling.{key}": value for key, value in said.items()})
    assert 0 <= found.temperature <= 5 and 0 < found.top_p <= 1 and 0 <= found.min_p < 1
    assert isinstance(found.top_k, int) and found.top_k >= 0 and 0.5 <= found.repeat_penalty <= 2
    assert all(type(getattr(found, e.name)) is type(getattr(Sampling(), e.name)) for e in fields(Sampling))


def test_settings_come_before_the_model_and_the_model_before_the_default(tmp_path: Path) -> None:
    own = Sampling(temperature=0.4, top_k=20)
    assert Settings().sampling_with(own) == own
    file = tmp_path / "config.toml"
    # The default said aloud is said.
    file.write_text("[sampling]\ntemperature = 0.7\nmax_tokens = 9\n")
    found = load_settings(file, {}).sampling_with(own)
    assert (found.temperature, found.top_k, found.max_tokens) == (0.7, 20, 9)
    assert Settings(sampling=Sampling(top_p=0.5)).sampling_with(own) == Sampling(
        temperature=0.4, top_k=20, top_p=0.5
    )
