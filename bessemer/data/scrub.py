"""Personal data found in running text and replaced by what it was: `[MAIL]`, `[PHONE]`, `[ID]`, `[CARD]`, `[IP]`, `[URL]`.

Formats of China, the United States, the United Kingdom, mobile numbers written in Arabic or Persian digits, and international ones;
digits of any script count as digits. Addresses of mail may be of any script that leaves spaces between words. Rows that cannot hold any
are passed over by RE2 in one call of Arrow; the others are searched together, as one text, so that no row costs a call. Every repetition
is bounded, so that no text takes more than linear time. Numbers with check digits count only where these are right: ISO 7064 MOD 11-2
(GB 11643-1999), Luhn (ISO/IEC 7812-1), MOD 97-10 (ISO 13616).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["mail", "phone", "id", "card", "ip", "url"]
RULES = "scrub 2"
"""Which rules these are: another number wherever they find otherwise, so that what was prepared by others is prepared again."""
KINDS: tuple[Kind, ...] = ("url", "mail", "ip", "id", "card", "phone")
MARKS: dict[str, str] = {kind: f"[{kind.upper()}]" for kind in KINDS}
_BETWEEN = "\x00"
_GATES = {
    "url": r"(?i)[:：][/／]{2}|[wｗＷ]{3}[.．]", "mail": "[@＠]", "ip": r"\d\.\d{1,3}\.\d{1,3}\.\d|:[0-9A-Fa-f]{0,4}:",
    "id": r"(?i)\d{15}|\d{3}-\d{2}-\d{4}|[A-Z]{2}\d{2} ?[A-Z0-9]{4}|\d{6}[ -]\d{8}|ssn|social security",
    "card": r"(?:\d[ -]?){12}\d", "phone": r"\d(?:[ ()（）./\-]{0,3}\d){6}"}
_GATES |= {kind: rf"(?:{_GATES[kind]})|[^\P{{Nd}}0-9]" for kind in ("ip", "id", "card", "phone")}
_WIDE = {sign + 0xFEE0: sign for sign in map(ord, "0123456789@.-+_%" + "abcdefghijklmnopqrstuvwxyz" + "abcdefghijklmnopqrstuvwxyz".upper())}
_WIDE_URL = _WIDE | {sign + 0xFEE0: sign for sign in map(ord, ":/?=&#~")}
_WIDE |= {sign: ord("0") + unicodedata.decimal(chr(sign)) for sign in range(0x80, 0x1FC00) if unicodedata.category(chr(sign)) == "Nd"}
_ANY_WIDE = re.compile("[" + "".join(map(chr, _WIDE)) + "]")
_LEFT = r"(?<![0-9A-Za-z._\-])"
_RIGHT = r"(?![0-9A-Za-z_]|[.\-]\d)"
_URL = re.compile(r"(?i)(?<![A-Za-z0-9])(?:(?:https?|ftp)://|www\.)[^\s\x00<>\"'\u2018-\u201d\u3000-\u303f\u3400-\u9fff\uff00-\uffef]{1,2000}")
_HEAD = re.compile(r"(?i)(?<![A-Za-z0-9])(?:(?:https?|ftp)://|www\.)(?=[A-Za-z0-9])")
_LATIN = "A-Za-z0-9À-ɏḀ-ỿ"
_SPACED = ("\u0370-\u037d\u037f-\u0386\u0388-\u03ff\u0400-\u052f\u0531-\u0556\u0561-\u0587\u05d0-\u05ea\u0621-\u065f\u066e-\u06d3"
           "\u06d5-\u06ff\u0900-\u0963\u0966-\u096f\u0971-\u0dff\u10a0-\u10fa\u10fc-\u10ff\u200c\u200d")
"""Letters and their signs of scripts with spaces between words: Greek, Cyrillic, Armenian, Hebrew, Arabic, those of India, Georgian."""
_NATION = ("рф|бел|укр|срб|мкд|қаз|бг|ею|мон|рус|москва|дети|сайт|онлайн|орг|ком|ελ|ευ|հայ|გე|ישראל|السعودية|امارات|مصر|المغرب|الاردن|قطر"
           "|عمان|تونس|سورية|العراق|فلسطين|اليمن|البحرين|الجزائر|السودان|ليبيا|لبنان|موريتانيا|ایران|ايران|پاکستان|شبكة|موقع|भारत|संगठन|ভারত|বাংলা"
           "|இந்தியா|భారత్|ಭಾರತ|ഭാരതം|ਭਾਰਤ|ભારત|ලංකා")
_MAIL = re.compile(
    rf"(?:(?<![{_LATIN}._%+\-])[{_LATIN}._%+\-]{{1,64}}|(?<![{_LATIN}{_SPACED}._%+\-])[0-9{_SPACED}._%+\-]{{1,64}})[@＠]"
    rf"(?:(?:[{_LATIN}{_SPACED}](?:[{_LATIN}{_SPACED}\-]{{0,61}}[{_LATIN}{_SPACED}])?\.){{1,8}}"
    rf"(?:xn--[A-Za-z0-9\-]{{1,58}}[A-Za-z0-9]|[A-Za-z]{{2,24}}|(?:{_NATION})(?![{_SPACED}]))(?![A-Za-z0-9])"
    rf"|(?:[{_LATIN}\u3400-\u9fff\-]{{1,63}}\.){{1,3}}(?:中国|中國|公司|网络|網絡|香港|台灣|台湾))")
_IP = re.compile(r"(?<![0-9A-Za-z._])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![0-9A-Za-z_]|\.\d)"
                 r"|(?<![0-9A-Za-z:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:])")
_ID = re.compile(r"(?<![0-9A-Za-z])[1-9]\d{5}[ -]?(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[\dXx](?![0-9A-Za-z])"
                 r"|(?<![0-9A-Za-z\-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![0-9A-Za-z\-])"
                 r"|(?i:(?:ssn|social security(?: (?:no\.?|number))?)[:：#= ]{1,4})(?!000|666|9)\d{3} ?(?!00)\d{2} ?(?!0000)\d{4}(?!\d)"
                 r"|(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![a-z])")
_IBAN = {"AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18,
         "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
         "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TR": 26,
         "UA": 29, "BR": 29, "KZ": 20, "QA": 29, "RS": 22, "GE": 22, "AL": 28, "BA": 20, "MK": 19, "ME": 22, "MD": 24}
_CARD = re.compile(r"(?<![0-9A-Za-z.,\-])\d(?:[ -]?\d){12,18}(?![0-9A-Za-z]|[.,\-]\d)")
_ISSUER = re.compile(r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
                     r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}")
_SAID = (r"(?i:电话|電話|手机|手機|座机|传真|热线|来电|致电|拨打|联系方式|tel(?:ephone)?|phone|mobile|cell|fax|call|ring|dial|whatsapp"
         r"|тел|телефон|моб|звоните|هاتف|الهاتف|جوال|الجوال|تلفون|موبايل|واتساب|تواصل|اتصل|تلفن|تماس|טלפון|फ़ोन|फोन|मोबाइल|โทร|전화)")
_CITY = r"0(?:10|2\d|[3-9]\d{2})"
_MORE = r"(?:(?:-|转| ?(?:x|ext\.?) ?)\d{1,5})?"
_PHONE = re.compile("|".join((
    rf"{_LEFT}(?:(?:\+|00)?86[ -]?)?1[3-9]\d(?:[ -]?\d{{4}}){{2}}{_RIGHT}",  # China, mobile
    rf"{_LEFT}(?:\+86[ -]?|0086[ -]?)(?:10|2\d|[3-9]\d{{2}})[ -]?\d{{7,8}}{_RIGHT}",
    rf"{_LEFT}(?:[(（]{_CITY}[)）] ?|{_CITY}[ -])\d{{3,4}}[ -]?\d{{4}}{_MORE}{_RIGHT}",
    rf"{_LEFT}[48]00-\d{{3}}-?\d{{4}}{_RIGHT}",
    r"(?<![0-9A-Za-z_+])\+[1-9](?:[ .()/\-]{0,3}\d){7,14}(?![0-9A-Za-z_])",  # international
    rf"{_LEFT}00[1-9]\d{{1,2}}[ -](?:[ .()\-]{{0,2}}\d){{6,12}}{_RIGHT}",
    rf"{_LEFT}(?:\+?1[ .\-])?(?:\([2-9]\d{{2}}\) ?|[2-9]\d{{2}}([.\-]))[2-9]\d{{2}}[.\-]\d{{4}}{_MORE}{_RIGHT}",  # US
    rf"{_LEFT}0[1-9]\d(?:\d{{2}}[ -]\d{{6}}|\d[ -]\d{{3}}[ -]\d{{4}}|[ -]\d{{4}}[ -]\d{{4}}|\d{{2}}[ -]\d{{3}}[ -]\d{{3}})"
    + _RIGHT,  # United Kingdom
    rf"{_LEFT}\(0[1-9]\d{{1,3}}\) ?\d{{3,4}}[ -]?\d{{3,4}}{_RIGHT}",
    rf"{_LEFT}07\d{{9}}{_RIGHT}",
    rf"{_LEFT}0[1-9](?:([ .])\d{{2}})(?:\2\d{{2}}){{3}}{_RIGHT}",  # France
    rf"{_SAID}[^\S\x00]{{0,2}}(?i:no\.?|number|is|号码|是|为|at|me at|us at|us on|me on)?[:：. ]{{0,3}}"
    rf"(?P<told>[(+]?\d(?:[ .()\-]{{0,2}}\d){{6,13}}){_RIGHT}")))
_MOBILE = re.compile(r"(?<![\w.\-])(?:[٠۰][٥۵](?:[ -]?[٠-٩۰-۹]){8}|٠١[٠١٢٥](?:[ -]?[٠-٩]){8}|۰۹(?:[ -]?[۰-۹]){9})(?![\d_]|[.\-]\d)")
"""Mobile numbers of Arabia, Egypt and Iran, in their own digits alone: in others, as many are numbers of something else."""
_COUNTED = re.compile(r"(?i)(?:订单|单号|编号|货号|流水号|заказа?|счёта?|счета?|طلب|الطلب|فاتورة|الفاتورة"
                      r"|order|invoice|serial|ticket|tracking|item|ref(?:erence)?|sku|isbn|part)"
                      r"[ .]{0,2}(?:编?号码?|no\.?|number|id|#|№|номер|رقم)?[ :：#是为]{0,3}$")


def scrub(values: pa.Array, kinds: Sequence[str]) -> pa.Array:
    """Return texts in which personal data of these kinds is replaced by marks; doing it twice changes nothing.

    Args:
        values: string [N]; null stays null.
        kinds: of `KINDS`, in any order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for kind in (kind for kind in KINDS if kind in kinds):
        here = pc.fill_null(pc.match_substring_regex(values, _GATES[kind]), False)
        if pc.any(here).as_py():
            rows = pc.replace_substring(values.filter(here), _BETWEEN, "")
            found = _REPLACE[kind](_BETWEEN.join(rows.to_pylist())).split(_BETWEEN)
            values = pc.replace_with_mask(values, here, pa.array(found, pa.string()))
    return values


