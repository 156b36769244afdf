"""Text: cleaned of what nobody sees, cut into tokens, framed and padded in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import Pick, make
from bessemer.core.registry import plugin_of, register
from bessemer.core.schema import Column
from bessemer.core.types import Codec, Modality
from bessemer.data.scrub import RULES, Kind, scrub
from bessemer.data.tidy import as_text, tidy
from bessemer.modalities import _memo, _washing, pairs, tokens
from bessemer.modalities._plain import tidied
from bessemer.modalities.tokens import Tokens

if TYPE_CHECKING:
    import pyarrow as pa


class Text(Config):
    """A column of running text."""

    later: ClassVar[Mapping[str, Any]] = {"lists": "reject"}

    tokenizer: Annotated[Config, Pick("modalities/tokenizers")] = Field(default_factory=lambda: make("modalities/tokenizers", "wordpiece"))
    """Where the vocabulary comes from: trained here (wordpiece) or a pretrained model's."""
    unicode_form: Literal["NFC", "NFKC", "NFD", "NFKD", "none"] = "NFC"
    """Unicode normal form that all text is brought to."""
    max_chars: Annotated[int, Field(ge=1)] = 20_000
    """A longer text is set aside."""
    min_chars: Annotated[int, Field(ge=1)] = 1
    """A shorter text is set aside."""
    html: Literal["keep", "strip"] = "keep"
    """strip: markup of web pages is taken off: tags, comments, scripts and styles; entities become their signs."""
    mend: bool = False
    """Mend text whose encoding was mixed up before it came here (`cafÃ©`); needs the package ftfy."""
    scrub: tuple[Kind, ...] = ()
    """Personal data to replace by marks (`[MAIL]`), in quarantine too: mail, phone, id (Chinese, SSN, IBAN), card, ip, url."""
    lists: Literal["reject", "join"] = "reject"
    """join: a list holds words that are cut already, and is read as a text with a space between two."""
    max_length: Annotated[int, Field(ge=8, le=100_000)] | Literal["auto"] = 128
    """Tokens a row, special ones included, unless a task says otherwise; what is beyond is cut in batches, never on disk. auto: prepare
    chooses what 98 of 100 training rows need, in steps of 16, and never more than models of the tokenizer read (512 or less)."""

    def outside(self) -> tuple[Path | str, ...]:
        """Return the files that the tokenizer is read from, and which rules take personal data out."""
        return (*_tokens(self).files(), *([RULES] if self.scrub else []))


def _tokens(config: Text) -> Tokens:
    made: Tokens = plugin_of("modalities/tokenizers", config.tokenizer).function(config.tokenizer)
    return made


def _longest(config: Text) -> int:
    """Return the tokens a row, or until prepare has chosen, those that may be."""
    return _tokens(config).longest() if config.max_length == "auto" else config.max_length


def _washed(config: Text, values: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """Return clean texts, and which of them are others each time (None: none can be)."""
    steps: list[_washing.Step] = [_washing.strip_html] if config.html == "strip" else []
    if config.mend:
        steps.append(_washing.mended)
    if not steps and not config.scrub:
        return tidy(values, config.unicode_form), None
    steps.append(lambda found: tidy(found, config.unicode_form))
    if config.scrub:
        steps.append(lambda found: scrub(found, config.scrub))
    return _washing.settled(as_text(values), steps)


def few_tidied(config: Text) -> Callable[[Sequence[str]], list[str]]:
    """Return the cleaning of a few texts, mostly without Arrow: the same characters as `clean` gives."""

    def slow(texts: Sequence[str]) -> list[str]:
        import pyarrow as pa

        found: list[str] = _washed(config, pa.array(texts, pa.string()))[0].to_pylist()
        return found

    washes = config.html == "strip" or config.mend or bool(config.scrub)
    return slow if washes else lambda texts: tidied(texts, config.unicode_form, slow)


def _holds_lists(values: pa.Array) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(values.type) or pa.types.is_large_list(values.type))


def joined(values: pa.Array) -> pa.Array:
    """Return lists of words as texts with a space between two, other values as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _holds_lists(values):
        return values
    if pa.types.is_nested(values.type.value_type):
        raise UserError(f"a column of type {values.type} cannot be read as text; expected texts, or lists of words")
    return pc.binary_join(values.cast(pa.list_(pa.string())), " ")


@register("modalities", "text")
def text(config: Text) -> Modality:
    """Return the functions of a column of text."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        found, moving = _washed(config, joined(values) if config.lists == "join" else values)
        length = pc.utf8_length(found)
        nothing = pa.scalar(None, pa.string())
        why = pc.if_else(pc.greater(length, config.max_chars), f"text longer than {config.max_chars} characters", nothing)
        why = pc.if_else(pc.less(length, config.min_chars), f"text shorter than {config.min_chars} characters", why)
        why = pc.if_else(pc.equal(length, 0), "empty text", why)
        if moving is not None:
            why = pc.if_else(moving, _washing.UNSETTLED, why)
        absent: Any = "missing"
        if _holds_lists(values):
            absent = pc.if_else(values.is_null(), "missing", "a word of the list is missing")
        return found, pc.if_else(found.is_null(), absent, why)

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        tokenizer = _tokens(config).make(array.drop_null().to_pylist() for array in arrays)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        return (), tokens.info_of(tokenizer, f"'{folder.name}'", _longest(config))

    def load(column: Column, folder: Path) -> Codec:
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        if not file.is_file():
            raise UserError(f"'{folder}' has no tokenizer.json for the column '{column.name}'; run the recipe again to make it")
        tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
        tokenizer.no_truncation()  # a file that others wrote may pad every text to one length, as words that count
        tokenizer.no_padding()
        info = tokens.info_of(tokenizer, f"column '{column.name}'", _longest(config))

        cut = tokens.encoder(tokenizer)

        def encode(values: pa.Array) -> dict[str, pa.Array]:
            import pyarrow.compute as pc

            ids, starts = cut(pc.fill_null(tidy(values, config.unicode_form), "").to_pylist())
            return {"ids": ids, "starts": starts}

        def firsts(texts: Sequence[str], unit: str) -> list[tuple[list[int], list[int]]]:
            from bessemer.modalities import _units

            return _units.firsts(tokenizer, texts, unit)

        return Codec(encode=encode, collate=lambda stored, limit: pairs.collated(stored, limit or info["max_length"], info),
                     length="ids", info=info, tidy=few_tidied(config),
                     ids=_memo.remembered(tokenizer, lambda texts: tokens.ids_of(tokenizer, texts)), firsts=firsts)

    return Modality(clean=clean, fit=fit, load=load, roles=("input",), lists=config.lists == "join")
