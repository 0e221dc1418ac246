"""KataGo's forward pass once more, point by point in numpy and float64: slow, plain, and written apart."""

from __future__ import annotations

from functools import partial

import numpy as np

from actx_katago.network.layers import (
    AttentionBlock,
    FeedForwardBlock,
    GpoolBlock,
    LearnedRope,
    NestedBlock,
)


def act(kind, x):
    if kind.endswith("RELU"):
        return np.maximum(x, 0)
    if kind.endswith("MISH"):
        return x * np.tanh(np.log1p(np.exp(x)))
    return x / (1 + np.exp(-x)) if kind.endswith("SILU") else x


class Naive:
    """One board (planes, y, x) at a time; ``stream`` collects what flows between the blocks."""

    def __init__(self, file):
        self.top = file.description
        self.w = {path: array.astype(np.float64) for path, array in file.weights.items()}
        self.stream = {}

    def __call__(self, spatial, global_, meta=None):
        self.on = spatial[0] == 1
        trunk = self.top.trunk
        x = self.conv("conv_spatial", spatial)
        x = x + self.linear("linear_global", global_)[:, None, None]
        if trunk.metadata_encoder:
            h = meta
            for name, kind in (
                ("1", trunk.metadata_encoder.act1),
                ("2", trunk.metadata_encoder.act2),
            ):
                h = act(kind.kind, self.linear(f"metadata_encoder.linear{name}", h))
            x = x + self.linear("metadata_encoder.linear_output_to_trunk", h)[:, None, None]
        self.stream["trunk.embedding"] = x
        for i, block in enumerate(trunk.blocks):
            delta = self.block(block, f"blocks.{i}", x)
            x = x + delta
            self.stream |= {f"blocks.{i}": delta, f"trunk_after_block{i}": x}
        x = act(trunk.act_trunkfinal.kind, self.tip(trunk.norm_trunkfinal, x))
        self.stream["trunk.final"] = x
        return self.policy(x), *self.value(x)

    def conv(self, path, x):
        w = self.w[f"{path}.weight"]
        ky, kx = w.shape[2] // 2, w.shape[3] // 2
        height, width = x.shape[1:]
        padded = np.pad(x, ((0, 0), (ky, ky), (kx, kx)))
        out = np.zeros((w.shape[0], height, width))
        for dy in range(w.shape[2]):
            for dx in range(w.shape[3]):
                part = padded[:, dy : dy + height, dx : dx + width]
                out += np.einsum("oi,iyx->oyx", w[:, :, dy, dx], part)
        return out

    def linear(self, path, x):
        return self.w[f"{path}.weight"] @ x + self.w.get(f"{path}.bias", 0.0)

    def norm(self, layer, path, x):
        w = {k: self.w[f"{path}.{k}"][:, None, None] for k in layer.arrays()}
        normal = (x - w["mean"]) / np.sqrt(w["variance"] + layer.epsilon)
        return np.where(self.on, normal * w.get("scale", 1.0) + w.get("bias", 0.0), 0.0)

    def tip(self, layer, x):
        if not hasattr(layer, "spatial"):
            return self.norm(layer, "norm_trunkfinal", x)
        square = np.mean(x[:, self.on] ** 2) if layer.spatial else np.mean(x**2, 0)
        gamma, beta = (self.w[f"norm_trunkfinal.{k}"][:, None, None] for k in ("gamma", "beta"))
        return np.where(self.on, x / np.sqrt(square + layer.epsilon) * gamma + beta, 0.0)

    def nac(self, layer, path, x):
        return self.conv(
            f"{path}.conv", act(layer.act.kind, self.norm(layer.norm, f"{path}.norm", x))
        )

    def pooled(self, x):
        values, size = x[:, self.on], (np.sqrt(self.on.sum()) - 14) / 10
        return np.concatenate([values.mean(1), values.mean(1) * size, values.max(1)])

    def block(self, layer, path, x):
        if isinstance(layer, AttentionBlock):
            return self.attention(layer, path, x)
        if isinstance(layer, FeedForwardBlock):
            return self.feed_forward(layer, path, x)
        if isinstance(layer, NestedBlock):
            x = self.nac(layer.normactconvp, f"{path}.normactconvp", x)
            for j, inner in enumerate(layer.blockstack):
                x = x + self.block(inner, f"{path}.blockstack.{j}", x)
            return self.nac(layer.normactconvq, f"{path}.normactconvq", x)
        if isinstance(layer, GpoolBlock):
            one, at = layer.normactconv1, f"{path}.normactconv1"
            h = act(one.act.kind, self.norm(one.norm, f"{at}.norm", x))
            g = self.norm(
                one.convpool.normg, f"{at}.convpool.normg", self.conv(f"{at}.convpool.conv1g", h)
            )
            g = self.linear(f"{at}.convpool.linear_g", self.pooled(act(one.convpool.actg.kind, g)))
            x = self.conv(f"{at}.convpool.conv1r", h) + g[:, None, None]
        else:
            x = self.nac(layer.normactconv1, f"{path}.normactconv1", x)
        return self.nac(layer.normactconv2, f"{path}.normactconv2", x)

    def points(self, path, x, epsilon):
        flat = x.reshape(x.shape[0], -1).T
        return flat / np.sqrt((flat**2).mean(1, keepdims=True) + epsilon) * self.w[f"{path}.weight"]

    def attention(self, layer, path, x):
        h = self.points(f"{path}.norm1", x, layer.norm1.epsilon)
        q, k, v = (h @ self.w[f"{path}.{n}_proj.weight"].T for n in "qkv")
        height, width = x.shape[1:]
        keys = [i for i in range(height * width) if self.on[i // width, i % width]]
        out = np.zeros((height * width, layer.heads * layer.v_dim))
        for head in range(layer.heads):
            kv = head * layer.kv_heads // layer.heads
            turn = partial(self.turned, layer, path, width, kv)
            for i in range(height * width):
                query = turn(q[i, head * layer.q_dim :][: layer.q_dim], i)
                logits = np.array(
                    [query @ turn(k[j, kv * layer.q_dim :][: layer.q_dim], j) for j in keys]
                )
                weights = np.exp(logits / np.sqrt(layer.q_dim))
                values = v[keys, kv * layer.v_dim : (kv + 1) * layer.v_dim]
                out[i, head * layer.v_dim :][: layer.v_dim] = weights / weights.sum() @ values
        return (out @ self.w[f"{path}.out_proj.weight"].T).T.reshape(x.shape)

    def turned(self, layer, path, width, kv, vector, at):
        y, x = divmod(at, width)
        pairs = layer.q_dim // 2
        if isinstance(layer.rope, LearnedRope):
            f = self.w[f"{path}.rope.frequencies"][kv]
            angles = [x * f[p, 0] + y * f[p, 1] for p in range(pairs)]
        else:
            half = pairs // 2
            base = [layer.rope.theta ** (-2 * j / pairs) for j in range(half)]
            angles = [y * f for f in base] + [x * f for f in base]
        turned = (vector[0::2] + 1j * vector[1::2]) * np.exp(1j * np.array(angles))
        return np.stack([turned.real, turned.imag], 1).ravel()

    def feed_forward(self, layer, path, x):
        h = self.points(f"{path}.norm", x, layer.norm.epsilon)
        one, gate, two = (self.w[f"{path}.ffn_linear{n}.weight"] for n in ("1", "_gate", "2"))
        return ((act("SILU", h @ one.T) * (h @ gate.T)) @ two.T).T.reshape(x.shape)

    def policy(self, x):
        head, at = self.top.policy_head, "policy_head"
        g = act(head.actg.kind, self.norm(head.biasg, f"{at}.biasg", self.conv(f"{at}.conv1g", x)))
        pooled = self.pooled(g)
        p = self.conv(f"{at}.conv1p", x) + self.linear(f"{at}.linear_g", pooled)[:, None, None]
        p = self.conv(f"{at}.conv2p", act(head.act2.kind, self.norm(head.bias2, f"{at}.bias2", p)))
        last = self.linear(f"{at}.linear_pass", pooled)
        if head.linear_pass2:
            last = self.linear(f"{at}.linear_pass2", act(head.act_pass.kind, last))
        points = np.where(self.on, p, p - 5000).reshape(p.shape[0], -1)
        return np.concatenate([points, last[:, None]], 1)

    def value(self, x):
        head, at = self.top.value_head, "value_head"
        v = act(head.act1.kind, self.norm(head.bias1, f"{at}.bias1", self.conv(f"{at}.conv1", x)))
        mean, size = v[:, self.on].mean(1), np.sqrt(self.on.sum()) - 14
        pooled = np.concatenate([mean, mean * size / 10, mean * (size**2 / 100 - 0.1)])
        h = act(head.act2.kind, self.linear(f"{at}.linear2", pooled))
        ownership = np.tanh(self.conv(f"{at}.conv_ownership", v))
        value, score = (self.linear(f"{at}.linear_{n}valuehead", h) for n in ("", "misc"))
        return value, score, ownership
