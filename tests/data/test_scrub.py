"""Personal data: what is found in both languages, what must not be taken for it, and that no text takes long."""

from __future__ import annotations

import random
import time

import pyarrow as pa
import pytest

from bessemer.data.scrub import KINDS, counts, scrub

YES = {
    "mail": {"zhang.san@example.com": "[MAIL]", "Write to a_b+c@sub.example.co.uk.": "Write to [MAIL].",
             "邮箱li4@163.com，谢谢": "邮箱[MAIL]，谢谢",
             "почта@пример.рф или иван@example.com.": "[MAIL] или [MAIL].", "мэйлivan@почта.москва, тел": "мэйл[MAIL], тел",
             "اكتب إلى علي@مثال.السعودية أو user۱@example.com": "اكتب إلى [MAIL] أو [MAIL]", "राम@उदाहरण.भारत।": "[MAIL]।",
             "γιώργος@παράδειγμα.ελ;": "[MAIL];", "写li4@例子.中国吧": "写[MAIL]吧", "a@b.xn--p1ai!": "[MAIL]!", "trần@vídụ.vn": "[MAIL]",
             "josé@example.fr": "[MAIL]", "x＠qq.com": "[MAIL]", "foo＠example．com": "[MAIL]",
             "邮箱ｆｏｏ＠ｅｘａｍｐｌｅ．ｃｏｍ，Ｑ群": "邮箱[MAIL]，Ｑ群"},
    "phone": {"تواصل ٠٥٠١٢٣٤٥٦٧ أو": "تواصل [PHONE] أو", "رقمي ٠٥٠ ١٢٣ ٤٥٦٧": "رقمي [PHONE]", "۰۹۱۲۳۴۵۶۷۸۹": "[PHONE]",
              "+٩٦٦ ٥٠ ١٢٣ ٤٥٦٧": "[PHONE]", "тел: 8 495 123 45 67": "тел: [PHONE]", "फोन ९८७६५ ४३२१०": "फोन [PHONE]",
              "โทร 081 234 5678": "โทร [PHONE]",
              "打13800138000找我": "打[PHONE]找我", "手机 138 0013 8000": "手机 [PHONE]", "+86 138-0013-8000": "[PHONE]",
              "8613800138000": "[PHONE]",
              "010-62345678": "[PHONE]", "(021) 6234 5678": "[PHONE]",
              "手机：１３８１２３４５６７８，Ａ座": "手机：[PHONE]，Ａ座", "０１０－６２３４５６７８": "[PHONE]",
              "电话６２３４５６７８": "电话[PHONE]",
              "（0571）87654321转123": "[PHONE]",
              "0755-8765 4321": "[PHONE]",
              "400-820-8820": "[PHONE]", "电话：62345678": "电话：[PHONE]", "13800138000,13900139000": "[PHONE],[PHONE]",
              "+1 (212) 555-0123": "[PHONE]", "212-555-0123": "[PHONE]", "(212) 555-0123": "[PHONE]", "212.555.0123 x44": "[PHONE]",
              "Call 212 555 0123 now": "Call [PHONE] now", "tel: 555 0123": "tel: [PHONE]",
              "phone number: 5550123": "phone number: [PHONE]",
              "+44 20 7946 0958": "[PHONE]", "020 7946 0958": "[PHONE]", "07700 900123": "[PHONE]", "07700900123": "[PHONE]",
              "0161 496 0000": "[PHONE]", "+49 30 1234567": "[PHONE]", "0049 30 1234567": "[PHONE]", "01 23 45 67 89": "[PHONE]"},
    "id": {"身份证１１０１０５１９４９１２３１００２Ｘ。": "身份证[ID]。",
           "身份证11010519491231002X": "身份证[ID]", "440524188001010014。": "[ID]。", "110105 19491231 002x": "[ID]",
    "SSN 123-45-6789": "SSN [ID]",
           "ssn: 123456789": "ssn: [ID]", "DE89 3704 0044 0532 0130 00 AND MORE": "[ID] AND MORE", "GB82WEST12345698765432": "[ID]",
           "FR14 2004 1010 0505 0001 3M02 606": "[ID]"},
    "card": {"4111 1111 1111 1111": "[CARD]", "5500-0000-0000-0004": "[CARD]", "378282246310005.": "[CARD].",
    "卡号6222021234567890128": "卡号[CARD]",
             "卡号６２２２０２１２３４５６７８９０１２８": "卡号[CARD]"},
    "ip": {"192.168.1.1": "[IP]", "来自10.0.0.255的": "来自[IP]的", "2001:db8::ff00:42:8329": "[IP]", "::1": "[IP]",
           "１０．０．０．２５５": "[IP]"},
    "url": {"see https://a.b/c?d=e&f.": "see [URL].", "网址http://x.cn/路": "网址[URL]路", "(www.example.com/a)": "([URL])"}}
