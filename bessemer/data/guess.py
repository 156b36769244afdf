"""Which encoding a text's bytes are in, told by its first bytes: only where that is plain, and never silently.

Legend of the rules: bytes that are UTF-8 are UTF-8. Multi-byte text of East Asia is known by its most frequent signs, which other
text decoded by mistake does not have. Text of one byte a letter is known by the letters that it has in each encoding (`letters.py`);
Western one, where no language is known by them, by accented letters that stand alone between plain ones.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence
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
_LEAST, _GROUPS = 20, 4
_WIDE, MANY = ("utf-16-le", "utf-16-be"), ("gb18030", "big5", "cp932", "euc_jp", "euc_kr")
_FRAMES = rb"[\x80-\xa2\xa5\xa8-\xac\xae-\xb2\xb5\xb8-\xbc\xbe\xbf]"
_UKRAINIAN = re.compile(rb"(?<!%b)[\xa4\xa6\xa7\xad\xb4\xb6\xb7\xbd](?!%b)" % (_FRAMES, _FRAMES))


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
    found = {name: score for name in MANY if (score := _score(head, name)) > 0}
    return Found(max(found, key=found.__getitem__)) if found else _of_letters(head)


READ = ("cp1252", "cp1250", "iso8859_2", "cp1251", "koi8_r", "koi8_u", "cp1253", "iso8859_7", "cp1254", "cp1257", "iso8859_15")
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
    if found.name == "koi8_u" and not _UKRAINIAN.search(head):  # frames of a table, and no letters
        return Found("koi8_r", found.other if found.other != "koi8_r" else None)
    return Found(found.name, None if (found.name, found.other) == ("cp1252", "iso8859_15") else found.other)


def found_among(parts: Sequence[bytes]) -> Found:
    """Return the encoding of texts that are in one, as `found_in` of all of them; each may end in a sign that is not whole.

    Of more than one byte a letter: where four of five are text in it, and those together show it.
    """
    for name in (*_WIDE, *MANY) if parts else ():
        texts = [text for part in parts if (text := _begun(part, name)) is not None]
        if 5 * len(texts) >= 4 * len(parts) and (
                found := found_in(("" if name in _WIDE else "\n").join(texts).encode(name))).name == name:
            return found
    whole = [part for part in parts if not binary(part)]
    found = found_in(b"\n".join(whole))
    if found.name is None:  # a few files may be damaged, or in another encoding
        most = [part for part in whole if _begun(part, "cp1252") is not None]
        found = found_in(b"\n".join(most)) if len(whole) > len(most) >= len(whole) / 2 else found
    if found.name is None and len(whole) >= 2 * _GROUPS:
        groups = [found_in(b"\n".join(whole[start::_GROUPS])) for start in range(_GROUPS)]
        (best, votes), *_ = Counter(group.name for group in groups).most_common()
        others = [group.other for group in groups if group.name == best]
        if 4 * votes >= 3 * _GROUPS:
            found = Found(best, None if None in others else others[0])
    return found if found.name in READ or found.name == "iso2022_jp" else Found(None)


def binary(data: bytes) -> bool:
    """Tell whether bytes have more zeros than text of one byte a letter may have by mistake."""
    return data.count(0) > max(3, len(data) // 100)


def damaged(data: bytes, *, plainly: bool = False) -> bool:
    """Tell whether bytes are UTF-8, perhaps with a few that are damaged; `plainly`: one of five signs at most."""
    return _utf8(data, 4 if plainly else 1)


def _begun(part: bytes, name: str) -> str | None:
    """Return the text of bytes whose last sign may not be whole; None where they are no text in an encoding."""
    try:
        return codecs.getincrementaldecoder(name)().decode(part)
    except UnicodeDecodeError:
        return None


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
    if max(even, odd) >= 4 * min(even, odd) and (even or odd):
        name = "utf-16-le" if odd > even else "utf-16-be"
        if _plain(head, name):
            return name
    # signs such as U+4E00 have a zero byte on the other side, and a text of ideographs alone has none
    both = ("utf-16-le", "utf-16-be") if even or odd or not head.isascii() else ()
    return next((name for name in both if _plain(head, name, frequent=True)), None)


def _plain(head: bytes, name: str, *, frequent: bool = False) -> bool:
    """Tell whether bytes are text in an encoding of two bytes a sign; `frequent`: a third of its signs are East Asia's most frequent."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return False
    plain = sum(sign.isprintable() or sign in "\t\r\n\u2028\ufeff\u3000" for sign in text)
    low = sum(" " <= sign < "\x7f" or sign in "\t\r\n" for sign in text)
    if frequent:
        known = sum(sign in _COMMON or sign in _TRADITIONAL or sign in _KOREAN or "\u3041" <= sign <= "\u30fc" for sign in text)
        wide = sum("\u3041" <= sign <= "\u30fc" or "\u4e00" <= sign <= "\ud7a3" for sign in text)
        return plain >= 0.99 * len(text) and known >= _LEAST / 2 and 3 * known >= wide and 3 * (known + low + _marks(text)) >= len(text)
    return plain >= 0.99 * len(text) and low >= 0.02 * len(text)


def _marks(text: str) -> int:
    """Return how many signs are East Asia's marks between words."""
    return sum(sign in "，。、！？：；（）「」『』…—・" for sign in text)


def _utf8(head: bytes, times: int = 1) -> bool:
    """Tell whether bytes are UTF-8, perhaps with a few that are damaged."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        text = head.decode("utf-8", "surrogateescape")
        whole = sum("\x7f" < sign < "\ud800" or sign > "\udfff" for sign in text)
        broken = sum("\ud800" <= sign <= "\udfff" for sign in text)
        return whole > times * broken
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
    where that is open; among them it goes by the part of the decoded signs that are frequent in the script. That in which the letters are
    likelier by far stands before them.
    """
    sample = sample[:_SAMPLE]
    runs = re.findall(rb"[\x80-\xff]+", sample)
    alone = sum(len(run) == 1 for run in runs) / max(1, len(runs))
    names = (*(_ALONE if alone > 0.1 else ()), *(_RUNS if alone < 0.7 else ()))
    found = {name: _usual(sample, name) for name in names} if runs else {}
    best = sorted(found, key=lambda name: -found[name])  # stable: what is equal stays in order of the table
    if len(_FOUR.findall(sample)) * 5 > len(runs) and "\ufffd" not in sample[:-3].decode("gb18030", "replace"):
        best.insert(0, "gb18030")  # digits between bytes above 127, as it writes what is not Chinese
    elif (letters := judged(sample)) is not None and not letters.weak:
        best.insert(0, letters.name)
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
