"""`chatapp models pull, remove, discover`: GGUF files of a hub and of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatapp.cli.arguments import house_of
from chatapp.cli.output import note, say_json, say_table
from chatapp.core.errors import ChatappError, ModelError
from chatapp.core.paths import expanded
from chatapp.core.size import bytes_in_words

if TYPE_CHECKING:
    from chatapp.engine.gguf import GgufHeader
    from chatapp.library.choice import RemoteFile
    from chatapp.library.discover import Found
    from chatapp.session.wiring import House


def pull(
    ctx: typer.Context,
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="REPO[:QUANT|/FILE]",
            help="OWNER/NAME on the hub; with a quantisation (Q4_K_M by default) or one of its files.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Its name here; by default the file's.")
    ] = None,
) -> None:
    """Download a GGUF file from the Hugging Face Hub, check it, and make it choosable by name.

    A download that was stopped goes on where it was. The file lies in the Hugging Face cache, where other
    programs find it too. HF_ENDPOINT names another hub, HF_TOKEN opens gated repositories, HF_HOME moves the
    cache. This is the one command that uses the network.

    \b
    Examples:
      chatapp models pull bartowski/Llama-3.2-1B-Instruct-GGUF
      chatapp models pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0 --name qwen
      chatapp models pull OWNER/NAME/FILE.gguf
    """
    from chatapp.cli.download_display import shown_download
    from chatapp.library.hub import Hub
    from chatapp.library.hub_settings import HubSettings
    from chatapp.library.pull import pull as pull_model
    from chatapp.library.wanted import read_wanted

    which = read_wanted(wanted)
    settings = HubSettings.found(os.environ)
    house = house_of(ctx)

    def contacted(host: str) -> None:
        if host != hub.host:
            note(f"the file comes from {host}")
            return
        token = ", with the token in HF_TOKEN" if settings.token else ""
        note(f"asking {host} for {which.repo}{token}; nothing else is sent")

    def chosen(file: RemoteFile) -> None:
        note(f"{file.path}, {bytes_in_words(file.size)}, to {settings.cache}")

    hub = Hub(settings, contacted)
    try:
        with shown_download() as listener:
            entry = pull_model(which, hub, house.catalogue, house.engine(), name, chosen, listener)
    except KeyboardInterrupt:
        note("stopped; the same command goes on with what is here")
        raise typer.Exit(130) from None
    note(f"added {entry.name}; `chatapp models use {entry.name}` chooses it")


def remove(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `models list` shows it.")],
    delete_file: Annotated[
        bool,
        typer.Option("--delete-file", help="Delete its file too, if it lies in chatapp's models folder."),
    ] = False,
) -> None:
    """Take a model out of the list. Its file stays, and so do the adapters that were trained on it.

    \b
    Examples:
      chatapp models remove some
      chatapp models remove some --delete-file
    """
    house = house_of(ctx)
    adapters = _adapters_of(house, name)
    removed = house.catalogue.remove(name, delete_file)
    if removed.deleted:
        note(f"removed {name} and deleted {removed.file}")
    elif removed.kept:
        note(f"removed {name}; its file stays: {removed.file}")
    else:
        note(f"removed {name}; its file was not there any more")
    if adapters:
        note(f"kept the adapters that were trained on it: {', '.join(adapters)}")
    if removed.in_use:
        note("it was the model in use; the guide answers from now on")


def _adapters_of(house: House, name: str) -> list[str]:
    """Names of the adapters that were trained on this model's file."""
    trained = house.store().adapters.list()
    if not trained:
        return []
    try:
        digest = house.model_sha256(house.spec(name))
    except ChatappError:
        # The file is gone or broken; the name that it was trained under is left to go by.
        return [each.name for each in trained if each.model == name]
    return [each.name for each in trained if each.model_sha256 == digest]


def discover(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with paths and reasons.")] = False,
) -> None:
    """List the GGUF files that are on this machine already.

    Looks into chatapp's models folder, the Hugging Face cache, llama.cpp's cache, LM Studio's and Ollama's
    folders. Reads headers only, changes nothing. `chatapp models add NAME` takes one into the list.

    \b
    Examples:
      chatapp models discover
      chatapp models discover --json
    """
    found = found_files(house_of(ctx))
    if as_json:
        say_json([_found_as_json(each) for each in found])
        return
    rows = []
    for each in found:
        header, (trainable, _) = each.header, _trainable(each.header)
        rows.append(
            (
                each.name,
                each.place,
                bytes_in_words(each.size),
                header.architecture if header else "",
                header.quantisation if header else "",
                (header.context_length or "") if header else "",
                "" if each.problem else "yes" if trainable else "no",
                each.problem or (f"added as {each.added}" if each.added else ""),
            )
        )
    say_table(("name", "in", "size", "architecture", "type", "context", "trainable", "note"), rows)
    if not found:
        note("no GGUF files here yet; `chatapp models pull OWNER/NAME` downloads one")
    elif any(each.problem is None and each.added is None for each in found):
        note("`chatapp models add NAME` makes one choosable; --json has their paths")


def found_files(house: House) -> list[Found]:
    """What `discover` lists."""
    from chatapp.library.discover import discover as discover_files

    return discover_files(house.paths.models, os.environ, house.catalogue.list())


def file_to_add(house: House, file: Path) -> tuple[Path, str | None]:
    """The path that `models add` was given, or that of the file which `discover` calls so, and its name."""
    if not expanded(file).exists() and file.name == str(file):
        for each in found_files(house):
            if each.name == file.name:
                return each.path, each.name
    return file, None


def _trainable(header: GgufHeader | None) -> tuple[bool | None, str | None]:
    """Whether `chatapp train` knows such a model, and why not. None where the header is unreadable."""
    from chatapp.training.architectures import require_trainable

    if header is None:
        return None, None
    try:
        require_trainable(header)
    except ModelError as error:
        return False, str(error)
    except (TypeError, ValueError, KeyError, ZeroDivisionError):
        return False, "its header says what makes no sense"
    return True, None


def _found_as_json(found: Found) -> dict[str, Any]:
    header = found.header
    trainable, why = _trainable(header)
    return {
        "name": found.name,
        "in": found.place,
        "path": str(found.path),
        "size": found.size,
        "architecture": header.architecture if header else None,
        "parameters": header.parameters if header else None,
        "quantisation": header.quantisation if header else None,
        "context_length": header.context_length if header else None,
        "trainable": trainable if found.problem is None else False,
        "not_trainable_because": why,
        "problem": found.problem,
        "added": found.added,
    }
