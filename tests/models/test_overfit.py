"""Every model can learn eight clips by heart: no layer is cut off from the clip or from the loss."""

import pytest
import torch

from tests.support.models import CASES, LARGE, eight_clips, make_model

NUM_STEPS = 300
LR_OF = {"swin3d_t": 5e-4}  # large transformers take smaller steps
LOW_LOSS = 0.05
NEEDS_NO_DROPOUT = {"crnn/test_resnet", "slowfast_r18", "slowfast_r50", "conv3d", "convlstm", "mlp"}


@pytest.mark.parametrize(
    "name", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_eight_clips_are_learned_by_heart(name):
    options = {"drop_rate": 0.0} if name.removeprefix("moe/") in NEEDS_NO_DROPOUT else {}
    model = make_model(name, num_classes=8, **options).train()
    inputs, labels = eight_clips(model), torch.arange(8)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR_OF.get(name, 6e-3))

    losses = []
    while len(losses) < NUM_STEPS and (not losses or losses[-1] >= LOW_LOSS):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(*inputs), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())

    assert losses[-1] < LOW_LOSS, f"after {len(losses)} steps"
