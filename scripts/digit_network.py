"""A small digit classifier, trained from scratch on rendered digits.

The demo needs a vision model whose weights are really trained and whose
evaluation labels are known without doubt. Both follow from drawing the
training data: every image is a digit stroked at random position, size, slant,
width and contrast over a noisy background, so its label is exact.

The network is trained in the multi-branch form of RepVGG (Ding et al. 2021,
"RepVGG: Making VGG-style ConvNets Great Again"): each block computes
relu(conv3x3(x) + conv1x1(x) + x). The three branches are linear, so they merge
into one 3x3 kernel for inference; that merge is a later candidate version.

Images are float32, shape [N, 1, 32, 32], about zero mean and unit deviation.
Training is seeded. Its floating-point sums depend on the CPU and the BLAS
build, so two machines get weights that differ slightly; one machine repeats
itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SIZE = 32
CLASSES = 10

# Stroke skeletons on the unit square, x to the right and y down.
_SKELETONS = {
    0: [[(0.5, 0.1), (0.75, 0.2), (0.82, 0.5), (0.75, 0.8), (0.5, 0.9), (0.25, 0.8), (0.18, 0.5),
         (0.25, 0.2), (0.5, 0.1)]],
    1: [[(0.32, 0.28), (0.52, 0.1), (0.52, 0.9)], [(0.34, 0.9), (0.7, 0.9)]],
    2: [[(0.22, 0.28), (0.35, 0.12), (0.62, 0.12), (0.77, 0.28), (0.7, 0.48), (0.22, 0.9), (0.8, 0.9)]],
    3: [[(0.22, 0.15), (0.55, 0.1), (0.76, 0.26), (0.68, 0.44), (0.45, 0.49), (0.7, 0.55),
         (0.8, 0.72), (0.6, 0.9), (0.22, 0.85)]],
    4: [[(0.64, 0.9), (0.64, 0.1), (0.18, 0.64), (0.84, 0.64)]],
    5: [[(0.76, 0.1), (0.28, 0.1), (0.25, 0.46), (0.56, 0.4), (0.78, 0.58), (0.74, 0.8), (0.5, 0.9), (0.2, 0.82)]],
    6: [[(0.7, 0.12), (0.4, 0.25), (0.22, 0.58), (0.3, 0.84), (0.55, 0.9), (0.77, 0.75),
         (0.7, 0.53), (0.45, 0.48), (0.24, 0.64)]],
    7: [[(0.2, 0.1), (0.8, 0.1), (0.42, 0.9)]],
    8: [[(0.5, 0.48), (0.27, 0.34), (0.32, 0.15), (0.5, 0.1), (0.68, 0.15), (0.73, 0.34), (0.5, 0.48),
         (0.24, 0.66), (0.3, 0.86), (0.5, 0.9), (0.7, 0.86), (0.76, 0.66), (0.5, 0.48)]],
    9: [[(0.75, 0.36), (0.55, 0.52), (0.3, 0.46), (0.23, 0.26), (0.45, 0.1), (0.7, 0.16),
         (0.77, 0.42), (0.6, 0.75), (0.32, 0.88)]],
}


def _segments(digit: int) -> np.ndarray:
    """Returns the strokes of a digit as segments, shape [S, 2, 2]."""
    return np.array([[a, b] for line in _SKELETONS[digit] for a, b in pairwise(line)], np.float32)


def render(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws count digits; returns images [count, 1, 32, 32] and labels [count] (int64)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    ticks = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    pixels = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    images = np.empty((count, SIZE * SIZE), np.float32)
    for digit in range(CLASSES):
        rows = np.flatnonzero(labels == digit)
        segments = _segments(digit)
        for start in range(0, len(rows), 256):
            chunk = rows[start:start + 256]
            images[chunk] = _draw(segments, pixels, len(chunk), rng)
    images -= images.mean(1, keepdims=True)
    images /= images.std(1, keepdims=True)
    return images.reshape(count, 1, SIZE, SIZE), labels.astype(np.int64)


def _draw(segments: np.ndarray, pixels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, n).astype(np.float32)

    # Skeleton points wobble together per corner, so that joined strokes stay joined.
    corners, index = np.unique(segments.reshape(-1, 2), axis=0, return_inverse=True)
    points = corners[None] + rng.normal(0, 0.022, (n, *corners.shape)).astype(np.float32) - 0.5
    angle, shear = uniform(-0.3, 0.3), uniform(-0.3, 0.3)
    width, height = uniform(0.5, 0.95), uniform(0.6, 0.95)
    cos, sin = np.cos(angle), np.sin(angle)
    x = points[..., 0] * width[:, None] + points[..., 1] * shear[:, None]
    y = points[..., 1] * height[:, None]
    moved = np.stack([
        cos[:, None] * x - sin[:, None] * y + 0.5 + uniform(-0.1, 0.1)[:, None],
        sin[:, None] * x + cos[:, None] * y + 0.5 + uniform(-0.1, 0.1)[:, None],
    ], -1)[:, index.reshape(-1)].reshape(n, -1, 2, 2)

    nearest = np.full((n, len(pixels)), 9, np.float32)
    for s in range(moved.shape[1]):
        a, b = moved[:, s, 0], moved[:, s, 1]
        ab = b - a
        ap_x = pixels[None, :, 0] - a[:, :1]
        ap_y = pixels[None, :, 1] - a[:, 1:]
        t = np.clip((ap_x * ab[:, :1] + ap_y * ab[:, 1:]) / ((ab**2).sum(1, keepdims=True) + 1e-6), 0, 1)
        np.minimum(nearest, (ap_x - t * ab[:, :1])**2 + (ap_y - t * ab[:, 1:])**2, out=nearest)
    ink = 1 / (1 + np.exp((np.sqrt(nearest) - uniform(0.025, 0.06)[:, None]) * 90))
    slope = uniform(-0.4, 0.4)[:, None] * pixels[None, :, 0] + uniform(-0.4, 0.4)[:, None] * pixels[None, :, 1]
    noise = rng.standard_normal((n, len(pixels)), dtype=np.float32) * uniform(0.05, 0.35)[:, None]
    return ink * uniform(0.55, 1.1)[:, None] + slope + noise


@dataclass
class Block:
    """relu(conv3x3 + conv1x1 [+ identity]), padding 1. Kernels are [k*k*in, out]."""

    channels_in: int
    channels_out: int
    stride: int
    w3: np.ndarray
    w1: np.ndarray
    bias: np.ndarray

    @property
    def identity(self) -> bool:
        return self.stride == 1 and self.channels_in == self.channels_out

    def merged(self) -> np.ndarray:
        """Returns the one 3x3 kernel, [9*in, out], that equals the sum of the branches."""
        kernel = self.w3.copy()
        centre = slice(4 * self.channels_in, 5 * self.channels_in)
        kernel[centre] += self.w1
        if self.identity:
            kernel[centre] += np.eye(self.channels_in, dtype=np.float32)
        return kernel


@dataclass
class Plain:
    """relu(conv3x3): a block after its branches were merged."""

    channels_in: int
    channels_out: int
    stride: int
    kernel: np.ndarray
    bias: np.ndarray

    def merged(self) -> np.ndarray:
        return self.kernel


@dataclass
class Network:
    """Blocks, global average pooling, a linear layer to the ten classes."""

    blocks: list
    head: np.ndarray
    head_bias: np.ndarray

    def parameters(self) -> list[np.ndarray]:
        found = [self.head, self.head_bias]
        for block in self.blocks:
            found += [block.kernel] if isinstance(block, Plain) else [block.w3, block.w1]
            found.append(block.bias)
        return found

    def logits(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([_forward(self, images[i:i + 128])[0] for i in range(0, len(images), 128)])


# (in, out, stride): 32 million multiply-adds an image.
_SHAPE = [(1, 48, 2), (48, 48, 1), (48, 48, 1), (48, 96, 2), (96, 96, 1), (96, 96, 1), (96, 192, 2), (192, 192, 1)]


def _fresh(seed: int) -> Network:
    rng = np.random.default_rng(seed)

    def normal(rows: int, columns: int, deviation: float) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * deviation).astype(np.float32)

    blocks = []
    for cin, cout, stride in _SHAPE:
        # An identity branch already carries the signal; its block starts near that identity.
        gain = 0.2 if stride == 1 and cin == cout else 1.0
        blocks.append(Block(cin, cout, stride, normal(9 * cin, cout, gain * np.sqrt(1.6 / (9 * cin))),
                            normal(cin, cout, gain * np.sqrt(0.4 / cin)), np.zeros(cout, np.float32)))
    last = _SHAPE[-1][1]
    network = Network(blocks, normal(last, CLASSES, np.sqrt(1 / last)), np.zeros(CLASSES, np.float32))
    _standardize(network, render(64, seed)[0])
    return network


def _standardize(network: Network, images: np.ndarray) -> None:
    """Scales the fresh weights so that every channel starts centred with unit deviation.

    The idea of layer-sequential unit-variance initialization (Mishkin & Matas
    2016, "All you need is a good init"), applied per channel. It stands in for
    batch normalization, which merging would remove anyway.
    """
    x = images.transpose(0, 2, 3, 1)
    for block in network.blocks:
        columns = _columns(x, block.stride)
        y = columns @ block.merged()
        if not block.identity:
            deviation = y.std((0, 1, 2))
            block.w3 /= deviation
            block.w1 /= deviation
            y /= deviation
        block.bias -= y.mean((0, 1, 2))
        x = np.maximum(y + block.bias, 0)
    pooled = x.mean((1, 2))
    network.head /= pooled.std(0)[:, None]
    network.head_bias -= pooled.mean(0) @ network.head


def _columns(x: np.ndarray, stride: int) -> np.ndarray:
    """Unfolds 3x3 neighbourhoods of x [N,H,W,C] into [N, H/stride, W/stride, 9*C]."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.empty((n, h // stride, w // stride, 9, c), np.float32)
    for k in range(9):
        dy, dx = divmod(k, 3)
        out[..., k, :] = padded[:, dy:dy + h:stride, dx:dx + w:stride]
    return out.reshape(n, h // stride, w // stride, 9 * c)


def _fold(columns: np.ndarray, shape: tuple, stride: int) -> np.ndarray:
    """The transpose of _columns: adds neighbourhoods back onto [N,H,W,C]."""
    n, h, w, c = shape
    padded = np.zeros((n, h + 2, w + 2, c), np.float32)
    columns = columns.reshape(n, h // stride, w // stride, 9, c)
    for k in range(9):
        dy, dx = divmod(k, 3)
        padded[:, dy:dy + h:stride, dx:dx + w:stride] += columns[..., k, :]
    return padded[:, 1:-1, 1:-1]


def _forward(network: Network, images: np.ndarray):
    x = images.transpose(0, 2, 3, 1)
    trail = []
    for block in network.blocks:
        columns = _columns(x, block.stride)
        kernel = block.merged()
        y = np.maximum(columns @ kernel + block.bias, 0)
        trail.append((x.shape, columns, kernel, y))
        x = y
    pooled = x.mean((1, 2))
    return pooled @ network.head + network.head_bias, pooled, trail


def _gradients(network: Network, images: np.ndarray, labels: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Returns the mean cross-entropy and its gradients, in the order of Network.parameters."""
    logits, pooled, trail = _forward(network, images)
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    rows = np.arange(len(labels))
    d = np.exp(log_p)
    d[rows, labels] -= 1
    d /= len(labels)
    result = [pooled.T @ d, d.sum(0)]
    _, h, w, _ = trail[-1][3].shape
    grad = np.broadcast_to((d @ network.head.T)[:, None, None] / (h * w), trail[-1][3].shape)
    per_block = []
    for i in reversed(range(len(network.blocks))):
        block = network.blocks[i]
        shape, columns, kernel, y = trail[i]
        flat = (grad * (y > 0)).reshape(-1, block.channels_out)
        d_kernel = columns.reshape(len(flat), -1).T @ flat
        if isinstance(block, Plain):
            per_block.append([d_kernel, flat.sum(0)])
        else:  # the merged kernel is a sum, so each branch sees its part of the same gradient
            centre = slice(4 * block.channels_in, 5 * block.channels_in)
            per_block.append([d_kernel, d_kernel[centre], flat.sum(0)])
        if i:
            grad = _fold(flat @ kernel.T, shape, block.stride)
    for gradients in reversed(per_block):
        result += gradients
    return float(-log_p[rows, labels].mean()), result


def _fit(network: Network, samples: int, batch: int, rate: float, seed: int, progress) -> None:
    """Trains in place with Adam (Kingma & Ba 2015), a short warm-up and a cosine decay."""
    images, labels = render(samples, seed)
    parameters = network.parameters()
    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    steps = samples // batch
    loss_mean = None
    started = reported = time.monotonic()
    for step in range(steps):
        part = slice(step * batch, (step + 1) * batch)
        loss, gradients = _gradients(network, images[part], labels[part])
        loss_mean = loss if loss_mean is None else 0.9 * loss_mean + 0.1 * loss
        lr = rate * min(1, (step + 1) / 20) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
            m += 0.1 * (g - m)
            v += 0.01 * (g * g - v)
            p -= lr / (1 - 0.9**(step + 1)) * m / (np.sqrt(v / (1 - 0.99**(step + 1))) + 1e-8)
        now = time.monotonic()
        if now - reported > 4 or step == steps - 1:
            progress(f"step {step + 1}/{steps}, loss {loss_mean:.3f}, {now - started:.0f} s")
            reported = now


def train(progress=print) -> Network:
    """Trains the multi-branch network from scratch (about 25 s on one core)."""
    network = _fresh(seed=7)
    _fit(network, samples=7200, batch=16, rate=2e-3, seed=11, progress=progress)
    return network


def merge(network: Network) -> Network:
    """Returns the network with the branches of every block merged into one kernel."""
    return Network([Plain(b.channels_in, b.channels_out, b.stride, b.merged(), b.bias.copy()) for b in network.blocks],
                   network.head.copy(), network.head_bias.copy())


def prune(network: Network, keep: float, progress=print) -> Network:
    """Removes the weakest channels of a merged network, then fine-tunes what is left.

    A channel's strength is its mean activation times the norm of the weights
    that read it. keep is the share of channels kept in every block.
    """
    images, _ = render(256, seed=13)
    trail = _forward(network, images)[2]
    kept_in = np.arange(1)
    blocks = []
    head = network.head
    for i, block in enumerate(network.blocks):
        activation = trail[i][3].mean((0, 1, 2))
        if i + 1 < len(network.blocks):
            reader = network.blocks[i + 1].kernel.reshape(9, block.channels_out, -1)
            reads = np.sqrt((reader**2).sum((0, 2)))
        else:
            reads = np.sqrt((network.head**2).sum(1))
        kept = np.sort(np.argsort(activation * reads)[::-1][:int(block.channels_out * keep)])
        kernel = block.kernel.reshape(9, block.channels_in, block.channels_out)[:, kept_in][:, :, kept]
        blocks.append(Plain(len(kept_in), len(kept), block.stride,
                            np.ascontiguousarray(kernel.reshape(-1, len(kept))), block.bias[kept].copy()))
        kept_in = kept
    pruned = Network(blocks, np.ascontiguousarray(head[kept_in]), network.head_bias.copy())
    _fit(pruned, samples=2400, batch=16, rate=1e-3, seed=17, progress=progress)
    return pruned


def to_onnx(network: Network, name: str):
    """Returns the network as an ONNX model: image [batch,1,32,32] in, logits [batch,10] out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [], []

    def weight(label: str, value: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), label))
        return label

    def conv(label: str, x: str, rows: np.ndarray, bias: np.ndarray | None, block, k: int) -> str:
        kernel = rows.reshape(k, k, block.channels_in, block.channels_out).transpose(3, 2, 0, 1)
        inputs = [x, weight(f"{label}.weight", kernel)]
        if bias is not None:
            inputs.append(weight(f"{label}.bias", bias))
        nodes.append(helper.make_node("Conv", inputs, [f"{label}.out"], label, kernel_shape=[k, k],
                                      pads=[k // 2] * 4, strides=[block.stride] * 2))
        return f"{label}.out"

    x = "image"
    for i, block in enumerate(network.blocks):
        label = f"block{i}"
        if isinstance(block, Plain):
            x = conv(f"{label}.conv", x, block.kernel, block.bias, block, 3)
        else:
            branches = [conv(f"{label}.conv3", x, block.w3, block.bias, block, 3),
                        conv(f"{label}.conv1", x, block.w1, None, block, 1)]
            if block.identity:
                branches.append(x)
            nodes.append(helper.make_node("Sum", branches, [f"{label}.sum"], f"{label}.sum"))
            x = f"{label}.sum"
        nodes.append(helper.make_node("Relu", [x], [f"{label}.relu"], f"{label}.relu"))
        x = f"{label}.relu"
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"], "flatten"))
    nodes.append(helper.make_node("Gemm", ["features", weight("head.weight", network.head),
                                           weight("head.bias", network.head_bias)], ["logits"], "head"))
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
