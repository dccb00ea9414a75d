"""Networks of blocks (perceptrons, residual ones, a transformer of patches), profiled through their training."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

import edgechaos as ec
from edgechaos.data.dataset import Dataset
from edgechaos.theory.activations import activation_function

KINDS = ("tanh MLP", "ReLU MLP", "residual MLP", "ViT")
ACTIVATION = {"tanh MLP": "tanh", "ReLU MLP": "relu", "residual MLP": "relu", "ViT": "relu"}
EDGES = {"tanh": 1.0, "relu": 2.0}  # sigma_w^2 with chi_1 = 1 without biases
_HEADS, _PATCHES = 4, 4  # patches along each side
_TESTED_AT_ONCE = 1000


class Spec(NamedTuple):
    """What a compiled run is specialised to.

    Attributes:
      kind: one of `KINDS`.
      num_classes: of the data set.
      depth: blocks.
      width: of the stream.
      learning_rate: of Adam.
      batch_size: B.
      num_epochs: of the run.
      num_profiled: test samples that the profile is of.
    """

    kind: str
    num_classes: int
    depth: int
    width: int
    learning_rate: float
    batch_size: int
    num_epochs: int
    num_profiled: int


class Trajectory(NamedTuple):
    """What is known after each epoch, entry 0 before the first; blocks count from the input."""

    chi: Float[Array, "entries blocks"]
    chi_error: Float[Array, "entries blocks"]
    weights_chi: Float[Array, "entries blocks"]
    test_accuracy: Float[Array, "entries"]


class Block(nn.Module):
    """phi(W h); or h + W phi(W LN(h)), behind h + attention(LN(h)) for a transformer."""

    spec: Spec

    @nn.compact
    def __call__(self, h: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """The stream after the block."""
        kind, width = self.spec.kind, self.spec.width
        phi = activation_function(ACTIVATION[kind])
        initial = nn.initializers.variance_scaling(EDGES[ACTIVATION[kind]], "fan_in", "normal")
        dense = functools.partial(nn.Dense, use_bias=False, kernel_init=initial)
        if kind.endswith("MLP") and kind != "residual MLP":
            return phi(dense(width, name="dense")(h))
        if kind == "ViT":
            h = h + nn.MultiHeadDotProductAttention(_HEADS, name="attention")(nn.LayerNorm()(h))
        return h + dense(width, name="down")(phi(dense(2 * width, name="up")(nn.LayerNorm()(h))))


class Network(nn.Module):
    """An embedding, the blocks, and a linear output."""

    spec: Spec

    @nn.compact
    def __call__(self, x: Float[Array, "B N"]) -> Float[Array, "B classes"]:
        """Logits of a batch."""
        h = (x - 0.5) / 0.5
        if self.spec.kind == "ViT":
            h = patches(h)
        h = nn.Dense(self.spec.width, name="embed")(h)
        if self.spec.kind == "ViT":
            h = h + self.param("position", nn.initializers.normal(0.1), h.shape[1:])
        for layer in range(self.spec.depth):
            h = Block(self.spec, name=f"block_{layer}")(h)
        if h.ndim == 3:
            h = nn.LayerNorm()(h.mean(1))
        return nn.Dense(self.spec.num_classes, name="output")(h)


def patches(images: Float[Array, "B N"]) -> Float[Array, "B patches pixels"]:
    """Square images cut into 4 x 4 patches."""
    side = math.isqrt(images.shape[1])
    size = side // _PATCHES
    cut = images.reshape(-1, side, side)[:, : size * _PATCHES, : size * _PATCHES]
    cut = cut.reshape(-1, _PATCHES, size, _PATCHES, size).swapaxes(2, 3)
    return cut.reshape(-1, _PATCHES**2, size**2)


def weights_chi(params: optax.Params, spec: Spec) -> Float[Array, "blocks"]:
    """What the weights alone say of each block: the product of Eq. 3's chi of its dense kernels."""

    def of_block(block: optax.Params) -> Array:
        places = [ec.order_parameters(block[name]["kernel"]) for name in ("dense", "up", "down") if name in block]
        values = [ec.chi(place.j0, jnp.sqrt(place.j_squared), ACTIVATION[spec.kind]) for place in places]
        return jnp.prod(jnp.stack(values))

    return jnp.stack([of_block(params[f"block_{layer}"]) for layer in range(spec.depth)])


def profile(
    params: optax.Params, images: Float[Array, "samples N"], key: PRNGKeyArray, spec: Spec
) -> ec.JacobianProfile:
    """The Jacobian profile from the embedding to the last block."""
    taps = ec.tap(Network(spec), "block_*", start="embed", variables={"params": params})
    return ec.jacobian_profile(taps, images, key)


@functools.partial(jax.jit, static_argnames="spec")
def train(key: PRNGKeyArray, dataset: Dataset, spec: Spec) -> Trajectory:
    """One run with Adam; an epoch's last samples that do not fill a batch are left out.

    Args:
      key: of initial weights, order of samples and probes.
      dataset: on the device.
      spec: static description.
    """
    images, labels = jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels)
    test_images, test_labels = jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels)
    num_batches, network = len(labels) // spec.batch_size, Network(spec)
    optimizer = optax.adam(spec.learning_rate)
    params = network.init(key, images[:1])["params"]

    def logits(params: optax.Params, images: Array) -> Array:
        return jnp.asarray(network.apply({"params": params}, images))

    def measure(params: optax.Params) -> Trajectory:
        found = profile(params, test_images[: spec.num_profiled], key, spec)
        predicted = jax.lax.map(lambda image: logits(params, image[None])[0], test_images, batch_size=_TESTED_AT_ONCE)
        return Trajectory(
            found.chi, found.standard_error, weights_chi(params, spec), (predicted.argmax(-1) == test_labels).mean()
        )

    def loss(params: optax.Params, batch: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, images[batch]), labels[batch]).mean()

    def step(carry: tuple, batch: Array) -> tuple[tuple, None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, batch), state, params)
        return (optax.apply_updates(params, updates), state), None

    def epoch(carry: tuple, number: Array) -> tuple[tuple, Trajectory]:
        order = jax.random.permutation(jax.random.fold_in(key, number), len(labels))
        batches = order[: num_batches * spec.batch_size].reshape(num_batches, spec.batch_size)
        carry, _ = jax.lax.scan(step, carry, batches)
        return carry, measure(carry[0])

    _, rest = jax.lax.scan(epoch, (params, optimizer.init(params)), jnp.arange(spec.num_epochs))
    return jax.tree.map(lambda first, later: jnp.concatenate([first[None], later]), measure(params), rest)
