"""Which encoding of one byte a letter a text is in: the one in which its words have the likelier letters.

A language is the frequencies of its letters; a word's likelihood in it is their product. The words that have a letter above ASCII are
decoded in each encoding and compared in the languages that are written in it: the best language's likelihood is the encoding's. A
word counts once, so rows that say the same prove nothing twice. (Unigram models for telling languages and encodings: Li & Momoi 2001,
"A composite approach to language/encoding detection". Frequencies in percent, after Wikipedia's "Letter frequency".)
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import NamedTuple

SURE = math.log(10_000)
"""The ratio of likelihoods, as a logarithm, from which the best encoding is sure."""
WORDS, BESIDE, STRANGE, WITHIN, CONTROL = 500, 3e-3, 1e-5, 1e-6, 1e-9
"""Words looked at; the chance of a sign beside a word; of a letter that the language lacks; of a sign within a word, or a capital after a
small letter; of a byte that is no text."""
LEAST = math.log(10)
"""The ratio from which letters are likelier in a language than by chance, each of the 26 and of the 128 bytes above ASCII alike."""
FIT = 0.9
"""The part of the letters above ASCII that must be the language's own."""
SIGNS = frozenset("’‘‚“”„–—…€£§°«»‹›¿¡·•†‡‰™®©\xa0\xad½¼²³´`¨ªº")
_LANGUAGES = {
    "en": "a8.2 b1.5 c2.8 d4.3 e12.7 f2.2 g2 h6.1 i7 j.15 k.77 l4 m2.4 n6.7 o7.5 p1.9 q.1 r6 s6.3 t9.1 u2.8 v.98 w2.4 x.15 y2 z.07 é.02 "
          "è.003 ï.003 ö.005 ü.005 ñ.004 ç.003 à.003 á.002 ó.002",
    "de": "a6.5 b1.9 c2.7 d5.1 e16.4 f1.7 g3 h4.6 i6.6 j.27 k1.4 l3.4 m2.5 n9.8 o2.6 p.67 q.02 r7 s7.3 t6.2 u4.2 v.85 w1.9 x.03 y.04 z1.1 "
          "ä.58 ö.44 ü1 ß.31 é.01",
    "fr": "a7.6 b.9 c3.3 d3.7 e14.7 f1.1 g.87 h.74 i7.5 j.61 k.07 l5.5 m3 n7.1 o5.8 p2.5 q1.4 r6.7 s7.9 t7.2 u6.3 v1.8 w.05 x.43 y.13 z.33 "
          "é1.9 è.27 ê.22 à.49 ç.09 ù.06 û.06 î.05 ô.1 â.05 ï.01 ë.01 œ.02",
    "es": "a11.5 b2.2 c4 d5 e12.2 f.69 g1.8 h.7 i6.2 j.49 k.01 l5 m3.2 n6.7 o8.7 p2.5 q.88 r6.9 s8 t4.6 u2.9 v1.1 w.02 x.22 y1 z.47 á.5 "
          "é.43 í.73 ó.83 ú.17 ñ.31 ü.01",
    "pt": "a13.5 b1 c3.9 d5 e12.4 f1 g1.3 h.78 i6.2 j.4 k.02 l2.8 m4.7 n5 o10 p2.5 q1.2 r6.5 s7.8 t4.6 u3.6 v1.6 w.04 x.25 y.01 z.47 ã.73 "
          "á.3 à.07 â.15 ç.53 é.4 ê.45 í.2 ó.3 ô.06 õ.1 ú.2 ü.01",
    "it": "a11.7 b.93 c4.5 d3.7 e11.8 f1.2 g1.6 h.64 i10.1 j.01 k.01 l6.5 m2.5 n6.9 o9.8 p3.1 q.51 r6.4 s5 t5.6 u3 v2.1 w.03 x.01 y.02 "
          "z1.2 à.5 è.4 é.1 ì.13 ò.15 ù.17",
    "nl": "a7.5 b1.6 c1.2 d5.9 e18.9 f.8 g3.4 h2.4 i6.5 j1.5 k2.3 l3.6 m2.2 n10 o6 p1.6 q.01 r6.4 s3.7 t6.8 u2 v2.9 w1.5 x.04 y.04 z1.4 "
          "ë.05 é.04 ï.03 ö.01 ü.01 è.01 ó.01 á.005",
    "sv": "a9.4 b1.5 c1.5 d4.7 e10.1 f2 g2.9 h2.1 i5.8 j.61 k3.1 l5.3 m3.5 n8.5 o4.5 p1.8 q.02 r8.4 s6.6 t7.7 u1.9 v2.4 w.14 x.16 y.71 "
          "z.07 "
          "å1.3 ä1.8 ö1.3 é.03",
    "da": "a6 b2 c.56 d5.9 e15.5 f2.4 g4.1 h1.6 i6 j.73 k3.4 l5.2 m3.2 n7.2 o4.6 p1.8 q.01 r9 s5.8 t6.9 u2 v2.3 w.07 x.03 y.7 z.03 å1.2 "
          "æ.87 ø.94 é.02",
    "fi": "a12.2 b.28 c.28 d1 e8 f.19 g.39 h1.9 i10.8 j2 k5 l5.8 m3.2 n8.8 o5.6 p1.8 q.01 r2.9 s7.9 t8.8 u5 v2.3 w.09 x.03 y1.7 z.05 ä3.6 "
          "ö.44 å.01",
    "et": "a12 b1 d4 e11.5 f.2 g1.9 h1.5 i9.3 j1.6 k4.3 l6 m3.6 n5 o4 p1.6 r3 s8.7 t7.3 u5 v2.1 ä1 õ1 ü.6 ö.2 š.02 ž.01",
    "is": "a10.1 b1 d1.6 e6.4 f3 g4.2 h1.9 i7.6 j1.1 k3.3 l4.5 m4 n7.7 o2.2 p.79 r8.6 s5.6 t5 u4.6 v2.4 x.05 y.9 á1.8 ð4.4 é.65 í1.6 ó1 "
          "ö.78 ú.61 ý.23 þ1.5 æ.87",
    "pl": "a8.9 b1.5 c4 d3.3 e7.7 f.3 g1.4 h1.1 i8.2 j2.3 k3.5 l2.1 m2.8 n5.5 o7.8 p3.1 r4.7 s4.3 t4 u2.5 v.04 w4.7 x.02 y3.8 z5.6 ą1 ć.4 "
          "ę1.1 ł1.8 ń.2 ó.85 ś.66 ź.06 ż.83",
    "cs": "a6.7 b1.6 c1.6 d3.6 e7.7 f.27 g.27 h1.3 i4.4 j2.1 k3.7 l3.8 m3.2 n6.6 o8.7 p3.4 r3.7 s4.5 t5.7 u3.1 v4.7 w.01 x.08 y1.9 z2.2 "
          "á2.2 č.95 ď.02 é1.3 ě1.6 í3.3 ň.08 ó.03 ř1.2 š.8 ť.04 ú.1 ů.7 ý1.1 ž1",
    "sk": "a8.5 b1.8 c2.5 d3.2 e8 f.2 g.2 h1.7 i5.6 j2 k4 l4 m3.2 n5.5 o9.2 p3 r4.5 s4.5 t5 u2.6 v4.4 w.01 x.05 y1.4 z2.1 á1.6 ä.05 č.95 "
          "ď.15 é.8 í1.1 ĺ.01 ľ.4 ň.2 ó.1 ô.2 ŕ.01 š.9 ť.5 ú1 ý1.2 ž.9",
    "hu": "a8.9 b1.9 c.65 d2.1 e9.5 f.91 g3 h1.5 i4.2 j1.1 k4.6 l6.3 m3.6 n5.9 o4.2 p1 r4.5 s5.8 t7.5 u1.3 v1.9 w.02 x.02 y2.1 z4.3 á3.4 "
          "é3.4 í.6 ó1.1 ö1 ő1 ú.4 ü.6 ű.25",
    "hr": "a11 b1.5 c.8 d3.7 e8.8 f.2 g1.6 h.8 i9.7 j5 k3.6 l3.7 m3.2 n6.5 o9 p2.8 r5 s4.5 t4.4 u4.2 v3.5 z1.7 č1 ć.6 š1 ž.6 đ.25",
    "ro": "a9.9 b1.1 c5.3 d3.5 e11.5 f1.2 g1 h.5 i9.9 j.24 k.05 l4.5 m3.1 n6.5 o4.1 p3.2 r6.8 s4 t6 u6.2 v1.2 x.1 z.7 ă4 â.9 î1.4 ş1.4 "
          "ţ1.1",
    "tr": "a12 b2.8 c1.5 d5.2 e9.9 f.46 g1.3 h1.2 i8.6 j.03 k5.7 l5.9 m3.8 n8 o3 p.9 r7.7 s3 t3.3 u3.2 v1 y3.3 z1.5 ç1.2 ğ1.1 ı5.1 İ.1 "
          "ö.78 "
          "ş1.8 ü1.9 â.05 î.01 û.01",
    "lt": "a11.3 b1.3 c.5 d2.6 e5.8 f.3 g1.8 h.15 i13 j2.2 k4.4 l3.3 m3.6 n5.1 o6 p2.7 r5.4 s7.9 t5.9 u4.6 v2.4 y1.3 z.3 ą.75 č.45 ę.2 "
          "ė1.6 į.55 š1 ų1.4 ū.45 ž.85",
    "lv": "a11 b1.5 c1 d3 e6 f.3 g1.7 h.2 i9 j2.3 k3.9 l3.3 m3.4 n4.6 o3.6 p2.7 r5.4 s8 t6.2 u4.9 v2.5 z1.8 ā3.9 č.1 ē1.8 ģ.1 ī1.6 ķ.15 "
          "ļ.4 ņ.6 š.9 ū.5 ž.2",
    "ru": "а8 б1.6 в4.5 г1.7 д3 е8.5 ё.04 ж.94 з1.7 и7.4 й1.2 к3.5 л4.4 м3.2 н6.7 о11 п2.8 р4.7 с5.5 т6.3 у2.6 ф.26 х.97 ц.48 ч1.4 ш.73 "
          "щ.36 ъ.04 ы1.9 ь1.7 э.32 ю.64 я2",
    "uk": "а8.3 б1.5 в5.4 г1.6 ґ.01 д3.4 е4.6 є.6 ж.7 з2.3 и6.2 і6 ї.6 й1.1 к3.6 л3.6 м3.1 н6.8 о9.4 п2.9 р4.7 с4 т5.5 у3.4 ф.3 х1.1 "
          "ц.9 ч1.2 ш.7 щ.6 ь1.8 ю.9 я2.9",
    "vi": "n10 h7 t6 i6 c5.5 g5.5 a5 o4 u4 m3 l2.5 đ2.4 r2.5 e1.8 y1.5 s1.5 v1.6 b1.5 k1.2 p1.2 d1 q.5 x.5 ư2 ơ1.6 ô2.2 ê2 â1.6 ă.8 á1 à1 "
          "é.3 è.1 í.4 ó.5 ú.4 ù.2 \u03002 \u03091 \u0303.7 \u03012.5 \u03232.2",
    "bg": "а11 б1.5 в4.5 г1.6 д3.5 е8.5 ж.7 з2.2 и8.7 й.8 к3.6 л3.2 м2.4 н7.7 о9 п2.9 р5 с4.8 т7.5 у1.6 ф.25 х.75 ц.7 ч1.4 ш.6 щ.6 ъ1.7 "
          "ь.05 ю.15 я1.8",
    "el": "α9.9 ά1.7 β.7 γ1.7 δ1.7 ε6.5 έ1.7 ζ.4 η4.1 ή1.6 θ1.1 ι6.5 ί2.6 ϊ.05 κ4 λ2.8 μ3.3 ν6.2 ξ.5 ο7.8 ό2.1 π4 ρ4.1 σ4.6 ς3.5 τ7.9 "
          "υ3.5 ύ1.1 φ.9 χ1.2 ψ.2 ω1.5 ώ.8",
    "he": "א5.5 ב5 ג1.5 ד2.7 ה10 ו10.5 ז1 ח2.3 ט1.3 י11 כ2.5 ך.8 ל7.2 מ5 ם2.8 נ3.2 ן1.3 ס1.7 ע3 פ1.8 ף.3 צ1.2 ץ.2 ק2.3 ר5.6 ש4.7 ת5.2",
    "ar": "ا12.5 ب3.7 ت5 ث.7 ج1.3 ح2 خ1 د3 ذ.7 ر4.5 ز.7 س2.5 ش1.1 ص1 ض.6 ط1 ظ.2 ع3.5 غ.5 ف3 ق2.6 ك2.3 ل11.5 م6.2 ن6.5 ه4.7 و6 ي6.8 ة2.5 "
          "ى.9 أ2 إ.9 آ.2 ء.4 ؤ.1 ئ.3",
    "th": "า6.6 น6 ร5.6 ก4.4 อ4.6 เ4.5 ง3.9 ่4.5 ้3 ย3 ล3 ว3 ม3.7 ท3 ส3 ต2.5 ั3.5 ิ3 ี3 ด2.4 บ2.4 ป1.9 ค2.4 ไ1.5 แ1.8 โ.9 ห2.2 ข1.5 พ1.6 "
          "จ1.6 ช1.3 ะ1.5 ุ1.2 ู1 ื1 ำ.9 ์.9 ใ.8 ็.6 ถ.7 ผ.7 ซ.5 ธ.5 ณ.4 ศ.6 ญ.3 ภ.4 ษ.4 ฟ.2 ฝ.1 ึ.4 ๆ.1 ฐ.1",
}
_WESTERN = ("de", "fr", "es", "pt", "it", "sv", "da")
_EASTERN = ("pl", "cs", "sk", "hu", "hr", "ro", "de")
_CYRILLIC = ("ru", "uk", "bg")
ENCODINGS = {
    "cp1252": ("en", "de", "fr", "es", "pt", "it", "nl", "sv", "da", "fi", "et", "is"), "cp1250": _EASTERN, "iso8859_2": _EASTERN,
    "cp1251": _CYRILLIC, "koi8_r": ("ru",), "koi8_u": ("ru", "uk"), "cp1253": ("el",), "iso8859_7": ("el",), "cp1254": ("tr",),
    "cp1257": ("lt", "lv"), "iso8859_15": ("fr", "fi", "et"), "cp1255": ("he",), "cp1256": ("ar",), "cp437": _WESTERN, "cp850": _WESTERN,
    "cp852": _EASTERN, "mac_roman": _WESTERN, "cp866": ("ru", "bg"), "iso8859_5": _CYRILLIC, "mac_cyrillic": _CYRILLIC, "cp874": ("th",),
    "cp1258": ("vi",)}
