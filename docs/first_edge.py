# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # First edge, step by step
#
# This page trains a small network and holds it at the edge of chaos, in under a minute on a CPU. It is the script
# `docs/first_edge.py` and also the notebook `docs/first_edge.ipynb`. Install what it needs with
#
#     pip install -e '.[experiments]'
#
# and run it in the root of the clone: `python docs/first_edge.py`.
#
# A hidden layer is *ordered* if two slightly different inputs become equal when its output is fed back again and again,
# and *chaotic* if they separate. The *edge of chaos* is the border. Two numbers of the N x N weights W tell where a
# layer stands: J0 = N mean(W) and J^2 = N var(W). With tanh units and J0 near 0 the edge is at J = 1.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos.data.sources import load

# %% [markdown]
# ## Where does a network start?
#
# The digits of scikit-learn have 64 pixels, so the hidden kernel (weight matrix) is 64 x 64. It is initialised with
# J = 0.5 and is ordered. The report shows chi, the factor by which a small squared difference grows per iteration
# (Eq. 3 of the paper). It is below 1, so the difference of two states vanishes.

# %%
digits = load("digits")
network = ec.Classifier(digits.num_classes)
params = network.init(jax.random.key(0), jnp.asarray(digits.train_images[:1]))["params"]
print(ec.phase_report(params))

kernel = params["hidden"]["kernel"]
print(ec.order_or_chaos(lambda x: jnp.tanh(x @ kernel), jnp.asarray(digits.train_images[0])))

# %% [markdown]
# ## Train it
#
# A whole training run is one pure function of a random key and the hyperparameters. So `jax.vmap` runs several seeds at
# once; here there are three. Training makes J^2 grow. At first it grows by a slope A per epoch, and A is D times the
# scale factor, learning rate / ((1 - momentum) batch size).

# %%
spec = ec.Spec(digits.num_classes, batch_size=32)
train = jax.jit(jax.vmap(ec.make_train(digits, spec, num_epochs=60), in_axes=(0, None)))
keys = jax.random.split(jax.random.key(1), 3)
_, free = train(keys, ec.Hyperparameters(learning_rate=0.08, momentum=0.5))

scale = ec.scale_factor(learning_rate=0.08, momentum=0.5, batch_size=32)
fit = ec.fit_slope(np.asarray(free.j_squared[0]), num_epochs=5)
print(
    f"slope {float(fit.slope):.3f} per epoch at first, so D = {float(fit.slope / scale):.1f}; without decay J^2 ends at"
)
print(free.j_squared[:, -1])

# %% [markdown]
# ## Hold it at the edge
#
# `hold_at_edge` is put last in a chain of optax transforms, after any optimizer. It adjusts a weight decay such that
# J^2 stays at 1. The loop below is an ordinary training loop with Adam. At the end the report says "edge", and
# `held_weight_decay` gives the fixed weight decay that would have the same effect.

# %%
optimizer = optax.chain(optax.adam(2e-3), ec.hold_at_edge(), ec.monitor(every=10))
ec.check_hold(optimizer, params)
images, labels = jnp.asarray(digits.train_images), jnp.asarray(digits.train_labels)


def loss(params, batch):
    """Mean cross-entropy of a batch."""
    logits = network.apply({"params": params}, images[batch])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]).mean()


@jax.jit
def step(params, state, batch):
    """One update."""
    updates, state = optimizer.update(jax.grad(loss)(params, batch), state, params)
    return optax.apply_updates(params, updates), state


state = optimizer.init(params)
for key in jax.random.split(jax.random.key(2), 3000):
    params, state = step(params, state, jax.random.randint(key, (32,), 0, len(labels)))

print(ec.phase_report(params))
held = ec.held_weight_decay(state, learning_rate=2e-3)
print(f"the same as a fixed decay: lambda = {held.mean[0]:.2g} +- {held.spread[0]:.1g}, with Adam")

# %% [markdown]
# ## Draw it
#
# Left: J^2 of the three runs without decay. Right: J^2 of the network with `hold_at_edge`. The picture is written to
# `first_edge.png`.

# %%
figure = Figure(figsize=(9, 3.5), layout="constrained")
growth, held_run = figure.subplots(1, 2)
growth.plot(np.asarray(free.j_squared).T, color="C0", linewidth=1)
growth.axhline(1, color="C3")
growth.set(title="SGD without decay, three seeds", xlabel="epoch", ylabel="$J^2$")
recorded = ec.monitored(state, params)
recorded.plot(held_run)
held_run.set_title("Adam with hold_at_edge")

if __name__ == "__main__":
    figure.savefig("first_edge.png")
    print("figure: first_edge.png")

# %% [markdown]
# ## Next steps
#
# This command recommends a weight decay and learning rates for your own data, from a training run of about 30 epochs:
#
#     python -m experiments.guideline --config.dataset=own.npz --verify
#
# [Your own network](OWN_NETWORK.md) has more examples, and [the theory](THEORY.md) explains the numbers.
