"""Repeated ids: all of them found, by whatever parts, in memory that does not grow."""

from __future__ import annotations

import json
import tracemalloc
from array import array
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statekeep_cli.readers import repeats
from statekeep_cli.readers.actors import identify, read_actors
from statekeep_cli.readers.repeats import Names, Repeat, Repeated, Seen, hashes_of, tally


def partition(hashes: bytes, base: int, parts: int, part: int) -> tuple[bytes, bytes]:
    """`sk_partition`, slowly."""
    some, ordinals = array("Q"), array("Q")
    for i, one in enumerate(memoryview(hashes).cast("Q")):
        if (one >> 32) * parts >> 32 == part:
            some.append(one)
            ordinals.append(base + i)
    return some.tobytes(), ordinals.tobytes()


def find(hashes: bytearray, ordinals: bytearray) -> tuple[bytes, bytes]:
    """`sk_repeats`, slowly."""
    some, places = memoryview(hashes).cast("Q"), memoryview(ordinals).cast("Q")
    pairs = sorted(zip(some, places, strict=True))
    first: dict[int, int] = {}
    firsts, agains = array("Q"), array("Q")
    for i, (one, ordinal) in enumerate(pairs):
        some[i], places[i] = one, ordinal
        if first.setdefault(one, ordinal) != ordinal:
            firsts.append(first[one])
            agains.append(ordinal)
    some.release()
    places.release()
    return firsts.tobytes(), agains.tobytes()


def seen_of(ids: list[str | int], decisions: list[int], batch: int = 1_000) -> Seen:
    seen = Seen()
    for at in range(0, len(ids), batch):
        seen.add(hashes_of(ids[at : at + batch]), array("I", decisions[at : at + batch]))
    return seen


@settings(max_examples=150, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 60), max_size=120),
    part_size=st.sampled_from([1, 3, 40, 1 << 19]),
    batch=st.integers(1, 50),
)
def test_every_repeat_is_found(numbers: list[int], part_size: int, batch: int) -> None:
    # The same id once as a number and once as text is the same id.
    ids = [n if i % 2 else str(n) for i, n in enumerate(numbers)]
    decisions = [n % 7 for n in range(len(ids))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "PIECE", 16)
        seen = seen_of(ids, decisions, batch)
        found = list(seen.repeats(partition, find, part_size))
    first: dict[int, int] = {}
    want = {Repeat(first[n], i, i % 7) for i, n in enumerate(numbers) if first.setdefault(n, i) != i}
    assert len(seen) == len(ids)
    assert set(found) == want
    assert len(found) == len(want)
    seen.close()


def test_the_same_id_over_and_over_is_bounded_too() -> None:
    """Then all hashes fall into one part, however many parts there are."""
    count = 16_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "PIECE", 1_000)
        seen = seen_of(["same"] * count, [5] * count)
        tracemalloc.start()
        try:
            found = Counter((r.first, r.decision) for r in seen.repeats(partition, find, 1_000))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert found == {(0, 5): count - 1}
    assert peak < 1_000_000


def test_memory_does_not_grow_with_the_records() -> None:
    def peak(count: int) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(repeats, "PIECE", 1_000)
            tracemalloc.start()
            try:
                seen = Seen()
                for at in range(0, count, 1_000):
                    seen.add(hashes_of(range(at, at + 1_000)), array("I", [0]) * 1_000)
                assert list(seen.repeats(partition, find, 2_000)) == []
                seen.close()
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert peak(40_000) < 1.3 * peak(8_000)


def test_a_hash_needs_a_decision() -> None:
    seen = Seen()
    with pytest.raises(ValueError, match="one decision per hash"):
        seen.add(hashes_of(["a", "b"]), array("I", [1]))


def test_suspects_are_settled_by_their_ids() -> None:
    names = {0: ("a", 1), 1: ("b", 2), 2: ("a", 4), 3: ("b", 5), 4: ("c", 6)}
    asked: list[set[int]] = []

    def look(ordinals: Collection[int]) -> dict[int, tuple[str, int]]:
        asked.append(set(ordinals))
        return {ordinal: names[ordinal] for ordinal in ordinals}

    # The last one shares a hash with the first by accident.
    result = tally([Repeat(1, 3, 8), Repeat(0, 2, 7), Repeat(0, 4, 7)], look)
    assert result.decisions == {7: 1, 8: 1}
    assert result.count == 2
    assert result.listed == (Repeated("a", 4, 1), Repeated("b", 5, 2))
    assert result.listed[0].message == "the id 'a' was already used at line 1"
    assert asked == [{0, 1, 2, 3, 4}]
    assert tally([], look).count == 0
    assert tally([Repeat(0, 4, 7)], look).decisions == {}
    assert len(asked) == 2


def test_no_more_than_a_few_are_listed() -> None:
    def look(ordinals: Collection[int]) -> dict[int, tuple[str, int]]:
        return {ordinal: ("a", ordinal + 1) for ordinal in ordinals}

    result = tally((Repeat(0, again, 1) for again in range(1, 31)), look)
    assert (result.count, len(result.listed)) == (30, repeats.LISTED)


def test_with_very_many_only_those_listed_are_looked_at() -> None:
    def look(ordinals: Collection[int]) -> dict[int, tuple[str, int]]:
        assert len(ordinals) <= 1 + repeats.LISTED
        return {ordinal: ("a", ordinal + 1) for ordinal in ordinals}

    result = tally((Repeat(0, again, again % 2) for again in range(500, 0, -1)), look, compared=50)
    assert result.decisions == {0: 250, 1: 250}
    assert [one.line for one in result.listed] == list(range(2, 12))


def test_from_a_file_to_places(tmp_path: Path) -> None:
    ids = ["a", 1, "b", "1", "a", "c", "a"]
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"id": id, "state": "x"}) for id in ids]
    lines.insert(2, "")
    lines.insert(3, "{}")
    path.write_text("\n".join(lines))
    seen, names = Seen(), Names()
    for batch in read_actors(str(path), keep_going=True, block=60):
        seen.add(hashes_of(batch.ids), array("I", [3]) * len(batch.ids))
        names.add(batch.ordinal, batch.ids, batch.lines)
    want = (Repeated("1", 6, 2), Repeated("a", 7, 1), Repeated("a", 9, 1))
    for look in (lambda ordinals: identify(str(path), ordinals), names.identify):
        result = tally(seen.repeats(partition, find), look)
        assert (result.listed, result.decisions) == (want, {3: 3})
    seen.close()
    names.close()
