"""Times one training epoch of the paper's network (784-784-10, B = 32) beside PyTorch and Keras.

Each framework lives in a process of its own and does the same work: 60,000 images in memory, reshuffled, forward,
backward, update by SGD with momentum. One round asks for one epoch of each, in turn; the first round warms up and is
left out. "ideal" is the time that the epoch's floating-point operations take at the rate of one large float32 square
product, "transfer" the time that weights and momentum take to come from memory and go back in each step at the rate of
one large copy, both measured in the same process as our epoch, right before it: the shares of a device's peak.

    python -m benchmarks.epoch [--rounds=7] [--frameworks=jax,pytorch,keras-jax] [--output=FILE.json]
"""

import argparse
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import options, record, show, statistics

BATCH, ETA, ALPHA = 32, 0.02, 0.5
OWNERS = {
    "product": "jax",
    "copy": "jax",
    "epoch": "jax",
    "recorded": "jax",
    "pytorch": "pytorch",
    "pytorch compiled": "pytorch-compiled",
    "keras": "keras",
    "keras on jax": "keras-jax",
}
MEANING = {
    "product": "one 4096 x 4096 float32 product by JAX",
    "copy": "256 MiB read and written by JAX",
    "epoch": "edgechaos, forward, backward and update only",
    "recorded": "edgechaos, with order parameters and test evaluation, as experiments run it",
    "pytorch": "PyTorch, eager loop, tensors in memory",
    "pytorch compiled": "the same with torch.compile around loss and update",
    "keras": "Keras fit, TensorFlow backend",
    "keras on jax": "Keras fit, JAX backend",
}
PRODUCT_SIZE, COPY_BYTES = 4096, 2**28
# each step reads the weights for the forward product; then it reads and writes weights and momentum
STEPS, STEP_BYTES = 60_000 // BATCH, 5 * 4 * (784 * 784 + 784 * 10 + 10)
# what each ratio should be, as (numerator, denominator, bound, whether the bound is the largest or the least)
TARGETS = [
    ("epoch", "ideal", 2.0, "at most"),
    ("recorded", "epoch", 1.1, "at most"),
    ("pytorch", "epoch", 1.5, "at least"),
    ("pytorch compiled", "epoch", 1.0, "at least"),
    ("keras", "epoch", 2.5, "at least"),
    ("keras on jax", "epoch", 1.0, "at least"),
]


def jax_tasks() -> dict[str, Callable[[], object]]:
    """A large product and copy, and our epoch, bare and with everything that the history records."""
    import jax
    import jax.numpy as jnp

    from edgechaos import data, training

    matrix = jax.random.normal(jax.random.key(0), (PRODUCT_SIZE, PRODUCT_SIZE))
    product = jax.jit(jnp.matmul)
    copied = [jnp.zeros(COPY_BYTES // 4)]
    add_one = jax.jit(lambda values: values + 1, donate_argnums=0)
    dataset = jax.device_put(data.load())
    spec = training.Spec(dataset.num_classes, BATCH)
    keys = jax.random.split(jax.random.key(0), 1)
    numbers = training.Hyperparameters(*(jnp.full(1, value) for value in (ETA, ALPHA, 0.0)))
    recorded_states = [training.start_members(keys, numbers, dataset, spec)[0]]
    key, number = jax.tree.map(lambda leaf: leaf[0], (keys, numbers))
    bare_states = [training.init_state(key, spec, 784)]
    train_epoch = jax.jit(training.train_epoch, static_argnames="spec", donate_argnames="state")

    def copy() -> None:
        copied[0] = add_one(copied[0]).block_until_ready()

    def epoch() -> None:
        bare_states[0], metrics = train_epoch(bare_states[0], key, number, dataset, spec)
        jax.block_until_ready((bare_states[0], metrics))

    def recorded() -> None:
        recorded_states[0], metrics = training.advance_members(recorded_states[0], keys, numbers, dataset, spec)
        jax.block_until_ready((recorded_states[0], metrics))

    return {
        "product": lambda: product(matrix, matrix).block_until_ready(),
        "copy": copy,
        "epoch": epoch,
        "recorded": recorded,
    }


def pytorch_tasks(compiled: bool = False) -> dict[str, Callable[[], object]]:
    """The same epoch as a plain PyTorch loop, on a GPU where there is one."""
    import torch

    from edgechaos import data

    dataset = data.load()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.from_numpy(dataset.train_images).to(device)
    labels = torch.from_numpy(dataset.train_labels.astype(np.int64)).to(device)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 784, bias=False), torch.nn.Tanh(), torch.nn.Linear(784, dataset.num_classes)
    ).to(device)
    torch.nn.init.normal_(model[0].weight, std=0.5 / 28)
    optimizer = torch.optim.SGD(model.parameters(), lr=ETA, momentum=ALPHA)

    def loss(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(images), labels)

    loss_of, update = (torch.compile(loss), torch.compile(optimizer.step)) if compiled else (loss, optimizer.step)

    def run() -> None:
        order = torch.randperm(len(images), device=device)
        for first in range(0, len(images), BATCH):
            batch = order[first : first + BATCH]
            optimizer.zero_grad()
            loss_of(images[batch], labels[batch]).backward()
            update()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return {"pytorch compiled" if compiled else "pytorch": run}


