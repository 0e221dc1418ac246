"""Which device is meant; the generators that a forward pass may touch."""

from __future__ import annotations

import pytest
import torch

from actx_core.errors import ModelError
from actx_core.torch import devices


@pytest.fixture
def machine(monkeypatch):
    def set_up(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return set_up


@pytest.mark.parametrize(
    ("cuda", "mps", "wanted", "found"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, True, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, True, "mps", "mps"),
        (2, True, "cpu", "cpu"),
    ],
)
def test_resolve(machine, cuda, mps, wanted, found):
    machine(cuda, mps)
    assert devices.resolve_device(wanted) == torch.device(found)


@pytest.mark.parametrize("wanted", ["cuda", "cuda:2", "mps", "tpu", ""])
def test_absent_devices_are_refused_with_those_present(machine, wanted):
    machine(cuda=0 if wanted == "cuda" else 2)
    with pytest.raises(ModelError, match=f"device '{wanted}' is not here; present: .*cpu") as error:
        devices.resolve_device(wanted)
    assert ("cuda:0, cuda:1" in str(error.value)) is (wanted != "cuda")


def test_seeded_starts_anew_and_restores():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with devices.seeded(7):
            drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="within"), devices.seeded(7):
        raise ValueError("within")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
def test_arrays_leave_the_device_on_a_stream_of_their_own():
    device = torch.device("cuda:0")
    transfer = devices.Transfer(device)
    arrays = {str(i): torch.randn(1000, 1000, device=device) for i in range(4)}
    arrays["half"] = arrays["0"].to(torch.bfloat16).T
    truth = {name: array.clone() for name, array in arrays.items()}
    wait = transfer.start(arrays)
    arrays.clear()
    torch.full(
        (4000, 1000), 7.0, device=device
    )  # would overwrite memory that was given back too early
    found = wait()
    for name, array in found.items():
        back = (
            torch.from_numpy(array.view("int16")).view(torch.bfloat16) if name == "half" else array
        )
        assert torch.equal(torch.as_tensor(back), truth[name].cpu())
