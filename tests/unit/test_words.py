from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory.observations.words import MAX_WORD, indexable


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("getUserName", "get user name getusername"),
        ("get_user_name", "get user name getusername"),
        ("get-user-name", "get user name getusername"),
        ("HTTPServer", "http server httpserver"),
        ("parseURLs", "parse urls parseurls"),
        ("__init__", "init"),
        ("os.path.join", "os path join ospathjoin"),
        ("config.get_user_name", "config get user name getusername configgetusername"),
        ("src/agent_memory/words.py", "src agent memory agentmemory words py wordspy"),
        ("C:\\Users\\me\\app.exe", "c users me app exe appexe"),
        ("v2.1.330", "v2 1 330 v21330"),
        ("error[E0382]: borrow", "error e0382 borrow"),
        ("ECONNREFUSED 127.0.0.1:5432", "econnrefused 127 0 0 1 127001 5432"),
        ("git commit --no-verify -m", "git commit no verify noverify m"),
        ("https://user@host.example/a/b?q=1#x", "https user host example hostexample a b q 1 x"),
        ("don't stop.", "don t stop"),
        ("-5 +3 1e9", "5 3 1e9"),
    ],
)
def test_code_identifiers_are_taken_apart_and_joined(text: str, words: str) -> None:
    assert indexable(text) == words


@pytest.mark.parametrize(
    "asked", ["user name", "get_user_name", "getUserName", "GetUserName()", "get-user-name"]
)
def test_any_spelling_of_an_identifier_shares_words_with_the_others(asked: str) -> None:
    assert set(indexable(asked).split()) & set(indexable("obj.get_user_name(x)").split()) >= {"user", "name"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("naïve café résumé", "naive cafe resume"),
        ("Straße Größe", "strasse grosse groesse"),
        ("ΣΊΣΥΦΟΣ Ёлка", "σισυφ елка"),
        ("отправка отправки", "отпра отпра"),
        ("الفهرسة فَهْرَسَة", "فهرسة فهرسة"),
        ("getGröße", "get grosse groesse getgrosse getgroesse"),
        ("ไทย", "ไท ทย"),
        ("ﬁle ｆｕｌｌ", "file full"),
        ("हिन्दी में", "हिन्द में"),
        ("東京タワー", "東京 京タ タワ ワー"),
        ("語", "語"),
        ("한국어", "한국 국어"),
        ("testを書く", "test 書"),
        ("ありがとう", "あり りが がと とう"),
        ("有効期限はどこ", "有効 効期 期限"),
        ("消息队列用的是什么", "消息 息队 队列 列用"),
        ("ship it 🚀🚀 now", "ship it now"),
        ("“quoted” — dash…", "quoted dash"),
    ],
)
def test_letters_of_every_script_are_kept(text: str, words: str) -> None:
    assert indexable(text) == words


def test_an_identifier_with_too_many_humps_is_kept_whole_only() -> None:
    assert indexable("aGVsbG8gd29ybGQgdGhpcyBpcyBiYXNl") == "agvsbg8gd29ybgqgdghpcybpcybiyxnl"


def test_nothing_indexable_gives_nothing() -> None:
    assert indexable(" \n--- *** \x00 🚀 ") == ""


@given(st.text(max_size=200))
def test_only_letters_digits_and_single_spaces_come_out(text: str) -> None:
    words = indexable(text)
    assert words == " ".join(words.split())
    for word in words.split():
        assert len(word) <= 4 * MAX_WORD  # casefolding may lengthen a letter
        assert not any(char < "\x80" and not char.isalnum() for char in word)
        assert not any(char.isascii() and char.isupper() for char in word)


@pytest.mark.parametrize("piece", ["a-", "aB", "-", "x", "get_userName ", "東", "a.", "é_", "_" * 50 + "a"])
def test_time_grows_with_the_length_only(piece: str) -> None:
    """Four times the text takes about four times as long, not sixteen times."""
    short, long = piece * (200_000 // len(piece)), piece * (800_000 // len(piece))
    assert _seconds(long) < 10 * max(_seconds(short), 0.02)


def _seconds(text: str) -> float:
    began = time.process_time()
    indexable(text)
    return time.process_time() - began