def counts(before: pa.Array, after: pa.Array, kinds: Sequence[str]) -> dict[str, int]:
    """Return how many of each kind were replaced between two states of the same texts."""
    import pyarrow.compute as pc

    def marks(values: pa.Array, kind: str) -> int:
        return int(pc.sum(pc.count_substring(values, MARKS[kind])).as_py() or 0)

    return {kind: max(0, marks(after, kind) - marks(before, kind)) for kind in kinds}


def _replaced(pattern: re.Pattern[str], one: Callable[[re.Match[str]], str], text: str, mark: str) -> str:
    """Return a text in which what a pattern finds is what `one` makes of it, as `pattern.sub` does; full-width letters, digits and the
    signs of addresses count as plain ones, and what stays of them stays full-width.
    """
    if not _ANY_WIDE.search(text):
        return pattern.sub(one, text)
    parts, done = [], 0
    for match in pattern.finditer(text.translate(_WIDE)):  # sign for sign, so that places are those of the text
        made = one(match)
        if made != match.group():
            before = made.index(mark)
            after = len(made) - before - len(mark)
            parts += [text[done:match.start() + before], mark]
            done = match.end() - after
    return "".join([*parts, text[done:]])


def _mail(text: str) -> str:
    return _replaced(_MAIL, lambda match: MARKS["mail"], text, MARKS["mail"])


