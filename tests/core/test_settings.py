"""Settings come from the environment, then config.toml, then the defaults, and bad ones are named."""

import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from chatapp.core.errors import FileError, SettingsError
from chatapp.core.paths import find_paths
from chatapp.core.settings import RANGES, Settings, load_settings


def test_defaults_without_a_file(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "none.toml", {})
    assert settings.model == "guide"
    assert settings.sampling.temperature > 0


def test_the_file_beats_the_default_and_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('model = "mine"\nn_ctx = 512\n[sampling]\ntemperature = 0\nstop = ["END"]\n')
    settings = load_settings(file, {"CHATAPP_N_CTX": "1024", "CHATAPP_HOME": "/nowhere"})
    assert (settings.model, settings.n_ctx) == ("mine", 1024)
    assert settings.sampling.temperature == 0.0
    assert settings.sampling.stop == ("END",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("modle = 'x'", "modle"),
        ("n_ctx = 'many'", "n_ctx"),
        ("model = 3", "model"),
        ("sampling = 1", "sampling"),
        ("[sampling]\nheat = 2", "heat"),
        ("model = ", "TOML"),
        ("n_ctx = true", "n_ctx"),
        ("n_ctx = 512.5", "n_ctx"),
        ("n_ctx = inf", "n_ctx"),
        ("rival = 5", "rival"),
        ("threads = 100000", "threads.* not between 0 and 512"),
        ("alternatives = 0", "alternatives"),
        ("[sampling]\nmax_tokens = -1", "max_tokens.* not between 1 and"),
        ("[sampling]\nmax_tokens = 0", "max_tokens"),
        ("[sampling]\ntemperature = nan", "temperature.* not between 0.0 and 10.0"),
        ("[sampling]\ntemperature = true", "temperature"),
        ("[sampling]\nseed = 4294967296", "seed"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=named) as caught:
        load_settings(file, {})
    assert caught.value.hint


def test_a_file_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"config\.toml"):
        load_settings(file, {})


def test_one_folder_holds_everything_when_asked(tmp_path: Path) -> None:
    paths = find_paths({"CHATAPP_HOME": str(tmp_path)})
    paths.make()
    for place in (paths.database, paths.settings, paths.models, paths.runs, paths.log):
        assert place.is_relative_to(tmp_path)
    assert paths.data.stat().st_mode & 0o077 == 0


def test_the_readme_shows_every_setting_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = tomllib.loads(text.split("```toml")[1].split("```")[0])
    usual = asdict(Settings())
    usual.pop("said")
    sampling = usual.pop("sampling")
    assert sampling.pop("seed") is None and "# seed = " in text
    assert {**shown.pop("sampling"), "stop": ()} == sampling
    assert shown == usual


def test_folders_that_cannot_be_made_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"cannot make the folder .*: Not a directory"):
        find_paths({"CHATAPP_HOME": str(tmp_path / "file" / "home")}).make()
    assert find_paths({"CHATAPP_HOME": "~nosuch"}).data == Path("~nosuch/data").absolute()


def test_every_number_has_a_range_and_its_default_is_in_it(tmp_path: Path) -> None:
    usual = asdict(Settings())
    numbers = {**usual.pop("sampling"), **usual, "seed": 0}
    named = {name for name, each in numbers.items() if isinstance(each, int | float) and each is not True}
    assert named == set(RANGES)
    assert all(low <= numbers[name] <= high for name, (low, high) in RANGES.items())
    file = tmp_path / "config.toml"
    file.write_text('rival = "false"\n[sampling]\nseed = 4294967295\n')
    settings = load_settings(file, {"CHATAPP_ALTERNATIVES_TEMPERATURE": "1"})
    assert (settings.rival, settings.sampling.seed, settings.alternatives_temperature) == (
        False,
        2**32 - 1,
        1.0,
    )
    for environment in ({"CHATAPP_THREADS": "100000"}, {"CHATAPP_ALTERNATIVES_TEMPERATURE": "nan"}):
        with pytest.raises(SettingsError, match="is not between"):
            load_settings(file, environment)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("n_ctx", "abc", "a whole number from 0 to 16777216"),
        ("threads", "1.5", "a whole number from 0 to 512"),
        ("alternatives_temperature", "hot", "a number from 0.0 to 10.0"),
        ("rival", "maybe", "true or false"),
    ],
)
def test_what_is_allowed_is_said_of_the_variable_or_the_line(
    tmp_path: Path, name: str, value: str, allowed: str
) -> None:
    file = tmp_path / "config.toml"
    variable = f"CHATAPP_{name.upper()}"
    with pytest.raises(SettingsError) as caught:
        load_settings(file, {variable: value})
    assert str(caught.value) == f"{variable}: {value!r} is not {allowed}"
    assert "config.toml" not in caught.value.hint
    file.write_text(f"{name} = '{value}'\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file, {})
    assert str(caught.value) == f"{file}: {name}: {value!r} is not {allowed}"
    assert "config.toml" in caught.value.hint
