"""Attention with dropout, dropout and the vocabulary's loss: equal to the plain formulas, their gradients too."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bessemer.nn import attention, vocabulary
from bessemer.nn.attention import attend
from bessemer.nn.dropout import STEPS, Dropout, drawing, kept
from bessemer.nn.vocabulary import vocabulary_loss

CPU = torch.device("cpu")


def reference(parts: tuple[Tensor, Tensor, Tensor], mask_BL: Tensor, heads: int, p: float) -> Tensor:
    """The formula over whole rows, with the values dropped that `attend` drops of the same generator."""
    size, length, width = parts[0].shape
    keep_BHLL = torch.zeros(size, heads, length, length, dtype=parts[0].dtype)
    for rows, end, _ in attention._runs(mask_BL, heads):
        count = rows.stop - rows.start
        keep_BHLL[rows, :, :end, :end] = kept((count * heads, end, end), p, CPU).view(count, heads, end, end).double()
    q_BHLK, k_BHLK, v_BHLK = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
    scores = (q_BHLK @ k_BHLK.transpose(-1, -2)) * (width // heads) ** -0.5
    weights = scores.masked_fill(~mask_BL[:, None, None], -torch.inf).softmax(-1) * keep_BHLL / (1 - p)
    return (weights @ v_BHLK).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("scores", [1, 4000, 2**17])
@pytest.mark.parametrize("holes", [False, True])
def test_attention_and_its_gradients_equal_the_formula(monkeypatch: pytest.MonkeyPatch, scores: int, holes: bool) -> None:
    monkeypatch.setattr(attention, "SCORES", scores)
    torch.manual_seed(0)
    parts = tuple(torch.randn(5, 20, 12, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask_BL = torch.arange(20) < torch.tensor([20, 13, 13, 17, 3])[:, None]
    if holes:
        mask_BL = mask_BL & (torch.arange(20) != 1)
    torch.manual_seed(3)
    found = attend((parts[0], parts[1], parts[2]), mask_BL, 4, 0.25)
    torch.manual_seed(3)
    expected = reference((parts[0], parts[1], parts[2]), mask_BL, 4, 0.25)
    real = mask_BL[..., None]
    assert torch.allclose(found * real, expected * real, rtol=0, atol=1e-12)
    given = torch.randn(5, 20, 12, dtype=torch.float64) * real
    for one, two in zip(torch.autograd.grad(found, parts, given), torch.autograd.grad(expected, parts, given), strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize("held", [2**23, 700, 1])
def test_the_vocabularys_loss_equals_cross_entropy(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(vocabulary, "LOGITS", held)
    torch.manual_seed(0)
    given = (torch.randn(37, 8, dtype=torch.float64, requires_grad=True), torch.randn(101, 8, dtype=torch.float64, requires_grad=True),
             torch.randn(101, dtype=torch.float64, requires_grad=True))
    targets = torch.randint(0, 101, (37,))
    total, losses, correct = vocabulary_loss(*given, targets)
    logits = F.linear(*given)
    assert torch.allclose(losses, F.cross_entropy(logits, targets, reduction="none"), rtol=0, atol=1e-12)
    assert torch.equal(correct, logits.argmax(-1) == targets)
    expected = torch.autograd.grad(3 * F.cross_entropy(logits, targets), given)
    for one, two in zip(torch.autograd.grad(3 * total, given), expected, strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)


def test_the_vocabularys_loss_of_nothing_is_zero_and_has_a_gradient() -> None:
    given = (torch.zeros(0, 8, requires_grad=True), torch.randn(11, 8, requires_grad=True), torch.zeros(11, requires_grad=True))
    total, losses, _ = vocabulary_loss(*given, torch.zeros(0, dtype=torch.int64))
    assert float(total.detach()) == 0 and len(losses) == 0
    assert all(not gradient.any() for gradient in torch.autograd.grad(total, given))


@pytest.mark.parametrize("p", [0.1, 0.5, 1 / STEPS])
def test_dropout_drops_its_part_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    layer = Dropout(p).train()
    found = layer(torch.ones(1001, 1003))
    share = float((found == 0).double().mean())
    assert abs(share - p) < 5 * (p * (1 - p) / found.numel()) ** 0.5 + 1 / STEPS
    assert abs(float(found.double().mean()) - 1) < 0.01
    assert torch.equal(layer.eval()(found), found)


def test_a_thread_draws_from_its_own_generator() -> None:
    found: dict[int, Tensor] = {}

    def draw(seed: int) -> None:
        with drawing(torch.Generator().manual_seed(seed)):
            found[seed] = torch.cat([kept((1000,), 0.5, CPU) for _ in range(50)])

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    state = torch.get_rng_state()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(torch.get_rng_state(), state)
    for seed, bits in list(found.items()):
        draw(seed)
        assert torch.equal(found[seed], bits)