"""Encoding -> languages written in it. What two of them decode alike goes to the first."""
OTHER_SCRIPTS = frozenset(("ru", "uk", "bg", "el", "he", "ar", "th"))
RUN = 3
"""Letters of another script that stand together in one word at least, and no Latin one beside them."""
_LATIN = re.compile("[A-Za-z]")


class Judged(NamedTuple):
    """What the letters say.

    Attributes:
        name: the likeliest encoding.
        other: the next likely one, where the first is not sure; it decodes the text otherwise.
        weak: the letters are hardly likelier than by chance.
    """

    name: str
    other: str | None = None
    weak: bool = False


def judged(sample: bytes) -> Judged | None:
    """Return the encoding in which a text's words have the likelier letters; None where no language has such letters.

    >>> judged("Pokój był czysty, a śniadanie smaczne. Dziękuję, chętnie wrócę!".encode("cp1250"))
    Judged(name='cp1250', other=None, weak=False)
    """
    words = _words(sample)
    found: dict[str, float] = {}
    said: dict[str, tuple[str, ...]] = {}
    for name, languages in ENCODINGS.items():
        texts = tuple(word.decode(name, "replace") for word in words)
        fits = [_likelihood(texts, language) for language in languages if _fits(texts, language)]
        if fits and texts not in said.values():
            found[name], said[name] = max(fits), texts
    if not found:
        return None
    best, *others = sorted(found, key=lambda name: -found[name])
    chance = sum(math.log(128 if byte > 127 else 26) for word in words for byte in word)
    return Judged(best, others[0] if others and found[best] - found[others[0]] < SURE else None, found[best] + chance < LEAST)