NO = [
    "In 1984 and 2024-01-31", "31.12.2024 23:59:59", "12/31/2024", "价格1,299.00元", "$1,234,567.89", "1999.99", "2020年1月1日", "19491001",
    "订单号13812345678", "订单编号：202401311234567890", "order no. 212-555-0123",
    "order 20240131123456", "ISBN 978-0-306-40615-7", "v1.2.3.4",
    "version 10.2.3", "page 212", "3.14159265358979", "10:20:30", "2024-2025", "1234567890123456", "4111111111111112", "110105194912310021",
    "123456789", "000-12-3456", "score 21-19 21-17", "std::vector a::b", "@user hello", "a @ b.com", "GB82 WEST 1234 5698 7654 33",
    "1.2.3.4.5",
    "0.13812345678", "12,345,678 people", "2000 1500 3000", "1e10 10000000", "300 400 5000", "call 1984", "13812345678901", "room 13800",
    "1-2-3-4-5-6-7-8", "A1380013800B",
    "订单号１３８１２３４５６７８", "１９８４年，ＡＢＣ公司１２３４号", "１１０１０５１９４９１２３１００２１", "３．１４１５９",
    "привет@всем", "спасибо@вам.Это всё", "см. файл@версия.2", "السعر ١٢٣٤٥٦٧٨٩٠ ريال", "طلب رقم ٠٥٠١٢٣٤٥٦٧", "سنة ١٩٨٤", "۱۴۰۲/۰۱/۱۵",
    "заказ № 13812345678", "телевизор 1234567", "мобильный 2024 год", "१२३४५६७८९", "用户@例子"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found(kind):
    found = YES[kind]
    assert dict(zip(found, scrub(pa.array(list(found)), [kind]).to_pylist(), strict=True)) == found
    assert scrub(pa.array(list(found.values())), KINDS).to_pylist() == list(found.values())


def test_what_is_none():
    assert scrub(pa.array([*NO, None, ""]), KINDS).to_pylist() == [*NO, None, ""]


def test_check_digits_decide():
    generator = random.Random(0)
    base = ["".join(generator.choice("0123456789") for _ in range(3)) for _ in range(50)]
    numbers = [f"11010519491231{part}"[:17] for part in base]
    weights = [2 ** (17 - place) % 11 for place in range(17)]  # ISO 7064 MOD 11-2, by its definition
    right = {number: next(sign for sign in "0123456789X" if (sum(int(d) * w for d, w in zip(number, weights, strict=True))
                                                              + (10 if sign == "X" else int(sign))) % 11 == 1) for number in numbers}
    every = [number + sign for number in numbers for sign in "0123456789X"]
    found = scrub(pa.array(every), ["id"]).to_pylist()
    assert [text for text, said in zip(every, found, strict=True) if said == "[ID]"] == [number + right[number] for number in numbers]


def test_kinds_are_counted_and_only_the_asked_ones_go():
    before = pa.array(["a@b.com 212-555-0123 x@y.org", None, "[MAIL] c@d.net"])
    after = scrub(before, ["mail"])
    assert after.to_pylist() == ["[MAIL] 212-555-0123 [MAIL]", None, "[MAIL] [MAIL]"]
    assert counts(before, after, ["mail", "phone"]) == {"mail": 3, "phone": 0}


def test_no_text_takes_long():
    evil = ["x" * 20_000 + "@", "1 " * 10_000, "a@" + "a." * 10_000, ":" * 20_000, "1-" * 10_000, "A1" * 10_000, "+1" * 10_000,
            "http://" * 3_000, "tel " * 5_000, "AB12 " * 4_000, "(" * 20_000,
            "и" * 20_000 + "@", "и@" + "и." * 10_000, "٠٥" * 10_000, "0" * 20_000, "1.1." * 5_000]
    seconds = []
    for times in (1, 4):
        start = time.process_time()
        scrub(pa.array([text * times for text in evil]), KINDS)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 12 * seconds[0] + 1  # linear, not square: no limit of speed


@pytest.mark.parametrize(("text", "expected"), [
    ("看ｈｔｔｐ：／／ｗｗｗ．ａ．ｃｎ／ｂ？ｃ＝１，好", "看[URL]，好"), ("见 ｗｗｗ．ａｂｃ．ｃｎ。", "见 [URL]。"),
    ("Ｘ http：／／a.cn/b Ｙ", "Ｘ [URL] Ｙ"), ("HTTPS：//a.cn", "[URL]"), ("http://ｅｘ．ｃｎ 完", "[URL] 完"),
    ("ＨＴＴＰＳ：／／ａ．ｃｎ？真的", "[URL]？真的"), ("甲http://a.cn：ｈｔｔｐ：／／ｂ．ｃｎ乙", "甲[URL]：[URL]乙"),
    ("http://a.cn：你好", "[URL]：你好"), ("比分３：／／２ 和 ａ／ｂ：Ａ", "比分３：／／２ 和 ａ／ｂ：Ａ"), ("ｗｗｗ．", "ｗｗｗ．"),
    ("写ａ％ｂ＠ｅｘ．ｃｎ！Ｑ", "写[MAIL]！Ｑ"), ("ａｗｗｗ．ｂ．ｃｎ", "ａｗｗｗ．ｂ．ｃｎ")])
def test_full_width_addresses_are_found_and_the_rest_stays(text: str, expected: str) -> None:
    found = scrub(pa.array([text, "ｏｎｅ：２", text]), ("url", "mail"))
    assert found.to_pylist() == [expected, "ｏｎｅ：２", expected]
    assert scrub(found, ("url", "mail")).equals(found)
