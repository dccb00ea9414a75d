"""Order-chaos research on neural network training, in JAX.

Where does a network stand in the order-chaos phase diagram, how fast does training move it, and what holds it at the
edge? The names follow "Edge of chaos as a guiding principle for modern neural network training" (Zhang, Feng, Chen,
Lai); everything exported here is a pure function that works under jit and vmap where its arguments are arrays.
"""

from edgechaos._version import __version__
from edgechaos.dynamics import (
    Lyapunov,
    Verdict,
    jacobian_norm,
    lyapunov_exponent,
    lyapunov_spectrum,
    order_or_chaos,
    twin_trajectories,
)
from edgechaos.guideline import Recommendation, recommend
from edgechaos.held import HeldDecay, check_hold, held_weight_decay
from edgechaos.hold import HoldState, hold_at_edge
from edgechaos.kernels import KernelAxes
from edgechaos.meanfield import FixedPoint, chi, edge_of_chaos, fixed_point, predicted_exponent
from edgechaos.monitor import monitor, monitored
from edgechaos.network import Classifier, hidden_map, init_kernel
from edgechaos.optim import adam, sgd
from edgechaos.order import OrderParameters, order_parameter_errors, order_parameters
from edgechaos.phase_diagram import phase_diagram
from edgechaos.replicas import overlap, predicted_distance
from edgechaos.report import PhaseReport, phase_report
from edgechaos.scaling import (
    LinearFit,
    ScalingVerdict,
    Setting,
    convert_weight_decay,
    epochs_to,
    fit_slope,
    half_life,
    j_squared_after,
    relaxation_rate,
    scale_factor,
    scaling_verdict,
    weight_decay_at_edge,
)
from edgechaos.training import Hyperparameters, Spec, make_train

__all__ = [
    "Classifier",
    "FixedPoint",
    "HeldDecay",
    "HoldState",
    "Hyperparameters",
    "KernelAxes",
    "LinearFit",
    "Lyapunov",
    "OrderParameters",
    "PhaseReport",
    "Recommendation",
    "ScalingVerdict",
    "Setting",
    "Spec",
    "Verdict",
    "__version__",
    "adam",
    "check_hold",
    "chi",
    "convert_weight_decay",
    "edge_of_chaos",
    "epochs_to",
    "fit_slope",
    "fixed_point",
    "half_life",
    "held_weight_decay",
    "hidden_map",
    "hold_at_edge",
    "init_kernel",
    "j_squared_after",
    "jacobian_norm",
    "lyapunov_exponent",
    "lyapunov_spectrum",
    "make_train",
    "monitor",
    "monitored",
    "order_or_chaos",
    "order_parameter_errors",
    "order_parameters",
    "overlap",
    "phase_diagram",
    "phase_report",
    "predicted_distance",
    "predicted_exponent",
    "recommend",
    "relaxation_rate",
    "scale_factor",
    "scaling_verdict",
    "sgd",
    "twin_trajectories",
    "weight_decay_at_edge",
]
