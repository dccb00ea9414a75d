# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # First edge, step by step
#
# From an installation to a network held at the edge of chaos, in under a minute on a CPU. This page is the script
# `docs/first_edge.py`; jupytext and most editors open it as a notebook. Install with
#
#     pip install -e .
#
# and run it from the root of the clone: `python docs/first_edge.py`.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos.data.sources import load

# %% [markdown]
# ## Where does a network begin?
#
# The digits of scikit-learn have 64 pixels, so the hidden kernel is 64 x 64. At an initialisation with J = 0.5 it is
# ordered: chi of Eq. 3 is below 1, and so a small difference of two states dies out.

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
# A whole run is one pure function of a key and the hyperparameters, so that seeds and sweeps are a `vmap` away.

# %%
spec = ec.Spec(digits.num_classes, batch_size=32)
train = jax.jit(jax.vmap(ec.make_train(digits, spec, num_epochs=60), in_axes=(0, None)))
keys = jax.random.split(jax.random.key(1), 3)
_, free = train(keys, ec.Hyperparameters(learning_rate=0.08, momentum=0.5))

scale = ec.scale_factor(learning_rate=0.08, momentum=0.5, batch_size=32)
fit = ec.fit_slope(np.asarray(free.j_squared[0]), num_epochs=5)
print(
    f"slope {float(fit.slope):.3f} per epoch in order, so D = {float(fit.slope / scale):.1f}; without decay J^2 ends at"
)
print(free.j_squared[:, -1])

# %% [markdown]
# ## Hold it at the edge
#
# `hold_at_edge` comes last in the chain of any optax optimizer. Here is the loop that you have anyway, with Adam.

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
print(f"as a fixed decay: lambda = {held.mean[0]:.2g} +- {held.spread[0]:.1g}, with Adam")

# %% [markdown]
# ## Look at it

# %%
figure = Figure(figsize=(9, 3.5), layout="constrained")
growth, course = figure.subplots(1, 2)
growth.plot(np.asarray(free.j_squared).T, color="C0", linewidth=1)
growth.axhline(1, color="C3")
growth.set(title="SGD without decay, three seeds", xlabel="epoch", ylabel="$J^2$")
recorded = ec.monitored(state, params)
recorded.plot(course)
course.set_title("Adam with hold_at_edge")

if __name__ == "__main__":
    figure.savefig("first_edge.png")
    print("figure: first_edge.png")

# %% [markdown]
# ## From here
#
# Weight decay and learning rate for your data, from a probe of about 30 epochs:
#
#     python -m experiments.guideline --config.dataset=own.npz --verify
#
# and [what the numbers mean](THEORY.md).
