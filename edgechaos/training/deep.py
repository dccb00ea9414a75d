"""A network of several equal hidden layers, and one run of it as a pure function of key and weight decay."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos.data.dataset import Dataset
from edgechaos.theory.activations import activation_function
from edgechaos.training.hold import hold_at_edge
from edgechaos.training.optim import adam
from edgechaos.training.order import order_parameters

EDGES = {"tanh": 1.0, "relu": 2.0}  # sigma_w^2 with chi_1 = 1 without biases: 1 / <phi'^2> of small fields


class Spec(NamedTuple):
    """The values for which a run is compiled.

    Attributes:
      num_classes: number of classes of the data set.
      depth: number of hidden layers.
      width: number of neurons of each.
      activation: their activation.
      learning_rate: learning rate of Adam.
      batch_size: B.
      num_epochs: number of epochs of the run.
      held: whether hold_at_edge keeps each hidden layer at chi_1 = 1; otherwise AdamW decays the weights.
    """

    num_classes: int
    depth: int
    width: int
    activation: str
    learning_rate: float
    batch_size: int
    num_epochs: int
    held: bool


class Trajectory(NamedTuple):
    """What is known after each epoch, entry 0 before the first; layers count from the input."""

    j0: Float[Array, "entries layers"]
    j_squared: Float[Array, "entries layers"]
    test_loss: Float[Array, "entries"]
    test_accuracy: Float[Array, "entries"]


class Network(nn.Module):
    """Hidden layers without biases, at the edge of `activation` from the start, then the output layer."""

    spec: Spec

    @nn.compact
    def __call__(self, x: Float[Array, "B N"]) -> Float[Array, "B classes"]:
        """Logits of a batch."""
        initial = nn.initializers.variance_scaling(EDGES[self.spec.activation], "fan_in", "normal")
        for layer in range(self.spec.depth):
            x = nn.Dense(self.spec.width, use_bias=False, kernel_init=initial, name=f"hidden_{layer}")(x)
            x = activation_function(self.spec.activation)(x)
        return nn.Dense(self.spec.num_classes, name="output")(x)


def hidden_kernels(params: optax.Params, depth: int) -> list[Array]:
    """Those of the hidden layers, from the input on."""
    return [params[f"hidden_{layer}"]["kernel"] for layer in range(depth)]


def _optimizer(spec: Spec, weight_decay: Float[Array, ""]) -> optax.GradientTransformation:
    """AdamW, or Adam and a hold."""
    if not spec.held:
        return adam(spec.learning_rate, weight_decay, "decoupled")
    select = (lambda path: path.startswith("hidden"), lambda path: path.endswith("kernel"))
    return optax.chain(adam(spec.learning_rate), hold_at_edge(EDGES[spec.activation], select))


def _loss(params: optax.Params, images: Array, labels: Array, spec: Spec) -> tuple[Array, Array]:
    """Mean cross-entropy and accuracy of a batch."""
    logits = jnp.asarray(Network(spec).apply({"params": params}, images))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, (logits.argmax(-1) == labels).mean()


@functools.partial(jax.jit, static_argnames="spec")
def train(key: PRNGKeyArray, weight_decay: float | Array, dataset: Dataset, spec: Spec) -> Trajectory:
    """One run; an epoch's last samples that do not fill a batch are left out.

    Args:
      key: of initial weights and order of samples.
      weight_decay: lambda of the paper, AdamW's own being 2 lambda; of no effect on a held run.
      dataset: on the device.
      spec: static description.
    """
    images, labels = jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels)
    num_batches = len(labels) // spec.batch_size
    optimizer = _optimizer(spec, jnp.asarray(weight_decay))
    params = Network(spec).init(key, images[:1])["params"]

    def measure(params: optax.Params) -> Trajectory:
        places = [order_parameters(kernel) for kernel in hidden_kernels(params, spec.depth)]
        loss, accuracy = _loss(params, jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels), spec)
        j0, j_squared = (jnp.stack([getattr(place, name) for place in places]) for name in ("j0", "j_squared"))
        return Trajectory(j0, j_squared, loss, accuracy)

    def step(carry: tuple, batch: Array) -> tuple[tuple, None]:
        params, state = carry
        gradient = jax.grad(lambda p: _loss(p, images[batch], labels[batch], spec)[0])(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    def epoch(carry: tuple, number: Array) -> tuple[tuple, Trajectory]:
        order = jax.random.permutation(jax.random.fold_in(key, number), len(labels))
        batches = order[: num_batches * spec.batch_size].reshape(num_batches, spec.batch_size)
        carry, _ = jax.lax.scan(step, carry, batches)
        return carry, measure(carry[0])

    start = (params, optimizer.init(params))
    _, rest = jax.lax.scan(epoch, start, jnp.arange(spec.num_epochs))
    return jax.tree.map(lambda first, later: jnp.concatenate([first[None], later]), measure(params), rest)
