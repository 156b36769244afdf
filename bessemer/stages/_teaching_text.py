"""New texts from training texts: tokens replaced, spans cut out; every draw keyed by (seed, copy, row id).

Legend: R rows of a block, L tokens, V vocabulary, K candidates, N replaced positions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bessemer.core.keyed import uniform
from bessemer.core.run import RunContext
from bessemer.core.schema import Column, Role, Schema
from bessemer.data.shards import ShardReader

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.nn.network import Network
    from bessemer.stages.teach import Teach

CHOOSE, DRAW, CUT = 3_101, 3_102, 3_103
HAN_SPACE = r"(\p{Han}|[，。！？、：；]) +"
SCORED_TOKENS = 8192
NEIGHBOUR_BLOCK = 1024


class TextMaker:
    """Makes texts, or pairs of texts of which both are new; see `Maker`."""

    def __init__(self, config: Teach, schema: Schema, data: Path, way: tuple[str, Path | None], run: RunContext) -> None:
        self.config, self.way = config, way[0]
        columns = [column for column in schema.by_role(Role.INPUT) if not column.of]
        self.parts = [ColumnMaker(config, (column, number), data, way, run) for number, column in enumerate(columns)]

    def begin(self, answers: dict[str, np.ndarray]) -> None:
        """Load what proposes replacements; unused where nothing is replaced."""
        for part in self.parts:
            part.begin()

    def key_columns(self) -> tuple[str, ...]:
        """Texts of the same tokens are equal."""
        return tuple(f"{part.column}.ids" for part in self.parts)

    def facts(self) -> dict[str, Any]:
        """Return how tokens were replaced."""
        return {"replace": self.way} if self.config.copies and self.config.replaced else {}

    def foreign(self, rows: pa.Table) -> pa.Table:
        """Return clean texts, tokenised."""
        return _beside([part.foreign(rows) for part in self.parts])

    def copies(self, rows: pa.Table, copy: int) -> pa.Table:
        """Return a row made from each; those of which nothing is left in a text are none."""
        return _beside([part.copies(rows, copy) for part in self.parts])


def _beside(tables: list[pa.Table]) -> pa.Table:
    """Return the columns of tables beside each other, of the rows that all of them have; each holds its rows' ids in rising order."""
    import numpy as np
    import pyarrow as pa

    ids = [table["row_id"].to_numpy() for table in tables]
    kept = [np.all([np.isin(own, other) for other in ids], axis=0) for own in ids]
    whole = tables[0].filter(pa.array(kept[0]))
    for table, mask in zip(tables[1:], kept[1:], strict=True):
        for name in table.column_names:
            if name != "row_id":
                whole = whole.append_column(name, table[name].filter(pa.array(mask)))
    return whole


