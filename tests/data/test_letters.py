"""Encodings of one byte a letter told apart by which letters are likelier: long texts, and every stretch of a line of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import Chunk
from bessemer.data.columns import texts
from bessemer.data.guess import encoding_of, found_in
from bessemer.data.letters import judged

TEXTS = {
    "pl": "Pokój był czysty i przestronny, ale śniadanie podano dopiero o dziesiątej, choć obiecano je na ósmą. Obsługa okazała się bardzo "
          "życzliwa: gdy zgubiłem klucz, recepcjonista od razu przyniósł zapasowy i nie zażądał żadnej opłaty. Szkoda tylko, że łóżko "
          "skrzypiało przez całą noc, a sąsiedzi głośno słuchali muzyki. Mimo to chętnie wrócę, bo widok na góry jest naprawdę wspaniały.",
    "cs": "Pokoj byl čistý a prostorný, ale snídaně se podávala až v deset hodin, přestože nám ji slíbili na osmou. Obsluha byla velmi "
          "příjemná: když jsem ztratil klíč, recepční mi hned přinesl náhradní a nechtěl za to žádný poplatek. Škoda jen, že postel "
          "celou dlouhou "
          "noc vrzala a sousedé hlasitě poslouchali hudbu. Přesto se sem rád vrátím, protože výhled na hory je opravdu nádherný.",
    "hu": "A szoba tiszta és tágas volt, de a reggelit csak tíz órakor szolgálták fel, pedig nyolcra ígérték. A személyzet nagyon "
          "kedvesnek "
          "bizonyult: amikor elvesztettem a kulcsomat, a portás rögtön hozott egy másikat, és nem kért érte semmilyen díjat. Csak az a "
          "kár, "
          "hogy az ágy egész éjjel nyikorgott, a szomszédok pedig hangosan zenét hallgattak. Ennek ellenére örömmel térek vissza, mert a "
          "hegyekre nyíló kilátás tényleg gyönyörű, és az erdő is közel van, ahol egy szép tó vize tükröződik.",
    "de": "Das Zimmer war sauber und geräumig, aber das Frühstück gab es erst um zehn, obwohl es für acht Uhr versprochen worden war. Das "
          "Personal war sehr höflich: Als ich den Schlüssel verlor, brachte man mir sofort einen anderen und verlangte keine Gebühr dafür. "
          "Schade nur, dass das Bett die ganze Nacht quietschte und die Nachbarn laut Musik hörten. Trotzdem komme ich gern zurück, weil "
          "die Aussicht auf die Berge wirklich großartig ist.",
    "fr": "La chambre était propre et spacieuse, mais le petit déjeuner n'a été servi qu'à dix heures, alors qu'on nous l'avait promis "
          "pour "
          "huit heures. Le personnel s'est montré très aimable : lorsque j'ai perdu ma clé, le réceptionniste m'en a tout de suite apporté "
          "une autre sans réclamer de supplément. Dommage que le lit ait grincé toute la nuit et que les voisins aient écouté de la "
          "musique "
          "très fort. Nous reviendrons où que ce soit, car la vue sur les sommets enneigés est vraiment à couper le souffle, même en août.",
    "es": "La habitación estaba limpia y era amplia, pero el desayuno no se sirvió hasta las diez, aunque nos lo habían prometido para las "
          "ocho de la mañana. El personal fue muy amable: cuando perdí la llave, el recepcionista me trajo otra enseguida y no me pidió "
          "ningún dinero. ¡Qué lástima que la cama crujiera toda la noche y que los niños de al lado hicieran tanto ruido! Aun así volveré "
          "el próximo año, porque la vista de las montañas es realmente pequeña maravilla. ¿Qué más se puede pedir?",
    "ru": "Комната была чистой и просторной, но завтрак подали только в десять часов, хотя обещали к восьми. Персонал оказался очень "
          "приветливым: когда я потерял ключ, администратор сразу принёс запасной и не потребовал никакой платы. Жаль только, что кровать "
          "скрипела всю ночь, а соседи громко слушали музыку. Тем не менее я с удовольствием вернусь сюда, потому что вид на горы "
          "действительно великолепный.",
    "el": "Το δωμάτιο ήταν καθαρό και ευρύχωρο, αλλά το πρωινό σερβιρίστηκε μόλις στις δέκα, παρόλο που μας το είχαν υποσχεθεί για τις "
          "οκτώ. "
          "Το προσωπικό ήταν πολύ ευγενικό: όταν έχασα το κλειδί, ο υπάλληλος μου έφερε αμέσως άλλο και δεν ζήτησε καμία χρέωση. Κρίμα "
          "μόνο "
          "που το κρεβάτι έτριζε όλη τη νύχτα και οι γείτονες άκουγαν δυνατά μουσική. Παρόλα αυτά θα επιστρέψω με χαρά, γιατί η θέα στα "
          "βουνά είναι πραγματικά υπέροχη.",
    "tr": "Oda temiz ve genişti, ama kahvaltı bize sekiz için söz verilmesine rağmen ancak saat onda verildi. Çalışanlar çok nazikti: "
          "anahtarımı kaybettiğimde görevli hemen bir başkasını getirdi ve hiçbir ücret istemedi. Yazık ki yatak bütün gece gıcırdadı ve "
          "komşular yüksek sesle müzik dinledi. Yine de buraya seve seve döneceğim, çünkü dağların manzarası gerçekten olağanüstü güzel ve "
          "İstanbul'dan ulaşmak kolay."}
ENCODED = {"pl": ("cp1250", "iso8859_2"), "cs": ("cp1250", "iso8859_2"), "hu": ("cp1250", "iso8859_2"),
           "de": ("cp1250", "cp1252", "iso8859_2"), "fr": ("cp1252", "iso8859_15"),
           "es": ("cp1252", "latin_1"), "ru": ("cp1251", "koi8_r"), "el": ("cp1253", "iso8859_7"),
           "tr": ("cp1254",)}
CASES = [(language, encoding) for language, encodings in ENCODED.items() for encoding in encodings]


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_a_long_text_is_told_for_sure(language: str, encoding: str) -> None:
    text = TEXTS[language]
    assert sum(sign.isalpha() for sign in text) >= 300
    found = judged(text.encode(encoding))
    assert found is not None and found.other is None
    assert text.encode(encoding).decode(found.name) == text


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_of_a_short_stretch_nothing_wrong_is_sure(language: str, encoding: str) -> None:
    """Every stretch of at most 60 signs that begins at a word: what is sure is right."""
    text = TEXTS[language]
    starts = [0, *(place + 1 for place, sign in enumerate(text) if sign == " ")]
    for start in starts:
        for length in (60, 40, 20):
            part = text[start:start + length].rpartition(" ")[0] or text[start:start + length]
            found = found_in(part.encode(encoding))
            if found.name is not None and found.other is None:
                assert part.encode(encoding).decode(found.name, "replace") == part, (part, found)


def _csv(file: Path, text: str, encoding: str) -> Path:
    file.write_bytes(("text\n" + "".join(f'"{part.strip()}"\n' for part in text.split(". "))).encode(encoding))
    return file


def _chunk(file: Path, **settings: str) -> Chunk:
    config = make("data/sources", {"kind": "csv", "path": str(file), **settings})
    (chunk, *_) = plugin_of("data/sources", config).function(config).read()
    assert isinstance(chunk, Chunk)
    return chunk


def test_a_sure_file_is_read_with_a_note_and_a_named_encoding_always_wins(tmp_path: Path) -> None:
    file = _csv(tmp_path / "pl.csv", TEXTS["pl"], "cp1250")
    chunk = _chunk(file)
    assert texts(chunk.table["text"]).to_pylist()[0].startswith("Pokój był czysty i przestronny, ale śniadanie")
    assert chunk.notes == ("pl.csv: its bytes are no UTF-8 and look like CP1250, as which it is read; say 'encoding:' where that is wrong",)
    chunk = _chunk(file, encoding="cp1252")
    assert texts(chunk.table["text"]).to_pylist()[0].startswith("Pokój by³ czysty") and chunk.notes == ()


def test_what_is_not_sure_names_both_encodings_and_the_key(tmp_path: Path) -> None:
    file = _csv(tmp_path / "cs.csv", "přes den", "cp1250")
    chunk = _chunk(file)
    (note,) = chunk.notes
    name, other = note.removeprefix("cs.csv: its bytes are no UTF-8 and may be ").partition(",")[0].split(" or ")
    assert note.endswith(f"which too few letters tell apart; it is read as {name}: set encoding: {name.lower()} or encoding: "
                         f"{other.lower()} in the source to say which it is")
    assert name != other and encoding_of(file.read_bytes()) == name.lower()


@pytest.mark.parametrize(("language", "encoding"), [("de", "mac_roman"), ("de", "cp437"), ("cs", "cp852"), ("ru", "cp866")])
def test_encodings_that_are_not_read_unasked_are_not_taken_for_others(language: str, encoding: str) -> None:
    assert encoding_of(TEXTS[language].encode(encoding, "replace")) is None


def test_noise_is_no_text() -> None:
    generator = random.Random(0)
    assert [found_in(generator.randbytes(4000)).name for _ in range(20)] == [None] * 20