def keras_tasks(backend: str = "tensorflow") -> dict[str, Callable[[], object]]:
    """The same epoch by Keras `fit`."""
    from edgechaos import data

    os.environ["KERAS_BACKEND"] = backend
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    dataset = data.load()
    model = keras.Sequential(
        [
            keras.layers.Dense(784, activation="tanh", use_bias=False),
            keras.layers.Dense(dataset.num_classes, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(learning_rate=ETA, momentum=ALPHA)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = dataset.train_images, dataset.train_labels
    name = "keras" if backend == "tensorflow" else f"keras on {backend}"
    return {name: lambda: model.fit(images, labels, batch_size=BATCH, epochs=1, verbose=0)}


def work(framework: str) -> None:
    """Runs the task named on each line of standard input, and prints its seconds."""
    tasks = FRAMEWORKS[framework]()
    for line in sys.stdin:
        begin = time.perf_counter()
        tasks[line.strip()]()
        print(time.perf_counter() - begin, flush=True)


FRAMEWORKS: dict[str, Callable[[], dict[str, Callable[[], object]]]] = {
    "jax": jax_tasks,
    "pytorch": pytorch_tasks,
    "pytorch-compiled": functools.partial(pytorch_tasks, compiled=True),
    "keras": keras_tasks,
    "keras-jax": functools.partial(keras_tasks, backend="jax"),
}


def rounds(frameworks: list[str], number: int) -> dict[str, list[float]]:
    """Seconds of each task in each round after the first."""
    workers = {
        framework: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.epoch", f"--worker={framework}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for framework in frameworks
    }
    tasks = [(task, workers[owner]) for task, owner in OWNERS.items() if owner in workers]
    seconds: dict[str, list[float]] = {task: [] for task, _ in tasks}
    for index in range(number + 1):
        for task, worker in tasks:
            assert worker.stdin is not None
            assert worker.stdout is not None
            print(task, file=worker.stdin, flush=True)
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError(f"the process of '{task}' ended early; see its message above")
            if index:
                seconds[task].append(float(line))
        print(f"round {index} of {number}", file=sys.stderr)
    for worker in workers.values():
        worker.communicate()
    return seconds


def report(seconds: dict[str, list[float]]) -> dict:
    """The content of the result file: seconds, ratios taken within rounds, and the targets."""
    from edgechaos.runs import cost

    times = {peer: np.array(values) for peer, values in seconds.items()}
    if "product" in times:
        rate = 2 * PRODUCT_SIZE**3 / times["product"]
        times["ideal"] = cost.epoch_operations(60_000, 784, 10) / rate
        times["transfer"] = STEPS * STEP_BYTES * times["copy"] / (2 * COPY_BYTES)
    ratios = [
        {"ratio": f"{a} / {b}", **statistics((times[a] / times[b]).tolist()), "target": f"{word} {bound}"}
        for a, b, bound, word in TARGETS
        if a in times and b in times
    ]
    return {
        "benchmark": "one epoch: 60,000 images, 784-784-10, B = 32, SGD with momentum, float32",
        "meaning": MEANING,
        "seconds": {peer: statistics(values.tolist()) for peer, values in times.items()},
        "rounds": seconds,
        "ratios": ratios,
    }


def main() -> None:
    """Command line."""
    parser = options("benchmarks.epoch", __doc__, rounds=7)
    parser.add_argument("--frameworks", default=",".join(FRAMEWORKS), help="comma-separated, of %(default)s")
    parser.add_argument("--worker", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
        return
    frameworks = arguments.frameworks.split(",")
    unknown = [name for name in frameworks if name not in FRAMEWORKS]
    if unknown:
        parser.error(f"--frameworks takes names of {', '.join(FRAMEWORKS)}")
    content = report(rounds(frameworks, arguments.rounds))
    show(content["seconds"])
    for row in content["ratios"]:
        print(
            f"{row['ratio']:24} {row['median']:5.2f}   [{row['least']:.2f}, {row['most']:.2f}]   target {row['target']}"
        )
    record(arguments.output, content)


if __name__ == "__main__":
    main()
