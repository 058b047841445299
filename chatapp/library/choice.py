"""Which of a repository's files is meant: by its name, by its quantisation, or the one of medium size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.core.errors import NotFound
from chatapp.core.size import bytes_in_words
from chatapp.library.wanted import Wanted

DEFAULT = "Q4_K_M"
"""What is taken where nothing was said: half the size of Q8_0 and hardly worse."""
_QUANTISATION = re.compile(
    r"(?<![A-Z0-9])((?:UD-)?(?:I?Q[1-9](?:_(?:K|[0-9]|NL|XXS|XS|S|M|L|XL))*|TQ[12]_0|BF16|FP?16|FP?32"
    r"|MXFP4(?:_MOE)?|NVFP4))(?![A-Z0-9])",
    re.IGNORECASE,
)
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)
_SIDE = re.compile(r"(?:^|[-_.])(?:mmproj|imatrix)(?:[-_.]|$)", re.IGNORECASE)
"""Files beside a model that are none: projectors for images, statistics."""
_SHOWN = 30


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as a hub lists it."""

    path: str
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the content (64 hex digits) where the hub keeps it as a large file, else git's SHA-1 of it
    as a blob (40)."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def quantisation(self) -> str:
        """As the name says; empty where it does not."""
        found = _QUANTISATION.findall(self.name)
        return re.sub(r"^FP(?=16|32)", "F", found[-1].upper()) if found else ""

    @property
    def parts(self) -> int:
        """Of how many files this is one."""
        match = _PART.search(self.name)
        return int(match[1]) if match else 1


def choose(files: Sequence[RemoteFile], wanted: Wanted) -> RemoteFile:
    """The one file that is wanted. Errors: `NotFound` lists what there is, or says why it cannot be had."""
    models = [each for each in files if each.name.lower().endswith(".gguf") and not _SIDE.search(each.name)]
    if wanted.file is not None:
        own = [each for each in files if each.path == wanted.file]
        own = own or [each for each in files if each.name == wanted.file]
        if len(own) == 1:
            return _whole(own[0], wanted, models)
        raise NotFound(f"{wanted.repo} has no file {wanted.file!r}", _choices(wanted.repo, models))
    if not models:
        raise NotFound(
            f"{wanted.repo} has no GGUF files",
            "models that were converted often lie in a repository whose name ends in -GGUF",
        )
    quantisation = wanted.quantisation or DEFAULT
    fitting = [each for each in models if each.quantisation == quantisation] or [
        each for each in models if each.quantisation.endswith(f"-{quantisation}")
    ]
    if not fitting and wanted.quantisation is None and len(models) == 1:
        fitting = models
    if not fitting:
        what = "none of them is " + quantisation
        raise NotFound(f"{wanted.repo} has {len(models)} GGUF files, {what}", _choices(wanted.repo, models))
    whole = [each for each in fitting if each.parts == 1]
    if len(whole) == 1:
        return whole[0]
    if not whole:
        return _whole(fitting[0], wanted, models)
    names = ", ".join(each.path for each in whole[:_SHOWN])
    raise NotFound(
        f"{wanted.repo} has {len(whole)} files that are {quantisation}",
        f"name one, as in {wanted.repo}/{whole[0].path}; there is {names}",
    )


def _whole(file: RemoteFile, wanted: Wanted, models: Sequence[RemoteFile]) -> RemoteFile:
    """`file`, unless it is a part of a model. Errors: `NotFound`."""
    if file.parts == 1:
        return file
    others = [each for each in models if each.parts == 1]
    hint = "download all parts and join them with llama-gguf-split --merge"
    raise NotFound(
        f"{file.name} is one of {file.parts} parts of a model; only whole files can be used",
        f"{hint}, or {_choices(wanted.repo, others)}" if others else hint,
    )


def _choices(repo: str, models: Sequence[RemoteFile]) -> str:
    """What can be asked for, smallest first."""
    there = sorted((each for each in models if each.parts == 1), key=lambda each: each.size)
    if not there:
        return "the repository's page shows what there is"
    kinds = [each.quantisation for each in there]
    # Files without a quantisation, and two of one, are told apart by their names.
    listed = ", ".join(
        f"{f':{kind}' if kind and kinds.count(kind) == 1 else f'/{each.path}'} ({bytes_in_words(each.size)})"
        for each, kind in list(zip(there, kinds, strict=True))[:_SHOWN]
    )
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return f"put one of these after {repo}: {listed}{more}"