def _words(sample: bytes) -> list[bytes]:
    """Return the different words that have a byte above ASCII, the signs around them left out, in their order."""
    runs = re.findall(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*", sample)
    return list(dict.fromkeys(runs))[:WORDS]


def _fits(texts: tuple[str, ...], language: str) -> bool:
    """Tell whether nearly all letters above ASCII are the language's own, and there is one."""
    own = _chances(language)
    high = [sign for text in texts for sign in _small(text) if sign > "\x7f" and sign not in SIGNS]
    if language in OTHER_SCRIPTS and not any(
            sum(sign in own for sign in _small(text)) >= RUN and not _LATIN.search(text) for text in texts):
        return False
    return bool(high) and sum(sign in own for sign in high) >= FIT * len(high)


def _likelihood(texts: tuple[str, ...], language: str) -> float:
    """Return the logarithm of the words' likelihood in a language."""
    chances, total = _chances(language), 0.0
    for text in texts:
        word = text.strip("".join(SIGNS))
        total += math.log(BESIDE) * (len(text) - len(word))
        for before, sign in zip(" " + word, word, strict=False):
            small = _small(sign)
            if before.islower() and sign.isupper():
                total += math.log(WITHIN)
            elif small in chances or sign.isalpha():
                total += chances.get(small, math.log(STRANGE))
            else:
                total += math.log(CONTROL if sign == "\ufffd" or not sign.isprintable() else WITHIN)
    return total


def _small(text: str) -> str:
    """Return a text in small letters, of which each is one sign: the Turkish İ stays."""
    return text.lower().replace("i\u0307", "İ")


@cache
def _chances(language: str) -> dict[str, float]:
    """Return letter -> logarithm of its chance; they sum to 1."""
    plain = {item[0]: float(item[1:]) for item in _LANGUAGES[language].split()}
    total = sum(plain.values())
    return {letter: math.log(share / total) for letter, share in plain.items()}
