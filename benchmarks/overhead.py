"""What actx costs beside the forward pass: a run with pooled taps against a bare loop that keeps nothing."""

from __future__ import annotations

import sys
from functools import partial

import torchvision
from common import compare, finish, inputs, ratio_rows, run_actx, run_bare

TAPS = ("layer1", "layer2", "layer3", "layer4", "avgpool", "fc")


def main() -> int:
    network = torchvision.models.resnet18().eval()
    with inputs(192) as folder:
        result = compare(
            partial(run_actx, folder, TAPS),
            partial(run_bare, folder, network),
            few=32,
            many=192,
        )
    title = f"overhead: resnet18, {len(TAPS)} taps pooled to channel means"
    return finish("overhead", title, ratio_rows(result, limit=1.05))


if __name__ == "__main__":
    sys.exit(main())