class ColumnMaker:
    """Makes texts of one column; `place` says which of the columns it is, so that each draws by itself."""

    def __init__(self, config: Teach, place: tuple[Column, int], data: Path, way: tuple[str, Path | None], run: RunContext) -> None:
        from tokenizers import Tokenizer

        from bessemer.modalities import codec_of, column_folder, modality_of

        self.config, self.data, self.run = config, data, run
        self.way, self.folder = way
        column, self.number = place
        self.column, self.max_length = column.name, int(column.modality["max_length"])
        self.codec, self.clean = codec_of(column, data), modality_of(column).clean
        self.tokenizer = Tokenizer.from_file(str(column_folder(data, column.name) / "tokenizer.json"))

    def begin(self) -> None:
        """Load what proposes replacements; unused where nothing is replaced."""
        import numpy as np

        self.special = np.array(sorted(self.codec.info["special_token_ids"]))
        if not (self.config.copies and self.config.replaced):
            return
        if self.way == "neighbours":
            self.candidates_VK = self._neighbours()
        elif self.way == "words":
            ids = [part[f"{self.column}.ids"].combine_chunks().flatten().to_numpy()
                   for part in ShardReader(self.data / "train").tables((f"{self.column}.ids",), 65_536)]
            # As many of each token as there are in the rows: a draw among a million places is a draw by frequency.
            flat = np.concatenate(ids)
            self.places = flat[np.linspace(0, len(flat) - 1, min(len(flat), 1_000_000)).astype(np.int64)]
        else:
            from bessemer.nn.checkpoint import load_network

            assert self.folder is not None
            self.network: Network = load_network(self.folder, ("mlm",)).eval()

    def foreign(self, rows: pa.Table) -> pa.Table:
        """Return clean texts, tokenised."""
        return self._stored(rows["row_id"].to_numpy(), rows[self.column].combine_chunks())

    def _stored(self, row_ids: np.ndarray, texts: pa.Array) -> pa.Table:
        import pyarrow as pa

        encoded = self.codec.encode(texts)
        return pa.table({"row_id": row_ids, self.column: texts, **{f"{self.column}.{part}": item for part, item in encoded.items()}})

    def copies(self, rows: pa.Table, copy: int) -> pa.Table:
        """Return a text made from each: some tokens replaced, sometimes a span cut out; those of which nothing is left are none."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        row_ids = rows["row_id"].to_numpy()
        arrays = self.codec.collate({"ids": rows[f"{self.column}.ids"].combine_chunks()}, self.max_length)
        inside_RL = (arrays["attention_mask"] == 1) & ~np.isin(arrays["input_ids"], self.special)
        ids_RL = self._replaced(arrays, inside_RL, row_ids, copy)
        kept_RL = inside_RL & self._span(arrays["attention_mask"].sum(1) - 2, ids_RL.shape[1], row_ids, copy)
        size_R = kept_RL.sum(1)
        lists = pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(size_R)]).astype(np.int32), ids_RL[kept_RL]).to_pylist()
        texts = pa.array(self.tokenizer.decode_batch(lists, skip_special_tokens=True), pa.string())
        texts, why = self.clean(pc.replace_substring_regex(texts, HAN_SPACE, r"\1"))
        good = pc.and_(why.is_null(), pc.greater(pc.utf8_length(pc.fill_null(texts, "")), 0))
        return self._stored(row_ids[good.to_numpy(zero_copy_only=False)], texts.filter(good))

    def _span(self, size_R: np.ndarray, length: int, row_ids: np.ndarray, copy: int) -> np.ndarray:
        """Return which places stay, bool [R, L]: all, or in a share of the texts a span of any length at any place."""
        import numpy as np

        if not self.config.spans:
            return np.ones((len(size_R), length), bool)
        cut_R, long_R, where_R = uniform(self.run.seed, copy, row_ids, 3, CUT + 10 * self.number).T
        span_R = np.where(cut_R < self.config.spans, np.ceil(long_R * size_R), size_R).astype(np.int64)
        start_R = 1 + np.floor(where_R * (size_R - span_R + 1)).astype(np.int64)
        place_L = np.arange(length)
        found: np.ndarray = (place_L >= start_R[:, None]) & (place_L < (start_R + span_R)[:, None])
        return found

    def _replaced(self, arrays: dict[str, np.ndarray], inside_RL: np.ndarray, row_ids: np.ndarray, copy: int) -> np.ndarray:
        """Return ids with a share of the tokens, one at least, replaced."""
        import numpy as np

        ids_RL, length = arrays["input_ids"], arrays["input_ids"].shape[1]
        if not self.config.replaced:
            return ids_RL
        if self.way == "neighbours":
            inside_RL = inside_RL & (self.candidates_VK[ids_RL, 0] >= 0)
        draw_RL = np.where(inside_RL, uniform(self.run.seed, copy, row_ids, length, CHOOSE + 10 * self.number), 2.0)
        chosen_RL = draw_RL < self.config.replaced
        bare_R = np.flatnonzero(~chosen_RL.any(axis=1) & inside_RL.any(axis=1))
        chosen_RL[bare_R, draw_RL[bare_R].argmin(axis=1)] = True
        lot_RL = uniform(self.run.seed, copy, row_ids, length, DRAW + 10 * self.number)
        found = ids_RL.copy()
        if self.way == "neighbours":
            found[chosen_RL] = self._near(ids_RL[chosen_RL], lot_RL[chosen_RL])
        elif self.way == "words":
            found[chosen_RL] = self.places[(lot_RL[chosen_RL] * len(self.places)).astype(np.int64)]
        else:
            self._by_model(found, arrays, chosen_RL, lot_RL)
        return found

    def _near(self, ids_N: np.ndarray, lot_N: np.ndarray) -> np.ndarray:
        import numpy as np

        near_NK = self.candidates_VK[ids_N]
        count_N = (near_NK >= 0).sum(1)
        found: np.ndarray = near_NK[np.arange(len(ids_N)), (lot_N * count_N).astype(np.int64)]
        return found

    def _by_model(self, found: np.ndarray, arrays: dict[str, np.ndarray], chosen_RL: np.ndarray, lot_RL: np.ndarray) -> None:
        """Fill in what the masked language model expects at the chosen places, drawn from its likeliest tokens by their probability."""
        import numpy as np
        import torch

        size_R = arrays["attention_mask"].sum(1)
        order = np.argsort(size_R, kind="stable")
        start = 0
        while start < len(order):
            rows = order[start:start + max(1, SCORED_TOKENS // int(size_R[order[min(start + 63, len(order) - 1)]]))]
            start += len(rows)
            length = int(size_R[rows].max())
            hidden_BL = chosen_RL[rows, :length]
            if not hidden_BL.any():
                continue
            ids_BL = np.where(hidden_BL, self.codec.info["mask_token_id"], arrays["input_ids"][rows, :length])
            with torch.inference_mode():
                states_BLD = self.network.encode(*(torch.from_numpy(item) for item in (
                    ids_BL, arrays["attention_mask"][rows, :length], arrays["token_type_ids"][rows, :length])))
                logits_NV = self.network.mlm_logits(states_BLD[torch.from_numpy(hidden_BL)]).float()
                logits_NV[:, torch.from_numpy(self.special)] = -torch.inf
                best = logits_NV[:, :len(self.tokenizer.get_vocab())].topk(self.config.candidates, dim=1)
                share_NK = best.values.double().softmax(-1).cumsum(-1)
                lot_N = torch.from_numpy(lot_RL[rows, :length][hidden_BL])
                pick_N = (share_NK < lot_N[:, None]).sum(1).clamp(max=self.config.candidates - 1)
                new_N = best.indices.gather(1, pick_N[:, None])[:, 0].numpy()
            block = found[rows, :length]
            block[hidden_BL] = new_N
            found[rows, :length] = block

    def _neighbours(self) -> np.ndarray:
        """Return for each token that occurs and has a letter its nearest tokens of the same kind, int64 [V, K]; -1 for the others."""
        import numpy as np
        import torch

        from bessemer.models._words import teacher_words

        assert self.folder is not None
        vectors_VE = torch.nn.functional.normalize(torch.from_numpy(teacher_words(self.folder)), dim=1)
        kind_V = self._kinds(len(vectors_VE))
        used_V = np.zeros(len(vectors_VE), bool)
        for part in ShardReader(self.data / "train").tables((f"{self.column}.ids",), 65_536):
            used_V[np.unique(part[f"{self.column}.ids"].combine_chunks().flatten().to_numpy())] = True
        found = np.full((len(vectors_VE), self.config.candidates), -1, np.int64)
        with self.run.progress("neighbours of words", int((used_V & (kind_V > 0)).sum()), "tokens") as progress:
            for kind in np.unique(kind_V[kind_V > 0]):
                pool = np.flatnonzero(kind_V == kind)
                asked, near_PE = np.flatnonzero(used_V & (kind_V == kind)), vectors_VE[torch.from_numpy(pool)]
                count = min(self.config.candidates + 1, len(pool))
                for start in range(0, len(asked), NEIGHBOUR_BLOCK):
                    self.run.check()
                    block = asked[start:start + NEIGHBOUR_BLOCK]
                    near = pool[(vectors_VE[torch.from_numpy(block)] @ near_PE.T).topk(count, dim=1).indices.numpy()]
                    found[block] = _others(near, block, self.config.candidates)
                    progress.advance(len(block))
        return found

    def _kinds(self, size: int) -> np.ndarray:
        """Return the kind of each token, int [V]: 0 never replaced; a piece within a word stands in for another alone."""
        import numpy as np

        kind_V = np.zeros(size, np.int64)
        for token, number in self.tokenizer.get_vocab(with_added_tokens=True).items():
            bare = token.removeprefix("##").lstrip("Ġ▁")
            if number < size and any(sign.isalpha() for sign in bare) and not (bare.startswith("[") and bare.endswith("]")):
                kind_V[number] = 1 + token.startswith("##") + 2 * token.startswith(("Ġ", "▁"))
        kind_V[self.special[self.special < size]] = 0
        return kind_V


def _others(near: np.ndarray, own: np.ndarray, count: int) -> np.ndarray:
    """Return the nearest tokens without the token itself, [rows, count], the first ones first; -1 where there are fewer."""
    import numpy as np

    keep = near != own[:, None]
    order = np.argsort(~keep, axis=1, kind="stable")
    moved = np.take_along_axis(np.where(keep, near, -1), order, axis=1)
    found = np.full((len(near), count), -1, np.int64)
    found[:, :moved.shape[1]] = moved[:, :count]
    return cast("np.ndarray", found)
