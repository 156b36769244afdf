"""Folders of short texts in an old encoding: judged together, read in one, told in one note."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bessemer.core.errors import UserError
from bessemer.core.registry import plugin
from bessemer.core.types import Chunk
from bessemer.data.columns import texts
from bessemer.data.guess import found_in, proposals
from tests.data.test_letters import TEXTS

CHINESE = ("昨天我们去了河边的一家小餐馆，服务非常好，汤也很美味，可惜厕所很脏，还有臭味，下次我们去别的地方，虽然价格便宜，"
           "这本书很棒")
TAIWANESE = ("昨天我們去了河邊的一家小餐館，服務非常好，湯也很美味，可惜廁所很髒，還有臭味，下次我們去別的地方，雖然價格便宜，"
             "這本書很棒")
JAPANESE = ("昨日、川沿いの小さなレストランに行きました、サービスはとても良く、スープも美味しかったです、残念ながらトイレが"
            "汚くて臭かった")
KOREAN = ("어제 우리는 강가의 작은 식당에 갔습니다 서비스는 아주 친절했고 수프도 맛있었습니다 아쉽게도 화장실이 더럽고 "
          "냄새가 났어요")
EAST = {"gbk": (CHINESE, "gb18030"), "big5": (TAIWANESE, "big5"), "cp932": (JAPANESE, "cp932"), "euc_jp": (JAPANESE, "euc_jp"),
        "euc_kr": (KOREAN, "euc_kr"), "utf-16-le": (CHINESE, "utf-16-le")}
UKRAINIAN = ("Вчора ми були в маленькому ресторані біля річки. Обслуговування було дуже приємним, а суп чудовим. На жаль, туалет був "
             "брудний і смердів. Наступного разу підемо в інше місце, хоча ціни низькі. Їжак ґанок є.")
VIETNAMESE = ("Hôm qua chúng tôi ăn ơ\u0309 một nha\u0300 ha\u0300ng nhỏ bên sông. Phục vụ râ\u0301t dễ thương va\u0300 giá rẻ, "
              "quyê\u0309n sách.")


def folder(root: Path, parts: list[str], encoding: str) -> list[str]:
    """Write each part as a file of one of two classes; return the parts in order of file."""
    for number, part in enumerate(parts):
        file = root / "ab"[number * 2 // len(parts)] / f"{number:04}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(part.encode(encoding))
    return parts


def chunks(root: Path, **settings: str) -> list[Chunk]:
    item = plugin("data/sources", "folder")
    return list(item.function(item.config.model_validate({"path": str(root), **settings})).read())


def read(root: Path, **settings: str) -> tuple[list[str], list[str]]:
    found = chunks(root, **settings)
    return [text for chunk in found for text in texts(chunk.table["text"]).to_pylist()], [note for chunk in found for note in chunk.notes]


def short(text: str, count: int = 60) -> list[str]:
    words, generator = text.split(), random.Random(0)
    return [" ".join(words[(start := generator.randrange(len(words) - 5)):start + 5]) + f" {number}" for number in range(count)]


@pytest.mark.parametrize(("language", "encoding"), [("fr", "cp1252"), ("hu", "cp1250"), ("cs", "iso8859_2"), ("tr", "cp1254"),
                                                    ("ru", "koi8_r"), ("ru", "cp1251"), ("el", "cp1253"), ("uk", "koi8_u")])
def test_short_texts_of_one_folder_are_read_in_one_encoding(tmp_path: Path, language: str, encoding: str) -> None:
    parts = folder(tmp_path, short({**TEXTS, "uk": UKRAINIAN}[language]), encoding)
    rows, (note,) = read(tmp_path)
    assert rows == parts
    count = sum(not part.isascii() for part in parts)
    first = next(number for number, part in enumerate(parts) if not part.isascii())
    assert note == (f"{tmp_path.name}: {count} files are no UTF-8 (first: a/{first:04}.txt) and look like {encoding.upper()}, as which "
                    "they are read; say 'encoding:' where that is wrong")


@pytest.mark.parametrize("encoding", EAST)
def test_short_texts_of_east_asia_are_told_together(tmp_path: Path, encoding: str) -> None:
    text, name = EAST[encoding]
    sign = next(sign for sign in "，、 " if sign in text)
    parts = folder(tmp_path, [f"{part}{sign}" for part in text.split(sign)], encoding)
    rows, (note,) = read(tmp_path)
    assert rows == parts and f"{len(parts)} files are no UTF-8 (first: a/0000.txt) and look like {name.upper()}, " in note


def test_utf8_stays_a_broken_file_is_set_aside_and_a_named_encoding_wins(tmp_path: Path) -> None:
    parts = folder(tmp_path, short(TEXTS["fr"]), "cp1252")
    (tmp_path / "b" / "8.txt").write_text("naïve café", encoding="utf-8")
    (tmp_path / "b" / "9.txt").write_bytes(b"\x81\x8d")
    found = chunks(tmp_path)
    rows = [text for chunk in found for text in texts(chunk.table["text"]).to_pylist()]
    assert rows == [*parts, "naïve café"]
    (rejected,) = [chunk.rejected for chunk in found if chunk.rejected is not None]
    assert [(row["reason"], row["content"]) for row in rejected.to_pylist()] == [("not valid CP1252", "b/9.txt")]
    rows, told = read(tmp_path, encoding="cp1250")
    assert rows[:60] == [part.encode("cp1252").decode("cp1250") for part in parts] and told == []


def test_a_file_that_is_for_sure_in_another_encoding_is_told(tmp_path: Path) -> None:
    parts = folder(tmp_path, short(TEXTS["fr"]), "cp1252")
    (tmp_path / "b" / "9.txt").write_bytes(TEXTS["ru"].encode("cp1251"))
    rows, (note,) = read(tmp_path)
    assert rows == [*parts, TEXTS["ru"]] and note.endswith("; others are for sure in CP1251 (1, first: b/9.txt)")


def test_a_folder_that_nothing_tells_names_the_likeliest(tmp_path: Path) -> None:
    folder(tmp_path, short(TEXTS["ru"]), "mac_cyrillic")
    with pytest.raises(UserError, match=r"of 60 files are not valid UTF-8, .*\(--encoding\), such as mac_cyrillic, "):
        chunks(tmp_path)


@pytest.mark.parametrize(("text", "encoding"), [(TEXTS["ru"], "mac_cyrillic"), (TEXTS["ru"], "iso8859_5"), (TEXTS["ru"], "cp866"),
                                                (VIETNAMESE, "cp1258")])
def test_what_is_not_read_is_proposed_first(text: str, encoding: str) -> None:
    import unicodedata

    data = unicodedata.normalize("NFC", text).encode(encoding, "ignore") if encoding != "cp1258" else text.encode(encoding, "ignore")
    assert found_in(data).name is None and proposals(data)[0] == encoding


def test_ukrainian_and_russian_koi8_are_told_apart_by_their_letters() -> None:
    assert found_in(UKRAINIAN.encode("koi8_u")) == ("koi8_u", None)
    assert found_in("він і вона сказали і так".replace("ві", "во").encode("koi8_u")) == ("koi8_u", None)  # a lone letter is no frame
    table = f"╓──\n{TEXTS['ru']}\n──╜\n"
    found = found_in(table.encode("koi8_r"))
    assert found.name == "koi8_r" and found.other is None


def test_utf16_of_one_short_file_without_a_mark() -> None:
    text = "好评\t一切正常，一家小餐馆1\n差评\t一整夜，一般，一晚上2\n一般\t这本书很棒，一切3\n好评\t一次，一天，一起4\n"
    assert found_in(text.encode("utf-16-le")).name == "utf-16-le" and found_in(text.encode("utf-16-be")).name == "utf-16-be"


@pytest.mark.parametrize("kind", ["csv", "folder"])
def test_init_says_which_encoding_it_guessed_and_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    from bessemer.app.starter import write_recipe

    monkeypatch.chdir(tmp_path)
    parts = short(TEXTS["cs"], 120)
    if kind == "csv":
        rows = "".join(f"{part},{'ab'[number * 2 // len(parts)]}\n" for number, part in enumerate(part.replace(",", "") for part in parts))
        Path("data.csv").write_bytes(("text,label\n" + rows).encode("cp1250"))
    else:
        folder(Path("data"), parts, "cp1250")
    file, lines = write_recipe(Path("data.csv" if kind == "csv" else "data"))
    assert any("no UTF-8" in line and "look like CP1250, as which" in line for line in lines)
    assert "  the recipe's source names it: encoding: cp1250" in lines
    assert "- {encoding: cp1250, kind: " in file.read_text(encoding="utf-8")


def test_init_leaves_what_is_utf8_and_what_is_mixed_without_an_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bessemer.app.starter import write_recipe

    monkeypatch.chdir(tmp_path)
    folder(Path("data"), short(TEXTS["cs"], 120), "utf-8")
    file, lines = write_recipe(Path("data"))
    assert "encoding" not in file.read_text(encoding="utf-8") and not any("encoding" in line for line in lines)
    Path("data/a/0000.txt").write_bytes(TEXTS["cs"].encode("cp1250"))
    file, lines = write_recipe(Path("data"), force=True)
    assert "encoding:" not in file.read_text(encoding="utf-8") and any("looks like CP1250" in line for line in lines)
