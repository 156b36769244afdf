"""Which encoding a text's bytes are in, told by its first bytes: only where that is plain, and never silently.

Legend of the rules: bytes that are UTF-8 are UTF-8. Multi-byte text of East Asia is known by its most frequent signs, which other
text decoded by mistake does not have. Text of one byte a letter is known by the letters that it has in each encoding (`letters.py`);
Western one, where no language is known by them, by accented letters that stand alone between plain ones.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from bessemer.data.letters import judged

_COMMON = frozenset(
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后"
    "小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长"
    "知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最"
    "间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市"
    "眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计"
    "或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让"
    "认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权男房不错酒店服务")
_TRADITIONAL = frozenset(
    "的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可她裡後小麼心多天而能好都"
    "然沒日於起還發成事只作當想看文無開手十用主行方又如前所本見經頭面公同三已老從動兩長知民樣現分將外但身些與高意進把法此實"
    "回二理美點月明其種聲全工己話兒者向情部正名定女問力機給等幾很業最間新什打便位因重被走電四第門相次東政海口使教西再平真聽")
_KOREAN = frozenset(
    "이다는에을가의를하고지은도로기사한어나자대리아서그시라해수있게인일만정제들보성부니주전스상원여내거장요간과면공안세없것")
_WESTERN = frozenset("àáâãäåæçèéêëìíîïñòóôõöøœùúûüßÀÁÂÄÅÆÇÈÉÊËÍÎÑÓÔÖØŒÙÚÛÜ’‘“”–—…€£§°«»¿¡ªº·®©™•\xa0½¼²³´")
_LETTERS = frozenset("àáâãäåæçèéêëìíîïñòóôõöøœùúûüßÀÁÂÄÅÆÇÈÉÊËÍÎÑÓÔÖØŒÙÚÛÜ")
_LEAST = 20


class Found(NamedTuple):
    """What a text's first bytes show.

    Attributes:
        name: the encoding, None where it is UTF-8 or is not shown.
        other: another that is nearly as likely and in which the text is another, or None.
    """

    name: str | None
    other: str | None = None


def encoding_of(head: bytes) -> str | None:
    """Return the encoding of a text by its first bytes where they show it and it is not UTF-8, else None."""
    return found_in(head).name


def found_in(head: bytes) -> Found:
    """Return the encoding of a text by its first bytes where they show it and it is not UTF-8, and the one that it may also be.

    UTF-16 by its mark, or by zero bytes that stand at odd or at even places, four of five at least. ISO-2022-JP by its escape codes.
    GB18030 (which holds GBK), Big5, Shift-JIS, EUC-JP
    and EUC-KR where the sample is text in it to its last sign and has the language's most frequent signs: at least 20, a third of the
    ideographs. Of one byte a letter: that in which the letters are likelier; else cp1252 (which holds what Latin-1 has of letters) where
    accented letters stand between plain ones.
    """
    if head[:4] in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"):
        return Found("utf-32")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Found("utf-16")
    if head.isascii() and (b"\x1b$B" in head or b"\x1b$@" in head) and b"\x1b(" in head and _japanese(head):
        return Found("iso2022_jp")
    wide = _wide(head)
    if wide or head.isascii() or b"\x00" in head or _utf8(head):
        return Found(wide)
    found = {name: score for name in ("gb18030", "big5", "cp932", "euc_jp", "euc_kr") if (score := _score(head, name)) > 0}
    return Found(max(found, key=found.__getitem__)) if found else _of_letters(head)


READ = ("cp1252", "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp1253", "iso8859_7", "cp1254", "cp1257")
"""Encodings of one byte a letter that are read without being named."""


def _of_letters(head: bytes) -> Found:
    """Return which encoding of one byte a letter it is, by the letters."""
    found, western = judged(head), _western(head)
    if found is None:
        return Found("cp1252" if western else None)
    if found.weak:
        other = found.other if found.name == "cp1252" else found.name
        return Found("cp1252", other) if western else Found(None)
    if found.name not in READ or (found.name == "cp1252" and not western):
        return Found(None)
    return Found(found.name, found.other)


def _japanese(head: bytes) -> bool:
    """Tell whether escape codes change between ASCII and Japanese."""
    try:
        text = codecs.getincrementaldecoder("iso2022_jp")().decode(head)
    except UnicodeDecodeError:
        return False
    return not text.isascii()


def _wide(head: bytes) -> str | None:
    """Return UTF-16's name without a mark."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < 4 * min(even, odd) or not (even or odd):  # signs such as U+4E00 have a zero byte on the other side
        return None
    name = "utf-16-le" if odd > even else "utf-16-be"
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return None
    plain = sum(sign.isprintable() or sign in "\t\r\n\u2028\ufeff\u3000" for sign in text)
    low = sum(" " <= sign < "\x7f" or sign in "\t\r\n" for sign in text)
    return name if plain >= 0.99 * len(text) and low >= 0.02 * len(text) else None


