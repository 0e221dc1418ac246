"""What an early tap costs: a run that taps layer2 against the network cut off there by hand."""

from __future__ import annotations

import sys
from functools import partial

import torchvision
from common import compare, finish, inputs, ratio_rows, run_actx, run_bare
from torch import nn


def main() -> int:
    whole = torchvision.models.resnet18().eval()
    cut = nn.Sequential(
        whole.conv1, whole.bn1, whole.relu, whole.maxpool, whole.layer1, whole.layer2
    )
    with inputs(256) as folder:
        result = compare(
            partial(run_actx, folder, ("layer2",)),
            partial(run_bare, folder, cut),
            few=32,
            many=256,
        )
    title = "early stop: resnet18 up to layer2, against nn.Sequential of the same modules"
    return finish("early", title, ratio_rows(result, limit=1.1))


if __name__ == "__main__":
    sys.exit(main())
