"""A torch program (`torch.export`), of text or of a table: torch runs it, without the classes that the network was built of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Predictor
from bessemer.predictors._network import Graph, network_predictor

if TYPE_CHECKING:
    import numpy as np


class TorchProgramForm(Config):
    """A folder with a .pt2 file."""

    file: str
    """The program, relative to the folder."""
    max_length: Annotated[int, Field(ge=3)] = 128
    """Of texts, the longest input in tokens, special ones included; what is beyond is cut."""


@register("predictors", "torch_program")
def torch_program_form(config: TorchProgramForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        return network_predictor(folder, schema, form, open_program(folder / config.file), config.max_length)

    return open_folder


def open_program(file: Path) -> Graph:
    """Open a program; a missing package, a missing or damaged file is a UserError. Nothing in it is unpickled."""
    import zipfile

    try:
        import torch
    except ImportError:
        raise UserError("this form is run by torch, which is not installed; install it, or export to onnx") from None
    if not file.is_file():
        raise UserError(f"there is no file '{file}', which predictor.json names; export again")
    try:
        with zipfile.ZipFile(file) as archive:
            pickled = [item.filename for item in archive.infolist() if item.filename.endswith((".pt", ".pkl")) and item.file_size]
        if pickled:
            raise UserError(f"'{file}' holds a pickle ('{pickled[0]}'), which could run code, so it is not opened; export again")
        program = torch.export.load(str(file))
    except (zipfile.BadZipFile, RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"'{file}' is damaged or needs another version of torch ({str(error).splitlines()[0][:200]}); export "
                        "again") from None
    module = program.module()

    def run(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(value if value.flags.writeable else value.copy()) for name, value in feeds.items()}
            found: np.ndarray = module(**tensors).numpy()
        return found

    return Graph(file, [str(name) for name in program.graph_signature.user_inputs], run)