def _utf8(head: bytes) -> bool:
    """Tell whether bytes are UTF-8, perhaps with a few that are damaged."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        text = head.decode("utf-8", "surrogateescape")
        whole = sum("\x7f" < sign < "\ud800" or sign > "\udfff" for sign in text)
        broken = sum("\ud800" <= sign <= "\udfff" for sign in text)
        return whole > broken
    return True


def _score(head: bytes, name: str) -> float:
    """Return how sure it is that bytes are text in a multi-byte encoding: 0 where they are not."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return 0.0
    other = [sign for sign in text if sign > "\x7f"]
    if not other:
        return 0.0
    if name in ("gb18030", "big5"):
        common = _COMMON if name == "gb18030" else _TRADITIONAL
        ideographs = [sign for sign in other if "\u4e00" <= sign <= "\u9fff"]
        share = sum(sign in common for sign in ideographs) / max(1, len(ideographs))
        return share if len(ideographs) >= max(_LEAST, 0.6 * len(other)) and share * 3 >= 1 else 0.0
    if name == "euc_kr":
        hangul = [sign for sign in other if "\uac00" <= sign <= "\ud7a3"]
        share = sum(sign in _KOREAN for sign in hangul) / max(1, len(hangul))
        return share if len(hangul) >= max(_LEAST, 0.6 * len(other)) and share * 3 >= 1 else 0.0
    kana = sum("\u3041" <= sign <= "\u30fc" for sign in other)
    halves = sum("\uff61" <= sign <= "\uff9f" for sign in other)
    share = kana / len(other)
    return 0.5 + share if kana >= _LEAST and share * 4 >= 1 and halves * 10 <= len(other) else 0.0


def _western(head: bytes) -> bool:
    """Tell whether bytes are Western text of one byte a letter: what stands above ASCII is usual there, and mostly between its letters."""
    try:
        text = head.decode("cp1252")
    except UnicodeDecodeError:
        return False
    high = re.findall(r"[^\x00-\x7f]", text)
    usual = sum(sign in _WESTERN for sign in high)
    runs = re.findall(r"[^\x00-\x7f]+", text)
    words = re.findall(r"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]", text)
    beside = sum(any(sign in _LETTERS for sign in word) for word in words)
    strange = len(re.findall(r"(?<=[a-z])[\xb2\xb3\xbf\xa1\xaa\xba\xa9\xae\xbc\xbd](?=[a-z])", text))  # letters of other alphabets, misread
    caps = len(re.findall(r"(?<=[a-z])[À-ÖØ-Þ](?=[a-z])", text))
    return (usual >= 0.98 * len(high) and beside > 0 and not strange and caps * 20 <= len(high)
            and sum(len(run) <= 2 for run in runs) >= 0.9 * len(runs))


