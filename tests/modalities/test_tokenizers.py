"""What each trained vocabulary must do, held against the definition or the library that it comes from."""

from __future__ import annotations

import random

import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of


def trained(texts, **settings):
    config = make("modalities/tokenizers", settings)
    return plugin_of("modalities/tokenizers", config).function(config).make(iter([texts]))


def corpus(count=800):
    rng = random.Random(0)
    words = ["".join(rng.choice("abcdefghijklmé") for _ in range(rng.randint(2, 7))) for _ in range(300)]
    return [" ".join(rng.choices(words, k=9)) + rng.choice([".", " 这部电影很好看。"]) for _ in range(count)]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "characters", "words"])
def test_the_order_of_the_texts_changes_nothing(kind):
    texts = corpus()
    assert trained(texts, kind=kind, vocab_size=400).to_str() == trained(texts[::-1], kind=kind, vocab_size=400).to_str()


def test_bpe_has_no_unknown_character_and_gives_back_every_text():
    tokenizer = trained(corpus(), kind="bpe", vocab_size=400)
    for text in ["abc def", "全新的字 🙂", "Ω\tx"]:
        found = tokenizer.encode(text, add_special_tokens=False)
        assert "[UNK]" not in found.tokens
        assert tokenizer.decode(found.ids).strip() == text


def test_bpe_merges_the_most_frequent_pair_first():
    # the example of Sennrich et al. 2016
    texts = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    tokenizer = trained(texts, kind="bpe", vocab_size=300)
    assert tokenizer.encode("newest", add_special_tokens=False).tokens == ["Ġnewest"]
    vocabulary = tokenizer.get_vocab()
    merges = sorted((token for token in vocabulary if len(token) > 1 and not token.startswith("[")), key=vocabulary.get)
    # e s and es t occur 9 times; then come l o, the space before it, and w behind it, 7 times each
    assert merges[:2] == ["es", "est"] and set(merges[2:6]) >= {"lo", "Ġlo", "Ġlow"}


def test_unigram_cuts_as_sentencepiece_does(tmp_path):
    import io

    import sentencepiece

    texts = corpus()
    tokenizer = trained(texts, kind="unigram", vocab_size=300, unicode_form="none")
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sorted(set(texts))), model_writer=made, model_type="unigram", vocab_size=296, hard_vocab_limit=False,
        normalization_rule_name="identity", character_coverage=0.9995, num_threads=1, bos_id=-1, eos_id=-1, pad_id=-1, unk_id=0,
        minloglevel=2)
    reference = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    same = [tokenizer.encode(text, add_special_tokens=False).tokens == reference.encode(text, out_type=str) for text in texts[:200]]
    assert sum(same) / len(same) > 0.9  # the trainers saw the lines in another order


def test_unigram_without_room_for_the_characters_is_one_sentence():
    texts = ["".join(chr(0x4E00 + i) for i in range(j, j + 40)) for j in range(0, 800, 40)]
    with pytest.raises(UserError, match="no unigram vocabulary of 120 tokens can be made of these texts: the vocabulary must have room"):
        trained(texts, kind="unigram", vocab_size=120)


def test_characters_are_tokens_the_most_frequent_first():
    tokenizer = trained(["好好 看", "好 书", "ＡＢ"], kind="characters", vocab_size=10)
    assert tokenizer.encode("看好 b书", add_special_tokens=False).tokens == ["看", "好", "[UNK]", "书"]
    assert tokenizer.get_vocab()["好"] == 5
    assert tokenizer.encode("A", add_special_tokens=False).tokens == ["A"]  # NFKC: full width is half width


def test_words_that_are_cut_already_stay_whole():
    tokenizer = trained(["中国 人民 银行", "中国 人民"], kind="words", min_frequency=2)
    assert tokenizer.encode("中国 人民 中国人民", add_special_tokens=False).tokens == ["中国", "人民", "[UNK]"]
    with pytest.raises(UserError, match="no word occurs 9 times in the training texts"):
        trained(["a b"], kind="words", min_frequency=9)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "characters", "words"])
def test_signs_that_tell_words_apart_are_kept(kind):
    words = ["ดี", "ดุ", "ดู", "हिन्दू", "हुन्दी", "कुताब", "किताब", "ハード", "ハート", "мой", "мои", "đã", "đa", "école", "ecole", "각", "가"]
    tokenizer = trained(words * 30, kind=kind, vocab_size=500, lowercase=True)
    ids = [tuple(tokenizer.encode(word, add_special_tokens=False).ids) for word in words]
    unknown = tokenizer.token_to_id("[UNK]")
    assert len(set(ids)) == len(words) and not any(unknown in row for row in ids)


def test_a_wordpiece_vocabulary_leaves_accents_out_where_it_is_asked():
    texts = ["Café École cafe ecole"] * 20
    plain = trained(texts, kind="wordpiece", vocab_size=200, strip_accents=True)
    assert plain.encode("CAFÉ école").ids == plain.encode("cafe ecole").ids
    cased = trained(texts, kind="wordpiece", vocab_size=200, strip_accents=True, lowercase=False)
    assert cased.encode("École").ids == cased.encode("Ecole").ids != cased.encode("ecole").ids
