-- The index of words: for each project posting lists in segments, from which recall computes BM25. Made from the chunks'
-- tsv in the background; a chunk that waits in the queue is read itself. A chunk's words never change after it was
-- written (with other words it is another chunk), so a segment is never edited, only replaced.

create table mem_word_segments (
    id bigint generated always as identity primary key,
    project_id bigint not null,
    chunks integer not null,         -- how many
    words bigint not null,           -- their length together
    first_chunk bigint not null,
    last_chunk bigint not null,
    chunk_ids bytea not null,        -- in order, 8 bytes each; lists name a chunk by its place in here, from 0
    lengths bytea not null           -- of the same chunks, in words, 2 bytes each
);
create index mem_word_segments_project on mem_word_segments (project_id);
alter table mem_word_segments alter column chunk_ids set storage external, alter column lengths set storage external;

-- No foreign key: it would be checked for each of a segment's thousands of words, and one place deletes segments.
create table mem_word_postings (
    segment_id bigint not null,
    lexeme text collate "C" not null,
    positions bytea not null,        -- the places of the chunks that hold the word, in order, 2 bytes each
    frequencies bytea not null,      -- how often each holds it, a byte each
    primary key (segment_id, lexeme)
);
-- Not compressed: large lists are read in whole, and reading is what must be quick.
alter table mem_word_postings alter column positions set storage external, alter column frequencies set storage external;

-- Chunks that are in no segment yet.
create table mem_word_queue (
    chunk_id bigint primary key references mem_observation_chunks on delete cascade,
    project_id bigint not null
);
create index mem_word_queue_project on mem_word_queue (project_id);

create function mem_word_id_at(chunk_ids bytea, place integer) returns bigint
language sql immutable strict parallel safe
return ('x' || encode(substring(chunk_ids from place * 8 + 1 for 8), 'hex'))::bit(64)::bigint;

-- Chunks that were deleted, however that came about. Recall does not find them any more; the worker takes their words out
-- of the segments.
create table mem_word_gone (
    chunk_id bigint primary key,
    project_id bigint not null,
    gone_at timestamptz not null default now()
);
create function mem_word_gone() returns trigger language plpgsql as $$
begin
    insert into mem_word_gone (chunk_id, project_id) select id, project_id from gone;
    return null;
end $$;
create trigger mem_word_gone after delete on mem_observation_chunks
    referencing old table as gone for each statement execute function mem_word_gone();

-- What is stored already waits like anything new. The old index of the same words is not needed any more.
insert into mem_word_queue (chunk_id, project_id) select id, project_id from mem_observation_chunks;
drop index mem_observation_chunks_tsv;