def _url(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        whole = match.group()
        return MARKS["url"] + whole[len(whole.rstrip(".,;:!?)]}")):]

    return _URL.sub(one, _wide_urls(text))


def _wide_urls(text: str) -> str:
    """Return a text without addresses that begin with a full-width sign, or whose first sign after `://` or `www.` is one.

    Of other addresses a full-width sign is the end: it belongs to the text around.
    """
    if not _ANY_WIDE.search(text) and "／" not in text and "：/" not in text:
        return text
    plain, parts, done = text.translate(_WIDE_URL), list[str](), 0  # sign for sign, so that places are those of the text
    for head in _HEAD.finditer(plain):
        start = head.start()
        found = _URL.match(plain, start)
        if start < done or found is None or plain[start:head.end() + 1] == text[start:head.end() + 1]:
            continue
        parts += [text[done:start], MARKS["url"]]
        done = start + len(found.group().rstrip(".,;:!?)]}"))
    return "".join([*parts, text[done:]])


def _ip(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        whole = match.group()
        if ":" in whole:
            parts = [part for part in whole.split(":") if part]
            try:
                ipaddress.IPv6Address(whole)
            except ValueError:
                return whole
            if len(parts) < 3 and not whole.startswith("::"):
                return whole  # a::b is more often a name in a program
            return MARKS["ip"] if parts else whole
        return MARKS["ip"]

    return _replaced(_IP, one, text, MARKS["ip"])


def _id(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        whole = match.group()
        if whole[:2].isalpha() and whole[:2].isupper() and whole[2:4].isdigit():
            return _iban(whole)
        bare = whole.replace(" ", "").replace("-", "")
        if len(bare) == 18 and bare[:17].isdigit():
            return MARKS["id"] if _resident(bare) else whole
        start = re.search(r"\d", whole)
        return whole[:start.start() if start else 0] + MARKS["id"]

    return _replaced(_ID, one, text, MARKS["id"])


def _resident(number: str) -> bool:
    """Tell whether the last sign of a Chinese identity number is its check digit."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))
    return "10X98765432"[total % 11] == number[17].upper()


def _iban(whole: str) -> str:
    size = _IBAN.get(whole[:2], 0)
    ends = [place + 1 for place, sign in enumerate(whole) if sign != " "]
    if not size or len(ends) < size:
        return whole
    cut = ends[size - 1]
    bare = whole[:cut].replace(" ", "")
    digits = "".join(str(int(sign, 36)) for sign in bare[4:] + bare[:4])
    return MARKS["id"] + whole[cut:] if int(digits) % 97 == 1 and not whole[cut:cut + 1].isalnum() else whole


def _card(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        bare = match.group().replace(" ", "").replace("-", "")
        return MARKS["card"] if _ISSUER.fullmatch(bare) and _luhn(bare) else match.group()

    return _replaced(_CARD, one, text, MARKS["card"])


def _luhn(number: str) -> bool:
    doubled = [2 * int(digit) for digit in number[-2::-2]]
    return (sum(map(int, number[-1::-2])) + sum(value - 9 * (value > 9) for value in doubled)) % 10 == 0


def _counts_things(text: str, start: int) -> bool:
    """Tell whether what stands before a number says that it is one of an order or the like."""
    return _COUNTED.search(text[max(0, start - 24):start].rpartition(_BETWEEN)[2]) is not None


def _phone(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        whole, told = match.group(), match.group("told")
        if told is not None:
            return whole[:len(whole) - len(told)] + MARKS["phone"]
        return whole if _counts_things(text, match.start()) else MARKS["phone"]

    def mobile(match: re.Match[str]) -> str:
        return match.group() if _counts_things(text, match.start()) else MARKS["phone"]

    text = _MOBILE.sub(mobile, text)
    return _replaced(_PHONE, one, text, MARKS["phone"])


_REPLACE: dict[str, Callable[[str], str]] = {"url": _url, "mail": _mail, "ip": _ip, "id": _id, "card": _card, "phone": _phone}
