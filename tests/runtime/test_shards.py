"""Shards as parts of a list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.errors import InputError
from trim_pomdp.runtime.shards import Shard, interleaved


@given(items=st.lists(st.integers(), max_size=50), count=st.integers(1, 9))
def test_shards_are_parts_of_equal_size_that_make_up_the_whole(items: list[int], count: int) -> None:
    shards = [Shard(index, count) for index in range(1, count + 1)]
    if len(items) < count:
        with pytest.raises(InputError, match=f"there are only {len(items)} items"):
            shards[0].of(items)
        return
    parts = [shard.of(items) for shard in shards]
    assert interleaved(parts) == items
    assert [len(part) for part in parts] == [shard.size(len(items)) for shard in shards]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shards_as_people_and_runs_write_them() -> None:
    shard = Shard.parse("2/3")
    assert (shard, str(shard), list(shard.of("abcdefg"))) == (Shard(2, 3), "2/3", ["b", "e"])
    assert Shard.of_config({"seed": 1, **shard.config}) == shard
    assert Shard.of_config({"seed": 1}) is None


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "-1/3", "1/3/5", "", "1.0/2", "²/3", "1 / 3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(InputError, match="expected i/n with 1 ≤ i ≤ n"):
        Shard.parse(text)
