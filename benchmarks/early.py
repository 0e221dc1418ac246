"""What an early tap costs: a run that taps layer2 against the network cut off there by hand."""

from __future__ import annotations

import sys

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
            lambda n: run_actx(folder, n, ("layer2",)),
            lambda n: run_bare(folder, n, cut),
            few=32,
            many=256,
        )
    title = "early stop: resnet18 up to layer2, against nn.Sequential of the same modules"
    return finish("early", title, ratio_rows(result, limit=1.1))


if __name__ == "__main__":
    sys.exit(main())
