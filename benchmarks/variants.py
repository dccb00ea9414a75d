"""Where the time of an epoch goes, and what else was tried: parts of a step, and other ways to write the scan.

Parts are timed in a loop on the device, variants as whole epochs of the paper's network in turn; the first round is
left out. Random numbers stand for the images: the time is the same.

    python -m benchmarks.variants [--rounds=5] [--output=FILE.json]
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import options, record, show, statistics
from benchmarks.epoch import BATCH
from edgechaos import training
from edgechaos.data.dataset import Dataset

N, SAMPLES, REPEATS = 784, 60_000, 400
SPEC = training.Spec(10, BATCH)
NUMBERS = training.Hyperparameters(0.02, 0.5, 0.0)


def stand_in() -> Dataset:
    """A data set of the size of Fashion-MNIST."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(SAMPLES, N)).astype(np.float32)
    labels = rng.integers(10, size=SAMPLES).astype(np.int32)
    return jax.device_put(Dataset(images, labels, images[:2000], labels[:2000], num_classes=10))


def parts(dataset: Dataset) -> dict[str, float]:
    """Microseconds of the operations of one step, each chained to itself so that none can be left out."""
    key = jax.random.key(0)
    x = jnp.asarray(dataset.train_images[:BATCH])
    w = jax.random.normal(key, (N, N)) / 28

    def forward(x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x @ w * 0.01 + x * 0.5, w

    def backward(x: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x + g[0, 0] * 1e-9, x.T @ x

    def backward_update(x: jax.Array, v: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        v = 0.5 * v - 0.02 * (x.T @ x)
        return x + v[0, 0] * 1e-9, v, w + v

    def update(g: jax.Array, v: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        v = 0.5 * v - 0.02 * g
        return g, v, w + v

    def tanh(x: jax.Array) -> tuple[jax.Array]:
        return (jnp.tanh(x) * 1.01,)

    cases: dict[str, tuple[Callable, tuple]] = {
        "forward product": (forward, (x, w)),
        "gradient product": (backward, (x, w)),
        "gradient product with momentum and update": (backward_update, (x, w, w)),
        "momentum and update alone": (update, (w, w, w)),
        "tanh": (tanh, (x,)),
    }
    times = {
        name: 1e6 * least_seconds(repeated(step), arguments) / REPEATS for name, (step, arguments) in cases.items()
    }
    batches = jax.random.permutation(key, SAMPLES).reshape(-1, BATCH)
    times["gather of a batch"] = 1e6 * least_seconds(gathered, (dataset.train_images, batches)) / len(batches)
    return times


@jax.jit
def gathered(images: jax.Array, batches: jax.Array) -> jax.Array:
    """Gathers all batches as an epoch does, with a product of 8 columns so that every pixel is needed."""
    return jax.lax.scan(
        lambda total, batch: (total + (images[batch] @ jnp.ones((N, 8))).sum(), None), jnp.zeros(()), batches
    )[0]


def repeated(step: Callable) -> Callable:
    """`REPEATS` chained calls as one program."""
    return jax.jit(lambda *carry: jax.lax.fori_loop(0, REPEATS, lambda _, c: step(*c), carry))


def least_seconds(program: Callable, arguments: tuple) -> float:
    """Seconds of a program, the least of seven."""
    jax.block_until_ready(program(*arguments))
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def indexed_loss(params: dict, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy that picks the label's entry, whose gradient is a scatter."""
    hidden = jnp.tanh(images @ params["hidden"]["kernel"])
    logits = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def one_hot_loss(params: dict, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy that multiplies with the label's unit vector, as `training` does."""
    hidden = jnp.tanh(images @ params["hidden"]["kernel"])
    logits = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    return -(jax.nn.log_softmax(logits) * jax.nn.one_hot(labels, 10)).sum(1).mean()


def other_epoch(loss: Callable, unroll: int, gather_first: bool) -> Callable:
    """A bare epoch written another way; the optimizer is by hand, metrics are left out."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def epoch(params: dict, velocity: dict, key: jax.Array, dataset: Dataset) -> tuple[dict, dict]:
        images, labels = jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels)
        order = jax.random.permutation(key, SAMPLES)
        batches = order.reshape(-1, BATCH)
        scanned = (images[order].reshape(-1, BATCH, N), labels[order].reshape(-1, BATCH)) if gather_first else batches

        def step(carry: tuple[dict, dict], batch: Any) -> tuple[tuple[dict, dict], None]:
            params, velocity = carry
            x, y = batch if gather_first else (images[batch], labels[batch])
            gradient = jax.grad(loss)(params, x, y)
            velocity = jax.tree.map(lambda v, g: 0.5 * v - 0.02 * g, velocity, gradient)
            return (jax.tree.map(jnp.add, params, velocity), velocity), None

        return jax.lax.scan(step, (params, velocity), scanned, unroll=unroll)[0]

    return epoch


def runners(dataset: Dataset) -> dict[str, Callable[[jax.Array], None]]:
    """One function of a key for each way to write the epoch."""

    def ours() -> Callable[[jax.Array], None]:
        states = [training.init_state(jax.random.key(0), SPEC, N)]
        epoch = jax.jit(training.train_epoch, static_argnames="spec", donate_argnames="state")

        def run(key: jax.Array) -> None:
            states[0], metrics = epoch(states[0], key, NUMBERS, dataset, SPEC)
            jax.block_until_ready((states[0], metrics))

        return run

    def other(*options: object) -> Callable[[jax.Array], None]:
        params = training.init_state(jax.random.key(0), SPEC, N).params
        carries = [(params, jax.tree.map(jnp.zeros_like, params))]
        epoch = other_epoch(*options)  # type: ignore[arg-type]

        def run(key: jax.Array) -> None:
            carries[0] = epoch(*carries[0], key, dataset)
            jax.block_until_ready(carries[0])

        return run

    return {
        "training.train_epoch": ours(),
        "by hand, one-hot loss": other(one_hot_loss, 1, False),
        "by hand, indexed loss": other(indexed_loss, 1, False),
        "by hand, batches gathered beforehand": other(one_hot_loss, 1, True),
        "by hand, scan unrolled by 5": other(one_hot_loss, 5, False),
    }


def main() -> None:
    """Command line."""
    arguments = options("benchmarks.variants", __doc__, rounds=5).parse_args()
    dataset = stand_in()
    microseconds = parts(dataset)
    runs = runners(dataset)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(arguments.rounds + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run(jax.random.key(index))
            if index:
                seconds[name].append(time.perf_counter() - begin)
    epochs = {name: statistics(values) for name, values in seconds.items()}
    content = {"microseconds of a step's parts": microseconds, "seconds of an epoch": epochs}
    show(content)
    record(arguments.output, content)


if __name__ == "__main__":
    main()
