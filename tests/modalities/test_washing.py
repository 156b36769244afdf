"""Markup, mixed-up encodings and personal data: taken off or mended, the same when rows are predicted, settled after one pass."""

from __future__ import annotations

import html.parser
import random

import pyarrow as pa
import pytest

from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.modalities._washing import UNSETTLED, mended, strip_html


def clean(texts, **settings):
    config = make("modalities", {"kind": "text", **settings})
    found, why = plugin_of("modalities", config).function(config).clean(pa.array(texts, pa.string()))
    return found.to_pylist(), why.to_pylist()


@pytest.mark.parametrize(("text", "expected"), [
    ("<p>One &amp; two</p><p>three</p>", "One & two\nthree"), ("a<br>b<br/>c<BR />d", "a\nb\nc\nd"),
    ("<b>bo</b>ld <i class='x>y'>it</i>", "bold it"),
    ("x < y and y > z", "x < y and y > z"), ("I <3 you", "I <3 you"), ("<script>if (a<b) {alert('</p>')}</script>seen", "seen"),
    ("<style>p {color: red}</style><!-- a > b -->seen", "seen"), ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
    ("&lt;b&gt;&#27721;&#x5b57;&nbsp;&eacute;&hellip;", "汉字 é…"), ("<!DOCTYPE html><html><head><title>T</title></head>x", "T\nx"),
    ("AT&T &unknown; 5 &amp;amp; 6", "AT&T &unknown; 5 & 6"), ("<a href=\"x>link</a>", "link"),
    ("no markup at all", "no markup at all"), ("<p>", "")])
def test_markup(text, expected):
    assert clean([text], html="strip")[0] == [expected]


def test_markup_stays_unless_it_is_asked_for():
    assert clean(["<p>a &amp; b</p>"])[0] == ["<p>a &amp; b</p>"]


class Reference(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.said = []

    def handle_data(self, data):
        self.said.append(data)


def test_text_between_inline_tags_equals_the_standard_parsers():
    generator = random.Random(1)
    pieces = ["<b>", "</b>", "<i class=\"a\">", "</i>", "<span data-x='1 > 0'>", "</span>", "word", " ", "&amp;", "&#233;", "汉字",
        "<!-- c -->", "é"]
    texts = ["".join(generator.choices(pieces, k=30)) for _ in range(300)]
    for text, found in zip(texts, strip_html(pa.array(texts)).to_pylist(), strict=True):
        parser = Reference()
        parser.feed(text)
        parser.close()
        assert " ".join(found.split()) == " ".join("".join(parser.said).split()) or "<!--" in text, text


MIXED = {"cafÃ©": "café", "donâ€™t": "don’t", "ä¸­æ–‡": "中文", "Ã©tÃ© Ã  NoÃ«l": "été à Noël"}
FINE = ["café", "汉字，很好。", "São Paulo", "naïve “quotes”", "Ã", "ＡＢＣ", "ﬁne", "plain"]


def test_mixed_up_encodings():
    pytest.importorskip("ftfy")
    assert mended(pa.array([*MIXED, *FINE, None])).to_pylist() == [*MIXED.values(), *FINE, None]
    assert clean(list(MIXED), mend=True)[0] == list(MIXED.values()) and clean(["cafÃ©"])[0] == ["cafÃ©"]


def test_all_together_are_settled_after_one_pass():
    pytest.importorskip("ftfy")
    settings = {"html": "strip", "mend": True, "scrub": ["mail", "phone", "url"]}
    generator = random.Random(2)
    pieces = ["<p>", "&amp;lt;b&amp;gt;", "&lt;i&gt;", "cafÃ©", "&Atilde;&copy;", "a@b.com", "&#97;@b.com", "<b>x</b>@y.org", "  ",
        "\u200b", "212-555-0123",
              "汉字", "&amp;amp;amp;", "http://a.b/c", "<", "&", ">", "e\u0301"]
    texts = [" ".join(generator.choices(pieces, k=12)) for _ in range(500)]
    once, why = clean(texts, **settings)
    kept = [text for text, reason in zip(once, why, strict=True) if reason is None]
    assert len(kept) > 400 and {reason for reason in why if reason} <= {"empty text", UNSETTLED}
    assert clean(kept, **settings)[0] == kept
    assert not any("@b.com" in text or "212-555" in text or "http://" in text for text in kept)


def test_what_is_washed_is_washed_alike_when_rows_are_predicted(tmp_path):
    from bessemer.core.schema import Column, Role
    from bessemer.modalities import codec_of, column_folder

    settings = {"kind": "text", "html": "strip", "scrub": ["mail"], "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}
    config = make("modalities", settings)
    found = plugin_of("modalities", config).function(config)
    raw = [f"<p>write to a{i}@b.com &amp; wait</p>" for i in range(40)]
    texts = found.clean(pa.array(raw))[0]
    _, facts = found.fit(iter([texts]), 0, column_folder(tmp_path, "t"))
    codec = codec_of(Column(name="t", role=Role.INPUT, modality=settings, facts=facts), tmp_path)
    assert texts.to_pylist() == ["write to [MAIL] & wait"] * 40
    assert codec.tidy is not None and codec.tidy(raw) == texts.to_pylist() == codec.tidy(texts.to_pylist())


@pytest.mark.parametrize("evil", ["<" * 50_000, "<a " * 20_000, "&" * 50_000, "<!--" * 10_000, "<script>" * 5_000, "&amp;" * 20_000,
    "<p '" * 10_000])
def test_no_markup_takes_long_or_stops_the_work(evil):
    texts, why = clean([evil], html="strip", max_chars=1_000_000)
    assert len(texts) == 1 and len(why) == 1
