import torch
from hypothesis import given
from hypothesis import strategies as st

from mmhash.seeding import numpy_stream, stream_seed, torch_stream


@given(st.integers(0, 2**62), st.lists(st.text(max_size=5) | st.integers(), max_size=3))
def test_a_stream_is_the_same_each_time_it_is_opened(seed: int, purpose: list[str | int]) -> None:
    assert stream_seed(seed, *purpose) == stream_seed(seed, *purpose)
    assert 0 <= stream_seed(seed, *purpose) < 2**63


def test_streams_of_different_purposes_differ() -> None:
    names = [(0, "shuffle", 1), (0, "shuffle", 11), (0, "shuffle1", 1), (1, "shuffle", 1), (0,)]
    assert len({stream_seed(*name) for name in names}) == len(names)


def test_numpy_and_torch_streams_repeat() -> None:
    first, second = (numpy_stream(3, "caption", 0).integers(1000, size=8) for _ in range(2))
    assert (first == second).all()
    draws = [torch.rand(8, generator=torch_stream(3, "caption", 0)) for _ in range(2)]
    assert torch.equal(*draws)
