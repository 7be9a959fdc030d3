"""When small segments of the index of words become a larger one."""

from __future__ import annotations

from agent_memory.observations.postings import FULL, SMALL, WAITING, Segment, too_small


def segments(*chunks: int) -> list[Segment]:
    return [Segment(number, count) for number, count in enumerate(chunks)]


def test_a_few_small_segments_are_left_alone() -> None:
    assert too_small([]) == []
    assert too_small(segments(*[WAITING] * 7)) == []
    assert too_small(segments(FULL, SMALL, *[WAITING] * 7)) == []


def test_eight_small_segments_become_one() -> None:
    assert too_small(segments(FULL, SMALL, *[WAITING] * 8)) == segments(FULL, SMALL, *[WAITING] * 8)[2:]


def test_segments_of_middle_size_become_a_full_one() -> None:
    assert too_small(segments(*[SMALL] * 7)) == []
    assert too_small(segments(*[SMALL] * 9)) == segments(*[SMALL] * 8)


def test_no_segment_grows_beyond_what_two_bytes_can_number() -> None:
    assert too_small(segments(FULL, FULL, FULL)) == []
    both = too_small(segments(FULL - 1, FULL - 1, FULL - 1))
    assert sum(segment.chunks for segment in both) < 2**15
    assert len(both) == 2


def test_however_much_is_written_a_project_has_few_segments() -> None:
    held: list[Segment] = []
    for number in range(400_000 // WAITING):
        held.append(Segment(number, WAITING))
        while old := too_small(held):
            held = [segment for segment in held if segment not in old]
            held.append(Segment(number, sum(segment.chunks for segment in old)))
    assert sum(segment.chunks for segment in held) == 400_000
    assert len(held) <= 400_000 // FULL + 2 * 8
