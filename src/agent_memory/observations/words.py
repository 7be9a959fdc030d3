"""The words by which a text is found: plain ones, with code identifiers taken apart.

Postgres's parser takes `a/b.py` for a file, `foo.bar` for a host and `-1` for a signed number, and it leaves
`getUserName` whole. So it is given nothing but space-separated letters and digits: each identifier's parts,
then its joined form. `get_user_name`, `getUserName` and `get-user-name` all give `get user name getusername`.
Taking identifiers apart won ten points of recall on CoSQA. Queries go through the same function.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

MAX_WORD = 64  # characters; a SHA-256 in hex still fits, a base64 blob is cut
_MAX_PARTS = 8  # an identifier with more humps than this is random letters, of which only the whole is kept

# Scripts written without spaces between words: Thai, Lao, Burmese, Khmer, Chinese and Japanese; and Hangul, whose
# particles cling to their words.
_CJK = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
# Every character above ASCII counts as a letter here: `_plain` has already blanked those that are not.
_LETTER = rf"(?:(?![{_CJK}])[0-9A-Za-z\x80-\U0010ffff])"
_COMPOUND = re.compile(rf"[{_CJK}]++|{_LETTER}++(?:[_.\-]++{_LETTER}++)*+")
_IS_CJK = re.compile(rf"[{_CJK}]")
# What Japanese writes in hiragana is mostly endings and particles; and the like of "what", "is" and "of" in Chinese.
_PARTICLES = re.compile(
    "[\u3041-\u309f]+|为什么|為什麼|什么|什麼|怎么|怎麼|如何|哪里|哪裡|哪个|哪個|多少|[的是吗嗎呢了]"
)
# Accents of Latin, Greek and Cyrillic, and the vowels of Arabic, which few people write.
_ACCENTS = re.compile(r"[\u0300-\u036f\u0640\u064b-\u0655\u0670]")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_ARTICLE = re.compile(
    r"^[\u0648\u0641\u0628\u0643]?\u0627\u0644(?=.{3})"
)  # the Arabic al-, after and-, so-, by-, as-
_STEM = 5  # letters
# Before the capital that begins a hump: aB, 1B, and HTTPServer before its S; but URLs stays whole.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])(?![A-Z]s(?![a-z]))")


def indexable(text: str) -> str:
    """`text` as lower-case words of letters and digits, for `to_tsvector('english', …)`.

    Takes time in proportion to the text's length. Words are cut at 64 characters and stand with single spaces
    between; runs of scripts that put no spaces between words become overlapping pairs of characters.
    """
    words: list[str] = []
    for match in _COMPOUND.finditer(_plain(text)):
        compound = match[0]
        if _IS_CJK.match(compound):
            words += _pairs(compound)
        elif len(compound) <= MAX_WORD:
            words += _short_forms(compound)
        else:
            words += _spelled(_forms(compound))
    return " ".join(words)


def _plain(text: str) -> str:
    """Compatibility forms unified; what above ASCII is neither letter, digit nor accent is blanked."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    blank = {
        ord(char): " "
        for char in set(text)
        if char >= "\x80" and not char.isalnum() and not unicodedata.category(char).startswith("M")
    }
    return text.translate(blank)


def _pairs(run: str) -> list[str]:
    """The pairs of neighbouring characters in a run, without those that only hold its words together."""
    pairs = []
    for part in filter(None, _PARTICLES.split(run)) if _PARTICLES.sub("", run) else [run]:
        pairs += [part] if len(part) == 1 else [part[i : i + 2] for i in range(len(part) - 1)]
    return pairs


def _forms(compound: str) -> list[str]:
    """The parts of `compound` and the joined form of each level: humps, then `_` and `-`, then dots."""
    dotted: list[str] = []
    sections = [section for section in compound.split(".") if section]
    for section in sections:
        names = [name for name in re.split(r"[_-]+", section) if name]
        for name in names:
            humps = _HUMP.split(name)
            if 1 < len(humps) <= _MAX_PARTS:
                dotted += [hump.casefold() for hump in humps]
            dotted.append(name.casefold()[:MAX_WORD])
        if len(names) > 1:
            _add_joined(dotted, names)
    if len(sections) > 1:
        _add_joined(dotted, [re.sub(r"[_-]", "", section) for section in sections])
    return dotted


@lru_cache(maxsize=20_000)
def _short_forms(compound: str) -> list[str]:
    return _spelled(_forms(compound))


def _spelled(words: list[str]) -> list[str]:
    """The words in the spellings that people search by: without accents, `größe` as `grosse` and as `groesse`. Of a
    word that no English stemmer knows only the first letters count, which most of its forms share."""
    if all(word.isascii() for word in words):
        return words
    spelled: list[str] = []
    for word in words:
        if word.isascii():
            spelled.append(word)
            continue
        plain = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", word)))
        plain = _ARTICLE.sub("", plain)
        if not plain:  # an accent that stands alone
            continue
        spelled.append(plain if plain.isascii() else plain[:_STEM])
        if (german := word.translate(_UMLAUTS)) != word:
            spelled.append(german)
    return spelled


def _add_joined(words: list[str], parts: list[str]) -> None:
    joined = "".join(parts).casefold()
    if len(joined) <= MAX_WORD:
        words.append(joined)