_SAMPLE = 65536
_USUAL = {
    "cp1252": "äöüßéèêàâçñóíúáãõøåæôûîëÄÖÜÉ’“”–€§°«»", "cp1250": "ěščřžýáíéůúťďňąęłńóśźżćčđőűöüäßăâîşţŠČŘŽÚŁŚŻ",
    "cp1254": "ışğçöüİŞĞÇÖÜâîû", "cp437": "äöüßéèêàâçñóíúáåæôûîëÄÖÜÉ", "cp850": "äöüßéèêàâçñóíúáãõøåæôûîëÄÖÜÉ",
    "cp852": "ěščřžýáíéůúťďňąęłńóśźżćčđőűöüäß",
    "mac_roman": "äöüßéèêàâçñóíúáãõøåæôûîëÄÖÜÉ’“”–",
    "cp1251": "оеаинтсрвлкмдпу", "koi8_r": "оеаинтсрвлкмдпу", "cp866": "оеаинтсрвлкмдпу", "cp1253": "αοιετνσρκπυλςμάήίόέύη",
    "cp1255": "יוהלאמרתבשנםדקעכפ", "cp1256": "اليمنورتبةعدسفهكقحأجش", "gb18030": _COMMON, "big5": _TRADITIONAL, "cp932": "", "euc_jp": "",
    "euc_kr": _KOREAN, "cp874": ""}
_ALONE = ("cp1252", "cp1250", "cp437", "mac_roman", "cp850", "cp852", "cp1254")
_RUNS = ("gb18030", "big5", "cp932", "euc_jp", "euc_kr", "cp1251", "koi8_r", "cp866", "cp1256", "cp874", "cp1253", "cp1255")
_FOUR = re.compile(rb"[\x81-\xfe][0-9][\x81-\xfe][0-9]")
_KANA = re.compile("[\u3041-\u30fc]")
_THAI = re.compile("[\u0e01-\u0e5b]")
_THAI_WRONG = re.compile("(?<![\u0e01-\u0e2e\u0e31-\u0e3a\u0e47-\u0e4e])[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]"
                         "|[\u0e40-\u0e44](?![\u0e01-\u0e2e])")  # a mark above no consonant, a vowel before none


def proposals(sample: bytes) -> list[str]:
    """Return encodings to propose for bytes that are no UTF-8 and show no other, the likeliest first.

    They are those of Latin letters where bytes above 127 mostly stand alone, those of other scripts where these stand in runs, and both
    where that is open; among them it goes by the part of the decoded signs that are frequent in the script.
    """
    sample = sample[:_SAMPLE]
    runs = re.findall(rb"[\x80-\xff]+", sample)
    alone = sum(len(run) == 1 for run in runs) / max(1, len(runs))
    names = (*(_ALONE if alone > 0.1 else ()), *(_RUNS if alone < 0.7 else ()))
    found = {name: _usual(sample, name) for name in names} if runs else {}
    best = sorted(found, key=lambda name: -found[name])  # stable: what is equal stays in order of the table
    if len(_FOUR.findall(sample)) * 5 > len(runs) and "\ufffd" not in sample[:-3].decode("gb18030", "replace"):
        best.insert(0, "gb18030")  # digits between bytes above 127, as it writes what is not Chinese
    return list(dict.fromkeys(best or _ALONE))[:4]


def likely(sample: bytes) -> str:
    """Return the likeliest of the encodings to propose.

    >>> likely("สวัสดีครับ ร้านนี้อร่อยมาก".encode("cp874")), likely("Příliš žluťoučký kůň".encode("cp1250"))
    ('cp874', 'cp1250')
    """
    return proposals(sample)[0]


def _usual(sample: bytes, name: str) -> float:
    """Return which part of the signs above ASCII are usual ones of the encoding's script."""
    text = sample.decode(name, "replace")
    high = "".join(re.findall(r"[^\x00-\x7f]+", text))
    if not high:
        return 0.0
    if name == "cp874":
        return max(0.0, len(_THAI.findall(high)) - 3 * len(_THAI_WRONG.findall(text))) / len(high)
    if name in ("cp932", "euc_jp"):
        kana = len(_KANA.findall(high))
        return min(1.0, 2 * kana / len(high)) - high.count("\ufffd") / len(high)
    frequent = frozenset(_USUAL[name])
    return (sum(sign in frequent for sign in high) - high.count("\ufffd")) / len(high)
