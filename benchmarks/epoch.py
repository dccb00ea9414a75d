"""Times one training epoch of the paper's network (784-784-10, B = 32) beside PyTorch and Keras.

Every peer lives in a process of its own and does the same work: 60,000 images in memory, reshuffled, forward, backward,
update by SGD with momentum. One round asks each peer for one epoch, in turn; the first round warms up and is left out.
"ideal" is the time that the epoch's floating-point operations take at the rate of one large float32 square product,
measured in our process in the same round.

    python -m benchmarks.epoch [--rounds=7] [--peers=product,epoch,recorded,pytorch,keras] [--output=FILE.json]
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH, ETA, ALPHA = 32, 0.02, 0.5
PEERS = ("product", "epoch", "recorded", "pytorch", "keras")
MEANING = {
    "product": "one 4096 x 4096 float32 product by JAX",
    "epoch": "edgechaos, forward, backward and update only",
    "recorded": "edgechaos, with order parameters and test evaluation, as experiments run it",
    "pytorch": "PyTorch, eager loop, tensors in memory",
    "keras": "Keras fit, TensorFlow backend",
}
PRODUCT_SIZE = 4096
# what each ratio should be, as (numerator, denominator, bound, whether the bound is the largest or the least)
TARGETS = [
    ("epoch", "ideal", 2.0, "at most"),
    ("recorded", "epoch", 1.1, "at most"),
    ("pytorch", "epoch", 1.5, "at least"),
    ("keras", "epoch", 2.5, "at least"),
]


def product_peer() -> Callable[[], None]:
    """One large square product."""
    import jax
    import jax.numpy as jnp

    matrix = jax.random.normal(jax.random.key(0), (PRODUCT_SIZE, PRODUCT_SIZE))
    product = jax.jit(jnp.matmul)
    return lambda: product(matrix, matrix).block_until_ready()


def jax_peer(recorded: bool) -> Callable[[], None]:
    """Our epoch, bare or with everything that the history records."""
    import jax
    import jax.numpy as jnp

    from edgechaos import data, training

    dataset = jax.device_put(data.load())
    spec = training.Spec(dataset.num_classes, BATCH)
    keys = jax.random.split(jax.random.key(0), 1)
    numbers = training.Hyperparameters(*(jnp.full(1, value) for value in (ETA, ALPHA, 0.0)))
    states = [training.start_members(keys, numbers, dataset, spec)[0]]
    epoch = jax.jit(training.train_epoch, static_argnames="spec", donate_argnames="state")
    first = jax.tree.map(lambda leaf: leaf[0], (keys, numbers))
    if not recorded:
        states = [jax.tree.map(lambda leaf: leaf[0], states[0])]

    def run() -> None:
        if recorded:
            states[0], metrics = training.advance_members(states[0], keys, numbers, dataset, spec)
        else:
            states[0], metrics = epoch(states[0], first[0], first[1], dataset, spec)
        jax.block_until_ready((states[0], metrics))

    return run


def pytorch_peer() -> Callable[[], None]:
    """The same epoch as a plain PyTorch loop."""
    import torch

    from edgechaos import data

    dataset = data.load()
    images = torch.from_numpy(dataset.train_images)
    labels = torch.from_numpy(dataset.train_labels.astype(np.int64))
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 784, bias=False), torch.nn.Tanh(), torch.nn.Linear(784, dataset.num_classes)
    )
    torch.nn.init.normal_(model[0].weight, std=0.5 / 28)
    optimizer = torch.optim.SGD(model.parameters(), lr=ETA, momentum=ALPHA)

    def run() -> None:
        order = torch.randperm(len(images))
        for first in range(0, len(images), BATCH):
            batch = order[first : first + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()

    return run


def keras_peer() -> Callable[[], None]:
    """The same epoch by Keras `fit`."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    from edgechaos import data

    dataset = data.load()
    model = keras.Sequential(
        [
            keras.layers.Dense(784, activation="tanh", use_bias=False),
            keras.layers.Dense(dataset.num_classes, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(learning_rate=ETA, momentum=ALPHA)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(dataset.train_images, dataset.train_labels, batch_size=BATCH, epochs=1, verbose=0)


def work(peer: str) -> None:
    """Runs one epoch for every line on standard input, and prints its seconds."""
    makers: dict[str, Callable[[], Callable[[], None]]] = {
        "product": product_peer,
        "epoch": lambda: jax_peer(recorded=False),
        "recorded": lambda: jax_peer(recorded=True),
        "pytorch": pytorch_peer,
        "keras": keras_peer,
    }
    run = makers[peer]()
    for _ in sys.stdin:
        begin = time.perf_counter()
        run()
        print(time.perf_counter() - begin, flush=True)


def rounds(peers: list[str], number: int) -> dict[str, list[float]]:
    """Seconds of each peer in each round after the first."""
    workers = {
        peer: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.epoch", f"--worker={peer}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for peer in peers
    }
    seconds: dict[str, list[float]] = {peer: [] for peer in peers}
    for index in range(number + 1):
        for peer, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            print("go", file=worker.stdin, flush=True)
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError(f"the peer '{peer}' ended early; see its message above")
            if index:
                seconds[peer].append(float(line))
        print(f"round {index} of {number}", file=sys.stderr)
    for worker in workers.values():
        worker.communicate()
    return seconds


def statistics(values: list[float]) -> dict[str, float]:
    """Median and spread."""
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}


def versions() -> dict[str, str]:
    """Installed versions of what is compared."""
    found = {}
    for name in ("jax", "jaxlib", "optax", "flax", "torch", "keras", "tensorflow-cpu", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def report(seconds: dict[str, list[float]]) -> dict:
    """The content of the result file: seconds, ratios taken within rounds, and the targets."""
    from edgechaos import cost, runs

    times = {peer: np.array(values) for peer, values in seconds.items()}
    if "product" in times:
        rate = 2 * PRODUCT_SIZE**3 / times["product"]
        times["ideal"] = cost.epoch_operations(60_000, 784, 10) / rate
    ratios = [
        {"ratio": f"{a} / {b}", **statistics((times[a] / times[b]).tolist()), "target": f"{word} {bound}"}
        for a, b, bound, word in TARGETS
        if a in times and b in times
    ]
    return {
        "benchmark": "one epoch: 60,000 images, 784-784-10, B = 32, SGD with momentum, float32",
        "date": datetime.date.today().isoformat(),
        "processor": runs.processor(),
        "cores": os.cpu_count(),
        "versions": versions(),
        "meaning": MEANING,
        "seconds": {peer: statistics(values.tolist()) for peer, values in times.items()},
        "rounds": seconds,
        "ratios": ratios,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds (default %(default)s)")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated, of %(default)s")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
        return
    peers = arguments.peers.split(",")
    unknown = [peer for peer in peers if peer not in PEERS]
    if unknown or arguments.rounds < 1:
        parser.error(f"--peers takes names of {', '.join(PEERS)}, --rounds a number from 1 on")
    content = report(rounds(peers, arguments.rounds))
    for peer, numbers in content["seconds"].items():
        print(f"{peer:10} {numbers['median']:7.3f} s   [{numbers['least']:.3f}, {numbers['most']:.3f}]")
    for row in content["ratios"]:
        print(
            f"{row['ratio']:20} {row['median']:5.2f}   [{row['least']:.2f}, {row['most']:.2f}]   target {row['target']}"
        )
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
