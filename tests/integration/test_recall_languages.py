"""Recall by words in other languages than English, on a real Postgres. No vectors: the model knows English only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent_memory.database import Connection
from agent_memory.journal import projects
from agent_memory.journal.projects import Identity
from agent_memory.observations import store
from agent_memory.observations.observation import Observation
from agent_memory.recall import budget, render, search

JAPANESE = "セッションの有効期限は config/session.py の SESSION_TTL で30日に設定されています。"
CHINESE = "决定使用 RabbitMQ 做消息队列，因为运维团队已经有经验。"
KOREAN = "멱등성 키를 보내지 않아 결제가 두 번 처리되었습니다."
GERMAN = "Die Höchstgröße der Übersetzungsdateien steht in scripts/sizes.mjs, die Straßensuche macht Photon."
FRENCH = "La région par défaut de la validation du téléphone est la France."
RUSSIAN = "Отправка писем переведена на порт 587, настройка почтового сервера в файле .env."
ARABIC = "خفضنا حجم الدفعة في خدمة الفهرسة إلى 500 مستند"
THAI = "ระบบส่งอีเมลยืนยันผ่านพอร์ต 587"
ENGLISH = "The naïve limit of the café's résumé upload is two megabytes; getUserName reads it."
ALL = (JAPANESE, CHINESE, KOREAN, GERMAN, FRENCH, RUSSIAN, ARABIC, THAI, ENGLISH)


@pytest.fixture
def project(conn: Connection) -> int:
    number = projects.ensure(conn, Identity("path:/world", "world", "/world"))
    store.save(
        conn,
        [
            Observation(
                project_id=number,
                kind="note",
                title="",
                text=text,
                occurred_at=datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day),
                external_id=str(day),
            )
            for day, text in enumerate(ALL)
        ],
    )
    return number


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("有効期限はどこで設定する", JAPANESE),
        ("SESSION_TTL の有効期限", JAPANESE),
        ("session ttl", JAPANESE),
        ("消息队列用的是什么", CHINESE),
        ("为什么用 rabbitmq", CHINESE),
        ("결제가 두 번 처리된 이유", KOREAN),
        ("Wie groß ist die Höchstgröße?", GERMAN),
        ("hoechstgroesse", GERMAN),
        ("strassensuche", GERMAN),
        ("STRASSENSUCHE", GERMAN),
        ("Übersetzungsdateien", GERMAN),
        ("ubersetzungsdateien", GERMAN),
        ("region par defaut du telephone", FRENCH),
        ("отправки письма", RUSSIAN),
        ("почтовый сервер", RUSSIAN),
        ("حجم دفعة", ARABIC),
        ("ส่งอีเมล", THAI),
        ("naive cafe resume", ENGLISH),
        ("get_user_name", ENGLISH),
    ],
)
def test_a_question_finds_its_text_in_its_language(
    conn: Connection, project: int, question: str, text: str
) -> None:
    hits = search.recall(conn, question, project_id=project).hits
    assert [hit.text for hit in hits[:1]] == [text]


@pytest.mark.parametrize(
    "question", ["請求書の印刷", "备份策略", "로그 보관", "резервная копия", "النسخ الاحتياطي"]
)
def test_a_question_that_shares_no_word_finds_nothing(conn: Connection, project: int, question: str) -> None:
    assert search.recall(conn, question, project_id=project).abstained


def test_a_line_of_search_is_short_in_any_script(conn: Connection, project: int) -> None:
    long = Observation(
        project_id=project,
        kind="note",
        title=JAPANESE * 2,
        text="印刷の設定は次の通りです。" * 20,
        occurred_at=datetime(2026, 4, 1, tzinfo=UTC),
    )
    store.save(conn, [long])
    entry = search.search(conn, "印刷の設定", project_id=project).entries[0]
    assert "印刷" in entry.snippet
    assert budget.tokens(render.line(entry)) <= search.LINE_TOKENS


def test_old_rows_get_their_new_words_by_reindex(conn: Connection, project: int) -> None:
    conn.execute(
        "update mem_observation_chunks set tsv = to_tsvector('english', 'unfound') where project_id = %s",
        (project,),
    )
    assert search.recall(conn, "hoechstgroesse", project_id=project).abstained
    store.index_again(conn, store.posted(conn, after=0, limit=100))
    assert search.recall(conn, "hoechstgroesse", project_id=project).hits[0].text == GERMAN
