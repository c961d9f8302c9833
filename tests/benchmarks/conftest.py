import pytest
import torch


@pytest.fixture
def one_thread():
    """A tiny model gains nothing from a second thread, and pretraining sets both of these globally."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])
